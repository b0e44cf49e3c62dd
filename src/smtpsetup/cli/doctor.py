"""`smtpsetup doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, common_options
from smtpsetup.config.known_providers import known_provider
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.setup.doctor import Finding, FindingStatus, examine

if TYPE_CHECKING:
    from smtpsetup.config.account import Account


@click.command(
    "doctor",
    help=_("Will it work at three in the morning: look at everything that cron needs, and say what to change."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"))
@common_options
def doctor_command(state: State, account: str | None) -> None:
    """Look, render as it goes; the exit code is that of the first thing that is wrong."""
    findings: list[Finding] = []
    chosen: Account | None = None
    try:
        chosen = state.config().account(account)
    except SmtpsetupError as error:
        findings.append(Finding("config", FindingStatus.WRONG, error.message, error.hints, error))
    else:
        findings.append(
            Finding(
                "config",
                FindingStatus.OK,
                _("The account {account} is in {path}.").format(account=chosen.name, path=state.config_file),
            )
        )
    if not state.json:
        views.doctor.finding(findings[0])
    for finding in examine(chosen, config=state.config_option, provider=known_provider(chosen) if chosen else None):
        findings.append(finding)
        if not state.json:
            views.doctor.finding(finding)
    first = next((one.error for one in findings if one.error), None)
    if state.json:
        state.write_json(views.json.doctor(chosen, findings), first)
    else:
        views.doctor.summary(findings)
    if first:
        raise click.exceptions.Exit(first.exit_code)

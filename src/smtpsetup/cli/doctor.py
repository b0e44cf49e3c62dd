"""`smtpsetup doctor`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, common_options
from smtpsetup.config import paths
from smtpsetup.config.known_providers import known_provider
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay.doctor import examine as examine_relay
from smtpsetup.relay.running import is_running
from smtpsetup.setup.doctor import examine
from smtpsetup.setup.findings import ok, wrong

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.setup.findings import Finding


@click.command(
    "doctor",
    help=_("Will it work at three in the morning: look at everything that cron needs, and say what to change."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"))
@common_options
def doctor_command(state: State, account: str | None) -> None:
    """Show each finding as it comes; the exit code is that of the first thing that is wrong."""
    chosen: Account | None = None
    try:
        chosen = state.config().account(account)
        message = _("The account {account} is in {path}.").format(account=chosen.name, path=state.config_file)
        config = ok("config", message)
    except SmtpsetupError as error:
        config = wrong("config", error)
    provider = known_provider(chosen) if chosen else None
    findings: list[Finding] = []
    directory = paths.state_dir()
    has_relay = directory is not None and is_running(directory)
    checks = examine(chosen, config=state.config_option, provider=provider, has_relay=has_relay)
    for finding in itertools.chain([config], checks, examine_relay()):
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

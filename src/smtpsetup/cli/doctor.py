"""`smtpsetup doctor`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click
from smtpsetup.cli.state import State, common_options
from smtpsetup.config import paths
from smtpsetup.config.known_providers import known_provider
from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.relay.doctor import examine as examine_relay
from smtpsetup.relay.running import is_running
from smtpsetup.setup.doctor import examine, examine_account
from smtpsetup.setup.findings import ok, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.setup.findings import Finding


@click.command(
    "doctor",
    cls=Command,
    help=_("Check everything that sending from cron and scripts needs, and say what to change."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"), shell_complete=by_click(account_names))
@click.option("--all", "takes_all", is_flag=True, help=_("Look at every account."))
@common_options
def doctor_command(state: State, account: str | None, takes_all: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Show each finding as it comes; the exit code is that of the first thing that is wrong."""
    if account and takes_all:
        raise click.UsageError(_("Name an account, or give --all."))
    examined: list[tuple[Account | None, list[Finding]]] = []
    for chosen, checks in _all_accounts(state) if takes_all else _one_account(state, account):
        findings: list[Finding] = []
        examined.append((chosen, findings))
        if takes_all and chosen and not state.json:
            views.doctor.title(chosen)
        for finding in checks:
            findings.append(finding)
            if not state.json:
                views.doctor.finding(finding)
    found = [finding for _chosen, findings in examined for finding in findings]
    first = next((one.error for one in found if one.error), None)
    if state.json:
        documents = [views.json.doctor(chosen, findings) for chosen, findings in examined]
        state.write_json(documents if takes_all else documents[0], first)
    else:
        views.doctor.summary(found)
        left = 0 if takes_all else _unchecked(state, examined[0][0])
        if left:
            text = ngettext(
                "{n} other account was not checked: `smtpsetup doctor --all`.",
                "{n} other accounts were not checked: `smtpsetup doctor --all`.",
                left,
            )
            if examined[0][0] is None:
                text = ngettext(
                    "{n} account was not checked: `smtpsetup doctor --all`.",
                    "{n} accounts were not checked: `smtpsetup doctor --all`.",
                    left,
                )
            views.human.say(text.format(n=left))
    if first:
        raise click.exceptions.Exit(first.exit_code)


def _unchecked(state: State, chosen: Account | None) -> int:
    """How many accounts there are beside the one that was examined."""
    try:
        return len(state.config().accounts) - (chosen is not None)
    except SmtpsetupError:  # a finding already
        return 0


def _one_account(state: State, name: str | None) -> Iterator[tuple[Account | None, Iterable[Finding]]]:
    """An account with its checks and those of the machine; None where there is no such account."""
    chosen: Account | None = None
    outbox = OutboxSettings()
    try:
        own = state.config()
        outbox = own.outbox
        chosen = own.account(name)
        message = _("The account {account} is in {path}.").format(account=chosen.name, path=state.config_file)
        config = ok("config", message)
    except SmtpsetupError as error:
        config = wrong("config", error)
    provider = known_provider(chosen) if chosen else None
    checks = examine(chosen, config=state.config_option, provider=provider, has_relay=_has_relay(), outbox=outbox)
    yield chosen, itertools.chain([config], checks, examine_relay())


def _all_accounts(state: State) -> Iterator[tuple[Account | None, Iterable[Finding]]]:
    """The machine with its checks, then each account with its own."""
    config = state.config()
    yield (
        None,
        itertools.chain(examine(None, config=None, has_relay=_has_relay(), outbox=config.outbox), examine_relay()),
    )
    for account in config.accounts.values():
        yield account, examine_account(account, config=state.config_option, provider=known_provider(account))


def _has_relay() -> bool:
    directory = paths.state_dir()
    return directory is not None and is_running(directory)

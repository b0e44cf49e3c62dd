"""`smtpsetup test`. Its function has a name that pytest does not collect where a test imports it."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click
from smtpsetup.cli.second_opinion import ask_owner_of
from smtpsetup.cli.state import State, common_options, tell
from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.failure import TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.message.compose import parse_mailboxes
from smtpsetup.oauth.access_token import fresh_secret_for, renewed
from smtpsetup.sending.context import TRANSPORTS, transport_named
from smtpsetup.sending.login import is_refused_token
from smtpsetup.setup.test_account import run_test

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret, Server
    from smtpsetup.sending.context import Context
    from smtpsetup.setup.test_account import AccountTestReport


@click.command(
    "test",
    cls=Command,
    help=_("Send a real test mail and show every stage: to the account's own address unless --to says otherwise."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"), shell_complete=by_click(account_names))
@click.option("--to", metavar=_("ADDRESS"), help=_("Send the test mail there."))
@click.option("--login-only", is_flag=True, help=_("Stop after the login; send nothing."))
@click.option(
    "--transport",
    type=click.Choice(TRANSPORTS),
    help=_(
        "smtplib makes the test with Python's own library, to see whether it fails there, too. It is one more login."
    ),
)
@click.option("--renew-token", "renew", is_flag=True, hidden=True)
@common_options
def account_test_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    account: str | None,
    to: str | None,
    login_only: bool,  # noqa: FBT001  as above
    transport: str | None,
    renew: bool,  # noqa: FBT001  as above
) -> None:
    """Run the test; with OAuth2, once more with a new token where the first is refused."""
    chosen = state.config().account(account)
    if to is not None and len(parse_mailboxes(to)) != 1:
        raise click.UsageError(_("--to takes one address."))
    context = state.context(chosen)
    if transport:
        context = context._replace(transport=transport_named(transport))
    secret = (
        fresh_secret_for(chosen, may_prompt=state.may_ask)
        if renew and chosen.auth is not Auth.NONE
        else context.secret()
    )
    report = _run(state, context, secret, to=to, login_only=login_only)
    if (
        report.error
        and secret
        and report.error.failure
        and is_refused_token(chosen, TransportError(report.error.failure))
    ):
        fresh = renewed(chosen, secret, may_prompt=state.may_ask)
        report = _run(state, context, fresh, to=to, login_only=login_only) if fresh else report
    if report.error:
        if report.alternative and state.may_ask and not state.json:
            views.errors.before_question(report.error)
            _offer(state, chosen, report.alternative)
            raise click.exceptions.Exit(report.error.exit_code)
        report.error.result = views.json.account_test(report)
        raise report.error
    if not chosen.verified:
        _mark_verified(state, chosen)
    state.output(
        lambda: views.json.account_test(report), lambda: views.human.account_test(report, verbose=state.verbose)
    )


def _offer(state: State, account: Account, alternative: Server) -> None:
    """Let a person change the account to a server that works."""
    if confirm(_("Use {server} from now on?").format(server=views.human.server_line(alternative)), default=True):
        accounts.save(state.config_file, account._replace(server=alternative, verified=False), make_default=False)
        views.human.say(_("Saved. Try it: `smtpsetup test {account}`.").format(account=shlex.quote(account.name)))


def _mark_verified(state: State, account: Account) -> None:
    """Note in the configuration that the account works. A failure to write that does not fail the test."""
    try:
        accounts.mark_verified(state.config_file, account)
    except (OSError, SmtpsetupError) as error:
        tell(_("The test went well, but that could not be saved: {reason}.").format(reason=reason_of(error)))


def _run(
    state: State, context: Context, secret: Secret | None, *, to: str | None, login_only: bool
) -> AccountTestReport:
    provider = state.provider(context.account)
    planned = context.transport.planned_stages(context.account, login_only=login_only)
    line = None if state.json else views.stages.StageLine(planned, is_shown=not state.verbose)
    with line or nullcontext():
        report = run_test(
            context,
            secret,
            provider=provider,
            to=to,
            login_only=login_only,
            watch=line,
            ask_owner=ask_owner_of(state, context.account, provider),
        )
    if not state.json and (report.error or state.verbose):
        views.stages.table(report.stages)
    return report


test_command = account_test_command

"""`smtpsetup test`. The function is not called `test…`, or pytest would collect it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.state import State, common_options, tell
from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.failure import TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.message.compose import parse_mailboxes
from smtpsetup.oauth.access_token import newest, renewed, secret_for
from smtpsetup.sending.smtp_login import is_refused_token
from smtpsetup.setup.test_account import check, planned_stages

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.setup.test_account import CheckReport


@click.command("test", help=_("Send a real test mail and show every stage: to the account's own address unless --to says otherwise."))
@click.argument("account", required=False, metavar=_("[ACCOUNT]"))
@click.option("--to", metavar=_("ADDRESS"), help=_("Send the test mail there."))
@click.option("--login-only", is_flag=True, help=_("Stop after the login; send nothing."))
@click.option("--renew-token", "renew", is_flag=True, hidden=True)
@common_options
@click.pass_obj
def check_command(
    state: State,
    account: str | None,
    to: str | None,
    login_only: bool,  # noqa: FBT001  click passes flags by name
    renew: bool,  # noqa: FBT001  as above
) -> None:
    """Parse, check, render."""
    chosen = state.config().account(account)
    if to is not None and len(parse_mailboxes(to)) != 1:
        raise click.UsageError(_("--to takes one address."))
    get_secret = newest if renew else secret_for
    secret = None if chosen.auth is Auth.NONE else get_secret(chosen, may_prompt=state.may_ask)
    report = _run(state, chosen, secret, to=to, login_only=login_only)
    if report.error and secret and report.error.failure and is_refused_token(chosen, TransportError(report.error.failure)):
        fresh = renewed(chosen, secret, may_prompt=state.may_ask)
        report = _run(state, chosen, fresh, to=to, login_only=login_only) if fresh else report
    if report.error is None and not chosen.verified:
        _remember(state, chosen)
    if state.json:
        view = views.json.check_report(report)
        if report.error is None:
            state.write_json(view)
            return
        report.error.result = view
    if report.error:
        if report.alternative and state.may_ask and not state.json:
            _offer(state, chosen, report)
        raise report.error
    views.human.checked(report)


def _offer(state: State, account: Account, report: CheckReport) -> None:
    """Let a person move the account to a place that works; the failure has happened all the same."""
    if report.error is None or report.alternative is None:
        return
    views.human.error(report.error)
    if confirm(_("Use {server} from now on?").format(server=report.alternative), default=True):
        accounts.save(state.config_file, account._replace(server=report.alternative, verified=False), make_default=False)
        views.human.say(_("Saved. Try it: `smtpsetup test {account}`.").format(account=shlex.quote(account.name)))
    raise click.exceptions.Exit(report.error.exit_code)


def _remember(state: State, account: Account) -> None:
    """Note in the configuration that the account is proved. The test stays a success where that cannot be written."""
    try:
        accounts.mark_verified(state.config_file, account)
    except (OSError, SmtpsetupError) as error:
        tell(_("The test went well, but that could not be saved: {reason}.").format(reason=reason_of(error)))


def _run(state: State, account: Account, secret: Secret | None, *, to: str | None, login_only: bool) -> CheckReport:
    provider = state.provider(account)
    if state.json:
        return check(account, secret, provider=provider, to=to, login_only=login_only, trace=state.trace())
    with views.stages.StageTable(planned_stages(account, login_only=login_only), live=not state.verbose) as table:
        return check(
            account,
            secret,
            provider=provider,
            to=to,
            login_only=login_only,
            on_stage=table.update,
            on_second_look=table.look_again,
            trace=state.trace(),
        )


test_command = check_command

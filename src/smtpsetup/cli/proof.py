"""Logging in to prove an account, for `configure` and `login`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, confirm
from smtpsetup.cli.second_opinion import ask_owner_of
from smtpsetup.cli.secrets import ask_secret
from smtpsetup.core.i18n import gettext as _
from smtpsetup.setup.test_account import run_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.identify import Search
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.providers.row import Provider
    from smtpsetup.setup.test_account import AccountTestReport

_CAN_BE_RETYPED = ("auth.bad-credentials", "auth.app-password-required")
_MOST_TYPED = 3  # passwords, since more refused logins could lock the account


def prove(  # noqa: PLR0913  the login, and what a person may change after a failure
    state: State,
    account: Account,
    secret: Secret | None,
    provider: Provider | None,
    *,
    is_saved: bool,
    may_retype: bool,
    may_move: bool = False,
    search: Search | None = None,
) -> tuple[Account, Secret | None]:
    """Log in and show each stage. Returns the account and secret that worked. Raises SmtpsetupError, click.Abort.

    With `may_retype` a person types another secret after a refusal, at once; the causes are shown after the second one.
    With `may_move` they may accept another server
    of the same provider after a failure before the secret was sent. `search` says who may be asked after a refusal.
    """
    typed = 1
    while True:
        ask_owner = ask_owner_of(state, account, provider, search)
        report = _log_in(state, account, secret, provider, is_saved=is_saved, ask_owner=ask_owner)
        if report.error is None:
            return account, secret
        if may_move and report.alternative and state.may_ask:
            views.errors.before_question(report.error)
            if not confirm(
                _("Go on with {server}, which works?").format(server=views.human.server_line(report.alternative)),
                default=True,
            ):
                raise DeclinedError
            account = account._replace(server=report.alternative)
        elif may_retype and state.may_ask and report.error.code in _CAN_BE_RETYPED and typed < _MOST_TYPED:
            views.errors.before_question(report.error, with_causes=typed > 1)
            if report.error.code == "auth.app-password-required" and report.error.hints:
                views.human.note(f"  {report.error.hints[0]}", hang=2)
            secret = ask_secret(account.auth, account.username)
            typed += 1
        else:
            raise report.error


def _log_in(  # noqa: PLR0913  what `run_test` needs
    state: State,
    account: Account,
    secret: Secret | None,
    provider: Provider | None,
    *,
    is_saved: bool,
    ask_owner: Callable[[], Candidate | None] | None,
) -> AccountTestReport:
    context = state.context(account)
    planned = context.transport.planned_stages(account, login_only=True)
    line = views.stages.StageLine(planned, stderr=True, is_shown=not state.verbose) if state.may_ask else None
    with line or nullcontext():
        report = run_test(
            context,
            secret,
            provider=provider,
            login_only=True,
            is_saved=is_saved,
            watch=line,
            ask_owner=ask_owner,
        )
    if state.may_ask and report.error is None:
        views.human.done(_("Logged in at {server}.").format(server=account.server), stderr=True)
    is_asked = report.error and (report.alternative or report.error.code in _CAN_BE_RETYPED)
    if state.may_ask and (state.verbose or (report.error and not is_asked)):
        views.stages.table(report.stages, stderr=True)
    return report

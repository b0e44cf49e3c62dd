"""Logging in to prove an account, shown as it happens; shared by `configure` and `login`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.secrets import ask_secret
from smtpsetup.i18n import gettext as _
from smtpsetup.workflows.check import check, planned_stages

if TYPE_CHECKING:
    from smtpsetup.account import Account
    from smtpsetup.cli.state import State
    from smtpsetup.model import Secret
    from smtpsetup.providers import Provider
    from smtpsetup.workflows.check import CheckReport

_CAN_BE_RETYPED = ("auth.bad-credentials", "auth.app-password-required")


def prove(  # noqa: PLR0913  what a proof depends on
    state: State, account: Account, secret: Secret | None, provider: Provider | None, *, is_saved: bool, may_retype: bool
) -> Secret | None:
    """Log in; the secret that worked. A person who typed it may try another one, each sent to this server only. Raises SmtpsetupError."""
    while True:
        report = _log_in(state, account, secret, provider, is_saved=is_saved)
        if report.error is None:
            return secret
        if not (may_retype and state.may_ask and report.error.code in _CAN_BE_RETYPED):
            raise report.error
        views.human.error(report.error)
        if not confirm(_("Try another password?"), default=True):
            raise click.Abort
        secret = ask_secret(account.auth, account.username)


def _log_in(state: State, account: Account, secret: Secret | None, provider: Provider | None, *, is_saved: bool) -> CheckReport:
    if not state.may_ask:
        return check(account, secret, provider=provider, login_only=True, is_saved=is_saved, trace=state.trace())
    with views.stages.StageTable(planned_stages(account, login_only=True), stderr=True, live=not state.verbose) as table:
        return check(account, secret, provider=provider, login_only=True, is_saved=is_saved, on_stage=table.update, trace=state.trace())

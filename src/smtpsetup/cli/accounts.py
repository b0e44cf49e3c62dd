"""`smtpsetup accounts`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, confirm
from smtpsetup.cli.command import Group
from smtpsetup.cli.complete import account_names, by_click
from smtpsetup.cli.state import State, common_options
from smtpsetup.config import accounts
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.credentials import stores
from smtpsetup.oauth.access_token import sign_in_age
from smtpsetup.setup.save_account import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config


@click.group("accounts", cls=Group, invoke_without_command=True, help=_("List, show and remove what is configured."))
@common_options
@click.pass_context
def accounts_command(ctx: click.Context, state: State) -> None:
    """List the accounts where no subcommand is given."""
    if ctx.invoked_subcommand is None:
        _list(state)


@accounts_command.command("list", help=_("Every account and its server; * marks the default one."))
@common_options
def list_command(state: State) -> None:
    """List the accounts."""
    _list(state)


def _list(state: State) -> None:
    config = state.config()
    state.output(
        lambda: [
            views.json.account(account, is_default=account.name == config.default)
            for account in config.accounts.values()
        ],
        lambda: views.human.accounts(config),
    )


@accounts_command.command("show", help=_("An account's settings; never its password."))
@click.argument("name", required=False, metavar=_("[NAME]"), shell_complete=by_click(account_names))
@common_options
def show_command(state: State, name: str | None) -> None:
    """Show an account."""
    _show(state, name)


@accounts_command.command("default", help=_("Make an account the default one."))
@click.argument("name", metavar=_("NAME"), shell_complete=by_click(account_names))
@common_options
def default_command(state: State, name: str) -> None:
    """Change the default account and show it."""
    accounts.set_default(state.config_file, name)
    _show(state, name)


@accounts_command.command(
    "remove", help=_("Remove an account, and its password where smtpsetup has put it: in the keyring or a file.")
)
@click.argument("name", metavar=_("NAME"), shell_complete=by_click(account_names))
@click.option("--keep-secret", is_flag=True, help=_("Leave the password where it is."))
@common_options
def remove_command(state: State, name: str, keep_secret: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Confirm, then remove the account and its secret."""
    config = state.config()
    account = config.account(name)
    for consequence in _consequences(config, account):
        views.human.note(consequence)
    if state.may_ask and not confirm(_("Remove the account {name}?").format(name=account.name), default=False):
        raise DeclinedError
    removed = remove(state.config_file, account, keep_secret=keep_secret, may_prompt=state.may_ask)
    if state.json:
        state.write_json({"account": account.name, "secret_removed": removed})
        return
    views.human.say(_("The account {name} is removed.").format(name=account.name))
    if account.secret.store is Store.FILE and removed:
        views.human.say(_("Its password file {path} is deleted.").format(path=account.secret.reference))
    elif account.secret.store is Store.FILE and (keep_secret or not stores.is_kept_here(account)):
        views.human.say(_("Its password file {path} is yours and still there.").format(path=account.secret.reference))


def _consequences(config: Config, account: Account) -> Iterator[str]:
    """What a person should know before an account is removed."""
    if account.name == config.default and len(config.accounts) > 1:
        yield _("It is the default account. Choose another one: `smtpsetup accounts default NAME`.")
    waiting = _count_waiting(config, account)
    if waiting:
        yield ngettext(
            "{n} mail waits for it, and is not sent without it: `smtpsetup outbox list`.",
            "{n} mails wait for it, and are not sent without it: `smtpsetup outbox list`.",
            waiting,
        ).format(n=waiting)


def _count_waiting(config: Config, account: Account) -> int:
    """How many mails of an account wait; 0 where that cannot be found out."""
    from smtpsetup.cli.open_outbox import open_to_read, state_directory  # loads SQLite
    from smtpsetup.outbox.sqlite.database import file_in

    with suppress(SmtpsetupError):
        if config.outbox.is_shared or os.path.exists(file_in(state_directory())):
            with open_to_read(config.outbox) as opened:
                return opened.count_waiting(account.name)
    return 0


def _show(state: State, name: str | None) -> None:
    config = state.config()
    account = config.account(name)
    is_default = account.name == config.default
    age = sign_in_age(account)
    state.output(
        lambda: (
            views.json.account(account, is_default=is_default)
            | ({"sign_in": views.json.sign_in(account, age)} if account.oauth2 else {})
        ),
        lambda: views.human.account(account, is_default=is_default, age=age),
    )

"""`configure` for an account that scripts will use: a login as cron would make it, and a place for the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import places, views
from smtpsetup.cli.ask import ask
from smtpsetup.config import paths
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.setup import schedule, unattended
from smtpsetup.setup.save_account import move, save

if TYPE_CHECKING:
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError


def prove_for_scripts(state: State, account: Account) -> None:
    """Log in as cron would, and show what to schedule; after a failure a person may move the password.

    Raises SmtpsetupError where the login fails and the password is not moved.
    """
    while True:
        if account.secret.store is Store.SYSTEMD:
            _show_credential(state, account)
            return
        views.human.note(
            _("Logging in once more, as cron would: without a desktop, a terminal or your environment ...")
        )
        proof = unattended.log_in_as_cron(account, config=state.config_option)
        if proof.error is None:
            _show_schedule(state, account)
            return
        if not (state.may_ask and account.auth is not Auth.NONE and proof.failed_before_login):
            raise proof.error
        account = _move_password(state, account, proof.error)


def _move_password(state: State, account: Account, error: SmtpsetupError) -> Account:
    """Ask for a place that scripts can read. Returns the account that uses it. Raises `error` for none."""
    views.errors.before_question(error)
    views.human.note(_("Scripts need the password in another place:"))
    path = paths.own_password_file(account.name)
    texts = {
        "1": _("a file that only you can read: {path}").format(path=path),
        "2": _("a command that prints it, such as `pass show mail`"),
        "3": _("a systemd credential, for a timer instead of cron"),
        "4": _("leave it as it is; scripts will not work"),
    }
    if account.oauth2:
        texts = {key: texts[key] for key in ("1", "4")}  # a new refresh token must be written to its place
    elif account.auth is Auth.OAUTH2:
        # an access token in a file expires in an hour
        texts = {"2": _("another command that prints the access token"), "4": texts["4"]}
    for key, text in texts.items():
        views.human.note(f"  {key}  {text}", hang=5)
    answer = ask(_("Which one"), type=click.Choice(list(texts)), default=next(iter(texts)))
    if answer == "4":
        raise error
    if answer == "1":
        places.make_directory(path)
        moved, left_behind = move(state.config_file, account, SecretSource(Store.FILE, path), may_prompt=state.may_ask)
        views.human.left_behind(account.name, left_behind)
        return moved
    if answer == "2":
        source = SecretSource(Store.COMMAND, ask(_("Command")))
    else:
        source = SecretSource(Store.SYSTEMD, ask(_("Name of the credential"), default="smtpsetup"))
    moved = account._replace(secret=source)
    save(state.config_file, moved, None, make_default=False, may_prompt=state.may_ask)
    return moved


def _show_schedule(state: State, account: Account) -> None:
    if state.json:
        return
    views.human.say(_("It works. This line in `crontab -e` sends a mail at three every night:"))
    click.echo(unattended.crontab_line(account, config=state.config_option))
    views.human.say(_("Or as a systemd user service, with a timer beside it:"))
    click.echo(unattended.unit(account, config=state.config_option))
    views.human.say(
        _("So that mail which cannot be sent at once is sent later: `{command}`.").format(command=schedule.how_to())
    )


def _show_credential(state: State, account: Account) -> None:
    """Show how to make a credential, and how to test it in a unit, the only place where it can be read."""
    if state.json:
        return
    name = account.secret.reference
    views.human.say(_("A systemd credential can be read in its unit alone. As root, put the password into it:"))
    click.echo(f"systemd-ask-password -n | systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}")
    views.human.say(_("The service:"))
    click.echo(unattended.unit(account, config=state.config_option))
    views.human.say(_("Prove it, as root: `{command}`.").format(command=unattended.proving_command(account)))

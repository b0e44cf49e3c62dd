"""Where a secret comes from on the command line: never an argument, always one explicit place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smtpsetup import credentials
from smtpsetup.errors import SmtpsetupError
from smtpsetup.i18n import gettext as _
from smtpsetup.secret_source import SecretSource, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.model import Auth, Secret

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def secret_options(command: _Command) -> _Command:
    """The options that name a secret's place; `chosen_source` reads them."""
    options = (
        click.option("--password-stdin", is_flag=True, help=_("Read the password from standard input and save it in the keyring.")),
        click.option("--password-command", metavar="CMD", help=_("Let this command print the password, every time it is needed.")),
        click.option("--password-file", metavar="FILE", help=_("Read the password from this file (mode 0600), every time.")),
        click.option("--password-env", metavar="VAR", help=_("Read the password from this environment variable, every time.")),
        click.option("--systemd-credential", metavar="NAME", help=_("Read the password from this systemd credential, every time.")),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_source(
    *, password_stdin: bool, password_command: str | None, password_file: str | None, password_env: str | None, systemd_credential: str | None
) -> SecretSource | None:
    """The source that the options name; None where they name none. Raises click.UsageError for more than one."""
    named = {
        "--password-stdin": SecretSource(Store.KEYRING) if password_stdin else None,
        "--password-command": SecretSource(Store.COMMAND, password_command) if password_command is not None else None,
        "--password-file": SecretSource(Store.FILE, str(Path(password_file).expanduser().absolute())) if password_file is not None else None,
        "--password-env": SecretSource(Store.ENV, password_env) if password_env is not None else None,
        "--systemd-credential": SecretSource(Store.SYSTEMD, systemd_credential) if systemd_credential is not None else None,
    }
    given = {flag: source for flag, source in named.items() if source is not None}
    if len(given) > 1:
        raise click.UsageError(_("Choose one place for the password, not several: {flags}.").format(flags=", ".join(given)))
    for flag, source in given.items():
        if source.store is not Store.KEYRING and not source.reference:
            raise click.UsageError(_("{flag} is empty.").format(flag=flag))
    return next(iter(given.values()), None)


def new_secret(state: State, auth: Auth, username: str, *, from_stdin: bool) -> Secret:
    """A secret for the keyring, from standard input or a hidden prompt. Raises SmtpsetupError when nobody can be asked."""
    if from_stdin:
        return credentials.checked(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"), auth)
    if not state.may_ask:
        raise SmtpsetupError(
            "secret.missing",
            _("The password is missing, and nobody can be asked for it here."),
            hints=(
                _("Pipe it in: `--password-stdin`."),
                _("Or say where it is: `--password-file FILE`, `--password-command CMD`, `--password-env VAR` or `--systemd-credential NAME`."),
            ),
        )
    return ask_secret(auth, username)


def ask_secret(auth: Auth, username: str) -> Secret:
    """Ask until something usable is typed."""
    from smtpsetup.render import human  # noqa: PLC0415  only at a terminal

    proof = human.auth_name(auth)
    shown = _("{proof} for {username} (not shown while you type)").format(proof=proof[:1].upper() + proof[1:], username=username)
    while True:
        typed = click.prompt(shown, hide_input=True, default="", show_default=False, err=True)
        try:
            return credentials.checked(typed, auth)
        except SmtpsetupError as error:
            human.note(error.message)

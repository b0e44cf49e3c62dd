"""Where a secret comes from on the command line: never an argument, always one explicit place."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from smtpsetup import credentials
from smtpsetup.cli import views
from smtpsetup.cli.ask import ask
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.core.model import Auth, Secret


def secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a secret's place.

    The command gets `source`, None where none was named, and `from_stdin`.
    """

    @functools.wraps(command)
    def with_source(
        *arguments: Any,  # noqa: ANN401  whatever else the command takes
        password_stdin: bool,
        password_command: str | None,
        password_file: str | None,
        password_env: str | None,
        systemd_credential: str | None,
        **others: Any,  # noqa: ANN401  as above
    ) -> None:
        named = {
            "--password-stdin": SecretSource(Store.KEYRING) if password_stdin else None,
            "--password-command": SecretSource(Store.COMMAND, password_command)
            if password_command is not None
            else None,
            "--password-file": SecretSource(Store.FILE, _absolute(password_file))
            if password_file is not None
            else None,
            "--password-env": SecretSource(Store.ENV, password_env) if password_env is not None else None,
            "--systemd-credential": SecretSource(Store.SYSTEMD, systemd_credential)
            if systemd_credential is not None
            else None,
        }
        command(*arguments, source=_the_only(named), from_stdin=password_stdin, **others)

    options = (
        click.option(
            "--password-stdin",
            is_flag=True,
            help=_("Read the password from standard input and save it in the keyring."),
        ),
        click.option(
            "--password-command",
            metavar=_("CMD"),
            help=_("Let this command print the password, every time it is needed."),
        ),
        click.option(
            "--password-file",
            metavar=_("FILE"),
            help=_("Read the password from this file (mode 0600), every time; with OAuth2, keep the sign-in there."),
        ),
        click.option(
            "--password-env", metavar=_("VAR"), help=_("Read the password from this environment variable, every time.")
        ),
        click.option(
            "--systemd-credential",
            metavar=_("NAME"),
            help=_("Read the password from this systemd credential, every time."),
        ),
    )
    decorated: Callable[..., Any] = with_source
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def _the_only(named: dict[str, SecretSource | None]) -> SecretSource | None:
    given = {flag: source for flag, source in named.items() if source is not None}
    if len(given) > 1:
        raise click.UsageError(
            _("Choose one place for the password, not several: {flags}.").format(flags=", ".join(given))
        )
    for flag, source in given.items():
        if source.store is not Store.KEYRING and not source.reference:
            raise click.UsageError(_("{flag} is empty.").format(flag=flag))
    return next(iter(given.values()), None)


def new_secret(state: State, auth: Auth, username: str, *, from_stdin: bool) -> Secret:
    """A secret for the keyring, from standard input or a hidden prompt.

    Raises SmtpsetupError when nobody can be asked.
    """
    if from_stdin:
        return credentials.checked(sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape"), auth)
    if not state.may_ask:
        raise SmtpsetupError(
            "secret.missing",
            _("The password is missing, and nobody can be asked for it here."),
            hints=(
                _("Pipe it in: `--password-stdin`."),
                _(
                    "Or say where it is: `--password-file FILE`, `--password-command CMD`, `--password-env VAR` or "
                    "`--systemd-credential NAME`."
                ),
            ),
        )
    return ask_secret(auth, username)


def ask_secret(auth: Auth, username: str) -> Secret:
    """Ask until something usable is typed."""
    proof = views.human.auth_name(auth)
    shown = _("{proof} for {username} (not shown while you type)").format(
        proof=proof[:1].upper() + proof[1:], username=username
    )
    while True:
        typed = ask(shown, hide_input=True, default="", show_default=False)
        try:
            return credentials.checked(typed, auth)
        except SmtpsetupError as error:
            views.human.note(error.message)

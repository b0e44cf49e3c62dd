"""The options that name the place of a secret, and the prompt for it. A secret is never an argument itself."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import ask
from smtpsetup.config.secret_source import STORES, SecretSource, Store, StoreFacts, other_places
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.credentials import stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.core.model import Auth, Secret


def secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a secret's place.

    The command gets `source`, None where none was named, and `from_stdin`: whether the secret itself is on standard
    input, to be saved in `source`, the keyring or a file.
    """

    @functools.wraps(command)
    def with_source(*arguments: Any, **typed: Any) -> None:  # noqa: ANN401  whatever else the command takes
        named = {facts.option: _source(store, typed.pop(_parameter(facts))) for store, facts in STORES.items()}
        source = _only_source(named)
        command(*arguments, source=source, from_stdin=named[STORES[Store.KEYRING].option] is not None, **typed)

    decorated: Callable[..., Any] = with_source
    for facts in reversed(STORES.values()):
        is_flag = not facts.metavar
        metavar = None if is_flag else _(facts.metavar)
        decorated = click.option(facts.option, is_flag=is_flag, metavar=metavar, help=_(facts.help))(decorated)
    return decorated


def _parameter(facts: StoreFacts) -> str:
    """The parameter name that Click gives to an option."""
    return facts.option.removeprefix("--").replace("-", "_")


def _source(store: Store, typed: str | bool | None) -> SecretSource | None:  # noqa: FBT001  a flag or a text
    """The place that an option names, a path made absolute; None where the option was not typed."""
    if typed is None or typed is False:
        return None
    if typed is True:
        return SecretSource(store)
    return SecretSource(store, os.path.abspath(os.path.expanduser(typed)) if typed and STORES[store].is_path else typed)


def _only_source(named: dict[str, SecretSource | None]) -> SecretSource | None:
    """The one place that was named, or None. Raises click.UsageError for several, and for an empty one.

    `--password-stdin` with `--password-file` names the file: what is on standard input is saved there.
    """
    given = {flag: source for flag, source in named.items() if source is not None}
    if STORES[Store.FILE].option in given:
        given.pop(STORES[Store.KEYRING].option, None)
    if len(given) > 1:
        raise click.UsageError(
            _("Choose one place for the password, not several: {flags}.").format(flags=", ".join(given))
        )
    for flag, source in given.items():
        if source.store is not Store.KEYRING and not source.reference:
            raise click.UsageError(_("{flag} is empty.").format(flag=flag))
    return next(iter(given.values()), None)


def new_secret(state: State, auth: Auth, username: str, *, from_stdin: bool, may_have_lines: bool = False) -> Secret:
    """A secret from a pipe or a hidden prompt. Raises SmtpsetupError where nobody can be asked.

    `may_have_lines` is that of `stores.checked`.
    """
    if from_stdin and not sys.stdin.isatty():
        piped = sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")
        return stores.checked(piped, auth, may_have_lines=may_have_lines)
    if not (state.may_ask or from_stdin):
        raise SmtpsetupError(
            "secret.missing",
            _("The password is missing, and nobody can be asked for it here."),
            hints=(
                _("Pipe it in: `--password-stdin`, on a server together with `--password-file FILE`."),
                _("Or say where it is: {options}.").format(options=other_places()),
            ),
        )
    return ask_secret(auth, username)


def ask_secret(auth: Auth, username: str) -> Secret:
    """Ask, without echo, until a usable secret is typed. Raises click.Abort."""
    proof = views.human.auth_name(auth)
    shown = _("{proof} for {username} (not shown while you type)").format(
        proof=proof[:1].upper() + proof[1:], username=username
    )
    while True:
        typed = ask(shown, hide_input=True, default="", show_default=False)
        try:
            return stores.checked(typed, auth)
        except SmtpsetupError as error:
            views.human.note(error.message)

"""Where a typed password or a refresh token is kept: in the keyring or, without one, in a file of the owner's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smtpsetup.cli.ask import confirm
from smtpsetup.config import paths
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.credentials import file_store, stores
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account


def make_directory(path: str) -> None:
    """Make the directory of a password file, and that of the configuration, with mode 0700. Raises OSError."""
    for directory in (paths.config_dir(), os.path.dirname(path)):
        private_dir.become_owner_of(directory)
        private_dir.make(directory)


def check_file_for_sign_in(account: Account, existing: Account | None) -> None:
    """Raise SmtpsetupError where the file of the refresh token cannot be written, or holds something else."""
    if account.secret.store is not Store.FILE:
        return
    path = account.secret.reference
    is_made_here = path == paths.own_password_file(account.name)
    if is_made_here:
        make_directory(path)
    if not os.path.lexists(path):
        _check_directory(path)
        return
    is_last_sign_in = (
        existing is not None
        and existing.oauth2 is not None
        and not existing.oauth2.is_app_only  # whose secret or key is the user's own
        and existing.secret == account.secret
    )
    if file_store.read(path, account.name, may_prompt=False).strip() and not (is_made_here or is_last_sign_in):
        raise SmtpsetupError(
            "config.invalid",
            _("The file {path} holds something already, and signing in would write over it.").format(path=path),
            hints=(_("Name a file that is not there yet; smtpsetup makes it: `--password-file FILE`."),),
        )


def check_file_for_password(path: str, account: str) -> None:
    """Raise SmtpsetupError where a password cannot be saved in this file; one that is there already is replaced."""
    if path == paths.own_password_file(account):
        make_directory(path)
    if os.path.lexists(path):
        file_store.read(path, account, may_prompt=False)
    else:
        _check_directory(path)


def _check_can_be_made(directory: str) -> None:
    """Raise SmtpsetupError where the directory is not there and cannot be made."""
    while not os.path.lexists(directory) and os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
    _check_directory(os.path.join(directory, "password"))


def _check_directory(path: str) -> None:
    if not os.access(os.path.dirname(path), os.W_OK):
        message = _("The file {path} cannot be made: its directory is missing, or you may not write there.")
        raise SmtpsetupError(
            "config.permissions",
            message.format(path=path),
            hints=(_("Make the directory, or name another file: `--password-file FILE`."),),
        )


def likely_place(account: str) -> SecretSource:
    """Where a typed password will be kept: the keyring or, without one, a file, which `agree_to_file` asks about.

    Raises SmtpsetupError for a keyring that is there and cannot be used now.
    """
    try:
        stores.prepare_keyring(may_prompt=True)
    except SmtpsetupError as error:
        if error.code != "secret.keyring-unavailable":
            raise
        path = paths.own_password_file(account)
        _check_can_be_made(os.path.dirname(path))
        return SecretSource(Store.FILE, path)
    return SecretSource(Store.KEYRING)


def agree_to_file(path: str) -> None:
    """Ask whether a typed password may be kept in a file. Raises SmtpsetupError for a no."""
    question = _("There is no keyring here. Save the password in a file that only you can read, {path}?")
    if not confirm(question.format(path=path), default=True):
        hint = _("See the other places for a password: `smtpsetup help secrets`.")
        raise SmtpsetupError("secret.keyring-unavailable", _("Nothing was saved."), hints=(hint,))
    make_directory(path)


def place_for_sign_in(state: State, account: str) -> SecretSource:
    """The keyring or, where it cannot be used and a person agrees, a file, for a refresh token.

    Raises SmtpsetupError where the keyring cannot be used and nobody agrees to a file.
    """
    try:
        stores.prepare_keyring(may_prompt=state.may_ask)
    except SmtpsetupError as error:
        error.hints = (_("Keep it in a file that only you can read, which smtpsetup writes: `--password-file FILE`."),)
        if not state.may_ask or error.code != "secret.keyring-unavailable":
            raise
        path = paths.own_password_file(account)
        question = _("There is no keyring here. Save the sign-in in a file that only you can read, {path}?")
        if not confirm(question.format(path=path), default=True):
            raise
        make_directory(path)
        return SecretSource(Store.FILE, path)
    return SecretSource(Store.KEYRING)

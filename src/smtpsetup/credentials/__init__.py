"""Secrets: read from the one place that the account names, checked, and nowhere else. Keyrings are written too."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from smtpsetup.config import paths
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from smtpsetup.config.account import Account

_GOOGLE_APP_PASSWORD = re.compile(r"[a-z]{4}( [a-z]{4}){3}")

_MODULES = {
    Store.KEYRING: "keyring_store",
    Store.COMMAND: "command_store",
    Store.FILE: "file_store",
    Store.ENV: "env_store",
    Store.SYSTEMD: "systemd_store",
}


class _StoreModule(Protocol):
    def read(self, reference: str, account: str, *, may_prompt: bool) -> str: ...


def read(account: Account, *, may_prompt: bool) -> Secret:
    """The account's secret. With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError (`secret.…`).
    """
    module = cast("_StoreModule", import_module(f"smtpsetup.credentials.{_MODULES[account.secret.store]}"))
    with private_dir.as_root_again():
        value = module.read(account.secret.reference, account.name, may_prompt=may_prompt)
    try:
        return checked(value, account.auth)
    except SmtpsetupError as error:
        error.causes = (
            _("That is what {account} has in: {place}.").format(account=account.name, place=account.secret.described()),
        )
        raise


def checked(value: str, auth: Auth = Auth.PASSWORD) -> Secret:
    """A secret as it came from a person or a store, without the line end that files and pipes add.

    Raises SmtpsetupError for what no server takes.
    """
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise _unusable(_("The password is empty."))
    if "\n" in value or "\r" in value:
        raise _unusable(_("There is a line break inside the password."))
    if any("\ud800" <= char <= "\udfff" for char in value):  # how Python hands on bytes that are no text
        raise _unusable(_("The password is not text in UTF-8."))
    if "\0" in value:
        raise _unusable(_("There is a NUL character in the password."))
    if auth is Auth.APP_PASSWORD and _GOOGLE_APP_PASSWORD.fullmatch(value):
        value = value.replace(" ", "")
    return Secret(value)


def _unusable(message: str) -> SmtpsetupError:
    return SmtpsetupError(
        "secret.missing", message, hints=(_("Look at what the password source really gives, then try again."),)
    )


def prepare_keyring(*, may_prompt: bool) -> None:
    """Make sure that the keyring can be used before a person types a password for it.

    Raises SmtpsetupError (`secret.keyring-…`).
    """
    from smtpsetup.credentials import keyring_store  # keyring costs 60 ms

    keyring_store.prepare(may_prompt=may_prompt)


def store(account: Account, secret: Secret, *, may_prompt: bool = False) -> Secret | None:
    """Put the secret where the account says, which is the keyring or a file; the one that was there before.

    Raises SmtpsetupError or OSError.
    """
    if account.secret.store is Store.FILE:
        from smtpsetup.credentials import file_store  # one store a run

        is_there = os.path.exists(account.secret.reference)
        before = file_store.read(account.secret.reference, account.name, may_prompt=False) if is_there else None
        file_store.write(account.secret.reference, secret.reveal())
        return Secret(before.removesuffix("\n")) if before is not None else None
    from smtpsetup.credentials import keyring_store  # keyring costs 60 ms

    return keyring_store.write(account.name, secret, may_prompt=may_prompt)


def is_kept_here(account: Account) -> bool:
    """Whether smtpsetup itself writes the account's secret, and so may write over it and delete it.

    Others' places are only read.
    """
    if account.secret.store is Store.FILE:
        return account.oauth2 is not None or account.secret.reference == paths.own_password_file(account.name)
    return account.secret.store is Store.KEYRING


def forget(account: Account, *, may_prompt: bool = False) -> bool:
    """Delete a secret that is kept here; whether there was one. Secrets that others keep are left alone.

    Raises SmtpsetupError or OSError.
    """
    if not is_kept_here(account):
        return False
    if account.secret.store is Store.FILE:
        try:
            os.unlink(account.secret.reference)
        except FileNotFoundError:
            return False
        return True
    from smtpsetup.credentials import keyring_store  # keyring costs 60 ms

    return keyring_store.delete(account.name, may_prompt=may_prompt)

"""Secrets: read, checked, written and deleted in the one store that the account names."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, cast

from smtpsetup.config.secret_source import STORES
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from typing import Protocol

    from smtpsetup.config.account import Account
    from smtpsetup.config.secret_source import SecretSource

    class _Store(Protocol):
        """The functions of a store's module; only a writable store has those after `read`."""

        def read(self, reference: str, account: str, *, may_prompt: bool) -> str:
            """The stored secret. Raises SmtpsetupError (`secret.…`)."""

        def is_ours(self, account: Account) -> bool:
            """Whether smtpsetup itself writes the account's secret there, and so may overwrite and delete it."""

        def write(self, reference: str, account: str, secret: Secret, *, may_prompt: bool) -> Secret | None:
            """Store a secret. Returns the previous one. Raises SmtpsetupError or OSError."""

        def delete(self, reference: str, account: str, *, may_prompt: bool) -> bool:
            """Delete the secret. Returns whether there was one. Raises SmtpsetupError or OSError."""


_GOOGLE_APP_PASSWORD = r"[a-z]{4}( [a-z]{4}){3}"  # noqa: S105  a pattern, compiled only for such an account


def _store_of(account: Account) -> _Store:
    return cast("_Store", import_module(f"smtpsetup.credentials.{account.secret.store}_store"))


def read(account: Account, *, may_prompt: bool) -> Secret:
    """The account's secret. With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError (`secret.…`).
    """
    with private_dir.as_root_again():
        value = _store_of(account).read(account.secret.reference, account.name, may_prompt=may_prompt)
    try:
        is_key = account.oauth2 is not None and account.oauth2.is_app_only
        return checked(value, account.auth, may_have_lines=is_key)
    except SmtpsetupError as error:
        error.causes = (
            _("That is what {account} has in: {place}.").format(account=account.name, place=account.secret.described()),
        )
        raise


def read_source(source: SecretSource, name: str, *, may_prompt: bool = False) -> Secret:
    """A secret that belongs to no account, such as the password of a database. Raises SmtpsetupError (`secret.…`).

    `name` is its user name in the keyring, and what messages call it.
    """
    store = cast("_Store", import_module(f"smtpsetup.credentials.{source.store}_store"))
    with private_dir.as_root_again():
        return checked(store.read(source.reference, name, may_prompt=may_prompt))


def write_source(source: SecretSource, name: str, value: str) -> None:
    """Keep a secret that belongs to no account; `name` is that of `read_source`.

    Raises SmtpsetupError, OSError; ValueError for a store that is only read.
    """
    if not STORES[source.store].is_writable:
        raise ValueError(source.store)
    store = cast("_Store", import_module(f"smtpsetup.credentials.{source.store}_store"))
    store.write(source.reference, name, Secret(value), may_prompt=False)


def checked(value: str, auth: Auth = Auth.PASSWORD, *, may_have_lines: bool = False) -> Secret:
    """A secret from a person or a store, without the line end that files and pipes add.

    With `may_have_lines` it may be a key in PEM or JSON form.

    Raises SmtpsetupError (`secret.missing`) for a value that no server accepts.
    """
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise _unusable(_("The password is empty."))
    if not may_have_lines and ("\n" in value or "\r" in value):
        raise _unusable(_("There is a line break inside the password."))
    if any("\ud800" <= char <= "\udfff" for char in value):  # surrogates stand for bytes that are not UTF-8
        raise _unusable(_("The password is not text in UTF-8."))
    if "\0" in value:
        raise _unusable(_("There is a NUL character in the password."))
    if auth is Auth.APP_PASSWORD and re.fullmatch(_GOOGLE_APP_PASSWORD, value):
        value = value.replace(" ", "")
    return Secret(value)


def _unusable(message: str) -> SmtpsetupError:
    return SmtpsetupError(
        "secret.missing", message, hints=(_("Look at what the password source really gives, then try again."),)
    )


def prepare_keyring(*, may_prompt: bool) -> None:
    """Check, before a person types a password, that the keyring can be used.

    Raises SmtpsetupError (`secret.keyring-…`).
    """
    from smtpsetup.credentials import keyring_store  # keyring costs 60 ms

    keyring_store.prepare(may_prompt=may_prompt)


def store(account: Account, secret: Secret, *, may_prompt: bool = False) -> Secret | None:
    """Write the secret to the account's store. Returns the previous one.

    Raises SmtpsetupError or OSError; ValueError for a store that is only read.
    """
    if not STORES[account.secret.store].is_writable:
        raise ValueError(account.secret.store)
    return _store_of(account).write(account.secret.reference, account.name, secret, may_prompt=may_prompt)


def is_kept_here(account: Account) -> bool:
    """Whether smtpsetup itself writes the account's secret, and so may overwrite and delete it."""
    return STORES[account.secret.store].is_writable and _store_of(account).is_ours(account)


def forget(account: Account, *, may_prompt: bool = False) -> bool:
    """Delete the secret if smtpsetup itself wrote it. Returns whether one was deleted.

    Raises SmtpsetupError or OSError.
    """
    if not is_kept_here(account):
        return False
    return _store_of(account).delete(account.secret.reference, account.name, may_prompt=may_prompt)

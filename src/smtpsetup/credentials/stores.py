"""Secrets: read from the one place that the account names, checked, and nowhere else. Keyrings are written too."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from smtpsetup.config.secret_source import STORES, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from smtpsetup.config.account import Account

_GOOGLE_APP_PASSWORD = re.compile(r"[a-z]{4}( [a-z]{4}){3}")


class _ReadableStore(Protocol):
    def read(self, reference: str, account: str, *, may_prompt: bool) -> str:
        """What is there. Raises SmtpsetupError (`secret.…`)."""


class _WritableStore(_ReadableStore, Protocol):
    def is_ours(self, account: Account) -> bool:
        """Whether smtpsetup itself writes the account's secret there, and so may write over it and delete it."""

    def write(self, reference: str, account: str, secret: Secret, *, may_prompt: bool) -> Secret | None:
        """Put a secret there; the one that was there before. Raises SmtpsetupError or OSError."""

    def delete(self, reference: str, account: str, *, may_prompt: bool) -> bool:
        """Delete the secret; whether there was one. Raises SmtpsetupError or OSError."""


def _module_of(store: Store) -> Any:  # noqa: ANN401  a module, which the callers take for one of the interfaces
    return import_module(f"smtpsetup.credentials.{store}_store")


def _writable(store: Store) -> _WritableStore | None:
    return cast("_WritableStore", _module_of(store)) if STORES[store].is_writable else None


def read(account: Account, *, may_prompt: bool) -> Secret:
    """The account's secret. With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError (`secret.…`).
    """
    module = cast("_ReadableStore", _module_of(account.secret.store))
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
    """Put the secret where the account says; the one that was there before.

    Raises SmtpsetupError or OSError; ValueError where the account's place is only read.
    """
    module = _writable(account.secret.store)
    if module is None:
        raise ValueError(account.secret.store)
    return module.write(account.secret.reference, account.name, secret, may_prompt=may_prompt)


def is_kept_here(account: Account) -> bool:
    """Whether smtpsetup itself writes the account's secret, and so may write over it and delete it.

    Others' places are only read.
    """
    module = _writable(account.secret.store)
    return module is not None and module.is_ours(account)


def forget(account: Account, *, may_prompt: bool = False) -> bool:
    """Delete a secret that is kept here; whether there was one. Secrets that others keep are left alone.

    Raises SmtpsetupError or OSError.
    """
    module = _writable(account.secret.store)
    if module is None or not module.is_ours(account):
        return False
    return module.delete(account.secret.reference, account.name, may_prompt=may_prompt)

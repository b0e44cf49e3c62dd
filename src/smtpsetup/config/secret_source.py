"""Where an account's secret is kept, as chosen in the configuration."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, NamedTuple

from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text


class Store(StrEnum):
    """The kinds of secret stores."""

    KEYRING = "keyring"
    COMMAND = "command"
    FILE = "file"
    ENV = "env"
    SYSTEMD = "systemd"


class StoreFacts(NamedTuple):
    """The properties of a store that are needed without its module.

    Texts are marked for the catalogue; `{reference}` in them is the reference of a SecretSource. `option` and `metavar`
    are its option on the command line; `key` is the key of the reference in the configuration, or `""`. `elsewhere`
    is a sentence which says that the password of `{account}` is not kept by smtpsetup.
    """

    described: str
    option: str
    help: str
    metavar: str = ""
    key: str = ""
    elsewhere: str = ""
    is_writable: bool = False
    is_path: bool = False

    def reference(self, text: str) -> str:
        """A reference as the user gave it, with `~` in a path expanded."""
        return os.path.expanduser(text) if self.is_path else text


STORES = {
    Store.KEYRING: StoreFacts(
        N_("keyring"),
        "--password-stdin",
        N_("Read the password from standard input and save it in the keyring, or in the file of --password-file."),
        is_writable=True,
    ),
    Store.COMMAND: StoreFacts(
        N_("command `{reference}`"),
        "--password-command",
        N_("Let this command print the password, every time it is needed."),
        N_("CMD"),
        "command",
        N_("The password of {account} comes from the command `{reference}`, not from smtpsetup."),
    ),
    Store.FILE: StoreFacts(
        N_("file {reference}"),
        "--password-file",
        N_("Read the password from this file (mode 0600), every time; with OAuth2, keep the sign-in there."),
        N_("FILE"),
        "path",
        N_("The password of {account} is in the file {reference}, which is yours."),
        is_writable=True,
        is_path=True,
    ),
    Store.ENV: StoreFacts(
        N_("environment variable {reference}"),
        "--password-env",
        N_("Read the password from this environment variable, every time."),
        N_("VAR"),
        "variable",
        N_("The password of {account} comes from the environment variable {reference}, not from smtpsetup."),
    ),
    Store.SYSTEMD: StoreFacts(
        N_("systemd credential {reference}"),
        "--systemd-credential",
        N_("Read the password from this systemd credential, every time."),
        N_("NAME"),
        "credential",
        N_("The password of {account} comes from the systemd credential {reference}, not from smtpsetup."),
    ),
}
"""Every store. The module of its name in `credentials/` reads and writes it."""


def other_places() -> str:
    """The options that name a place other than the keyring, for a hint."""
    return ", ".join(f"`{facts.option} {_(facts.metavar)}`" for facts in STORES.values() if facts.metavar)


class SecretSource(NamedTuple):
    """A store, and the command, path or name to look up in it; `""` for the keyring."""

    store: Store
    reference: str = ""

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> SecretSource:
        """The source in a `secret` table of the configuration. Raises ValueError with a text in the user's language."""
        store = table.get("store")
        if store not in tuple(Store):
            text = _("{key} is {value}, but must be one of: {choices}")
            raise ValueError(text.format(key="secret.store", value=store, choices=", ".join(Store)))
        facts = STORES[Store(store)]
        if not facts.key:
            return cls(Store(store))
        reference = table.get(facts.key)
        if not isinstance(reference, str) or not reference:
            raise ValueError(_("{key} must be {wanted}").format(key=f"secret.{facts.key}", wanted=_("a string")))
        return cls(Store(store), facts.reference(reference))

    def described(self) -> str:
        """The place of the secret, in the user's language."""
        return _(STORES[self.store].described).format(reference=plain_text(self.reference))

    def as_table(self) -> dict[str, str]:
        """The `secret` table of the configuration."""
        key = STORES[self.store].key
        return {"store": str(self.store), key: self.reference} if key else {"store": str(self.store)}

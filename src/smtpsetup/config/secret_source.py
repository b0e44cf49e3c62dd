"""Where an account's secret is kept: one explicit choice, as it stands in the configuration."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, NamedTuple

from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text


class Store(StrEnum):
    """The places a secret can be in."""

    KEYRING = "keyring"
    COMMAND = "command"
    FILE = "file"
    ENV = "env"
    SYSTEMD = "systemd"


class StoreFacts(NamedTuple):
    """What is known of a store without loading its module.

    The texts are marked for the catalogue; `{reference}` in them is what to look for in the store.
    `option` names it on the command line, with what stands behind it (`metavar`); `key` names the reference in the
    configuration, `""` where there is none. `elsewhere` says of `{account}` that smtpsetup only reads its password.
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
        """A reference as it is meant: a path with `~` in it is one in the home."""
        return os.path.expanduser(text) if self.is_path else text


STORES = {
    Store.KEYRING: StoreFacts(
        N_("keyring"),
        "--password-stdin",
        N_("Read the password from standard input and save it in the keyring."),
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
"""Every store there is. How it is read, written and emptied is in the module of its name in `credentials/`."""


class SecretSource(NamedTuple):
    """A store and what to look for in it: a command, a path, a variable's or a credential's name.

    `""` for the keyring.
    """

    store: Store
    reference: str = ""

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> SecretSource:
        """The source that the configuration's `secret` table names. Raises ValueError with a text for people."""
        store = table.get("store")
        if store not in tuple(Store):
            text = _("{key} is {value}, but must be one of: {choices}")
            raise ValueError(text.format(key="secret.store", value=store, choices=", ".join(Store)))
        facts = STORES[Store(store)]
        key = facts.key
        if not key:
            return cls(Store(store))
        reference = table.get(key)
        if not isinstance(reference, str) or not reference:
            raise ValueError(_("{key} must be {wanted}").format(key=f"secret.{key}", wanted=_("a string")))
        return cls(Store(store), facts.reference(reference))

    def described(self) -> str:
        """The place in words."""
        return _(STORES[self.store].described).format(reference=plain_text(self.reference))

    def as_table(self) -> dict[str, str]:
        """As the configuration writes it."""
        key = STORES[self.store].key
        return {"store": str(self.store), key: self.reference} if key else {"store": str(self.store)}

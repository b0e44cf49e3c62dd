"""Where an account's secret is kept: one explicit choice, as it stands in the configuration."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text


class Store(StrEnum):
    """The places a secret can be in."""

    KEYRING = "keyring"
    COMMAND = "command"
    FILE = "file"
    ENV = "env"
    SYSTEMD = "systemd"


REFERENCE_KEYS = {Store.COMMAND: "command", Store.FILE: "path", Store.ENV: "variable", Store.SYSTEMD: "credential"}


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
        key = REFERENCE_KEYS.get(Store(store))
        if key is None:
            return cls(Store(store))
        reference = table.get(key)
        if not isinstance(reference, str) or not reference:
            raise ValueError(_("{key} must be {wanted}").format(key=f"secret.{key}", wanted=_("a string")))
        return cls(Store(store), os.path.expanduser(reference) if store == Store.FILE else reference)

    def described(self) -> str:
        """The place in words."""
        texts = {
            Store.KEYRING: _("keyring"),
            Store.COMMAND: _("command `{reference}`"),
            Store.FILE: _("file {reference}"),
            Store.ENV: _("environment variable {reference}"),
            Store.SYSTEMD: _("systemd credential {reference}"),
        }
        return texts[self.store].format(reference=plain_text(self.reference))

    def as_table(self) -> dict[str, str]:
        """As the configuration writes it."""
        key = REFERENCE_KEYS.get(self.store)
        return {"store": str(self.store), key: self.reference} if key else {"store": str(self.store)}

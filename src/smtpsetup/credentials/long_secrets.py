"""Secrets in a keyring, split over several entries if too long for one: Windows takes 2,560 bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "smtpsetup"
WINDOWS_LIMIT = 2560  # bytes of UTF-16 (CRED_MAX_CREDENTIAL_BLOB_SIZE)
_MARK = "smtpsetup-parts:"  # followed by a name for the parts and their number


def read(backend: KeyringBackend, account: str) -> str | None:
    """The secret of an account, None if there is none or a part is missing."""
    head = backend.get_password(SERVICE, account)
    if head is None or not head.startswith(_MARK):
        return head
    parts = [backend.get_password(SERVICE, name) for name in _names(account, head)]
    return None if None in parts else "".join(part for part in parts if part is not None)


def write(backend: KeyringBackend, account: str, value: str, limit: int | None) -> None:
    """Save a secret. If this is interrupted, the old or the new one can be read.

    `limit` is the length of the longest entry, in bytes of UTF-16.
    """
    before = backend.get_password(SERVICE, account)
    head = value
    if limit is not None and len(value.encode("utf-16-le")) > limit:
        length = limit // 4  # characters; each has at most four bytes
        pieces = [value[start : start + length] for start in range(0, len(value), length)]
        head = f"{_MARK}{os.urandom(4).hex()}:{len(pieces)}"
        for name, piece in zip(_names(account, head), pieces, strict=True):
            backend.set_password(SERVICE, name, piece)
    backend.set_password(SERVICE, account, head)
    _delete_parts(backend, account, before)


def delete(backend: KeyringBackend, account: str) -> None:
    """Delete an existing secret and its parts."""
    head = backend.get_password(SERVICE, account)
    backend.delete_password(SERVICE, account)
    _delete_parts(backend, account, head)


def _delete_parts(backend: KeyringBackend, account: str, head: str | None) -> None:
    for name in _names(account, head or ""):
        if backend.get_password(SERVICE, name) is not None:
            backend.delete_password(SERVICE, name)


def _names(account: str, head: str) -> list[str]:
    """The names of the entries that hold the parts; `head` is the account's own entry."""
    if not head.startswith(_MARK):
        return []
    name, _colon, count = head.removeprefix(_MARK).partition(":")
    return [f"{account}#{name}#{number}" for number in range(int(count) if count.isdecimal() else 0)]

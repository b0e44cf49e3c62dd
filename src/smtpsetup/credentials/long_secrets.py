"""Secrets that are too long for one entry of a keyring, in several.

Windows takes 2,560 bytes, and refresh tokens have more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

WINDOWS_LIMIT = 2560  # bytes of UTF-16 (CRED_MAX_CREDENTIAL_BLOB_SIZE)
_MARK = "smtpsetup-parts:"  # then a name for the parts, and how many there are


def read(backend: KeyringBackend, service: str, account: str) -> str | None:
    """The secret of an account, None where there is none or a part of it is gone."""
    head = backend.get_password(service, account)
    if head is None or not head.startswith(_MARK):
        return head
    parts = [backend.get_password(service, name) for name in _names(account, head)]
    return None if None in parts else "".join(part for part in parts if part is not None)


def write(backend: KeyringBackend, service: str, account: str, value: str, limit: int | None) -> None:
    """Save a secret; what is there before is good until the last moment.

    `limit` is the longest entry, in bytes of UTF-16.
    """
    before = backend.get_password(service, account)
    head = value
    if limit is not None and len(value.encode("utf-16-le")) > limit:
        length = limit // 4  # characters, of which none has more bytes
        pieces = [value[start : start + length] for start in range(0, len(value), length)]
        head = f"{_MARK}{os.urandom(4).hex()}:{len(pieces)}"
        for name, piece in zip(_names(account, head), pieces, strict=True):
            backend.set_password(service, name, piece)
    backend.set_password(service, account, head)
    _forget_parts(backend, service, account, before)


def delete(backend: KeyringBackend, service: str, account: str) -> None:
    """Delete a secret that is there, with its parts."""
    head = backend.get_password(service, account)
    backend.delete_password(service, account)
    _forget_parts(backend, service, account, head)


def _forget_parts(backend: KeyringBackend, service: str, account: str, head: str | None) -> None:
    for name in _names(account, head or ""):
        if backend.get_password(service, name) is not None:
            backend.delete_password(service, name)


def _names(account: str, head: str) -> list[str]:
    """The entries of the parts that a head speaks of."""
    if not head.startswith(_MARK):
        return []
    name, _colon, count = head.removeprefix(_MARK).partition(":")
    return [f"{account}#{name}#{number}" for number in range(int(count) if count.isdecimal() else 0)]

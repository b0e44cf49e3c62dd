"""Encryption of what must not be in a shared database in clear: AES-256-GCM, with a key that the database has not."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D section 8.2.2: random ones, for far fewer than 2**32 messages


class SealBrokenError(Exception):
    """It was sealed with another key or for another name, or it was changed."""


def new_key() -> str:
    """A new key, as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def is_key(text: str) -> bool:
    """Whether this is a key as `new_key` makes it."""
    try:
        return len(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)) == _KEY_BYTES
    except (ValueError, binascii.Error):
        return False


def fingerprint(key: str) -> bytes:
    """What tells one key from another, and says nothing else of it."""
    return hashlib.sha256(b"smtpsetup outbox key\0" + key.encode("ascii")).digest()[:16]


def seal(key: str, name: str, data: bytes) -> bytes:
    """Data encrypted for a name, such as an account's: it cannot be put in the place of another's."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, data, name.encode("utf-8", "surrogateescape"))


def unseal(key: str, name: str, sealed: bytes) -> bytes:
    """The data. Raises SealBrokenError."""
    from cryptography.exceptions import InvalidTag

    nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return _cipher(key).decrypt(nonce, rest, name.encode("utf-8", "surrogateescape"))
    except (InvalidTag, ValueError) as error:
        raise SealBrokenError from error


def _cipher(key: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(base64.urlsafe_b64decode(key))

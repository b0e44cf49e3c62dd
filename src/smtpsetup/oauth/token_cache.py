"""The cache of access tokens: one private file per account in the state directory, and its lock for renewals.

A send whose token has not expired needs no other module of OAuth2.
"""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from smtpsetup.config import paths
from smtpsetup.state import files, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient

_DIRECTORY = "tokens"
_EARLY_SECONDS = 120.0  # before it expires, a token is renewed: a login takes time, and clocks differ
_LATEST_TIME = 1e12  # seconds since 1970
_FORMAT = 1
_ROOM = 65_536  # bytes: the limit of a token endpoint's response


class CachedTokens(NamedTuple):
    """The cached tokens of an account's sign-in. Times are in seconds since 1970.

    `owner` is the result of `owner_of` for the access token. `refresh_token` is newer than the one in the account's
    store, `""` if that store could be written; `replaces` is the SHA-256 of the older one. `ask_again_at` is set if the
    provider asked for a pause.
    """

    access_token: str
    expires_at: float
    owner: str
    refreshed_at: float
    signed_in_at: float = 0.0
    refresh_token: str = ""
    replaces: str = ""
    ask_again_at: float = 0.0

    def __repr__(self) -> str:
        return "CachedTokens(***)"

    @property
    def is_valid(self) -> bool:
        """Whether every value has the right type and range: the file may have been edited."""
        times = (self.expires_at, self.refreshed_at, self.signed_in_at, self.ask_again_at)
        tokens = (self.access_token, self.refresh_token)
        return (
            all(type(time) in (int, float) and abs(time) < _LATEST_TIME for time in times)
            and all(isinstance(text, str) for text in (*tokens, self.owner, self.replaces))
            and all(token.isascii() and (token.isprintable() or not token) for token in tokens)
        )

    def is_good(self, owner: str, now: float) -> bool:
        """Whether `owner` can use the access token at the time `now`.

        A token that was issued after `now` is not used: the clock has been set back.
        """
        early = min(_EARLY_SECONDS, (self.expires_at - self.refreshed_at) / 2)
        is_in_time = self.refreshed_at - _EARLY_SECONDS <= now < self.expires_at - early
        return bool(self.access_token) and self.owner == owner and is_in_time


def digest(secret: str) -> str:
    """The SHA-256 of a token, to know it again."""
    import hashlib  # only for a renewal

    return hashlib.sha256(secret.encode()).hexdigest()


def owner_of(account: Account, client: TokenClient) -> str:
    """The user, mail server, client and token endpoint of an access token. It must not be sent for any other."""
    return f"{account.username}\n{account.server.host}\n{client.client_id}\n{client.token_endpoint}"


def load(directory: str, account: str) -> CachedTokens | None:
    """The cached tokens of an account, None if there is no file or a malformed one.

    Raises OSError if the file exists and cannot be read.
    """
    import json  # only for accounts with OAuth2

    try:
        with open(_file(directory, account), "rb") as file:
            row = json.loads(file.read())
        tokens = CachedTokens(**row["kept"])
        return tokens if row["format"] == _FORMAT and tokens.is_valid else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def save(directory: str, account: str, tokens: CachedTokens) -> None:
    """Write the tokens with mode 0600, synced to disk. Raises OSError."""
    with reserved(directory, account) as save_there:
        save_there(tokens)


@contextmanager
def reserved(directory: str, account: str) -> Iterator[Callable[[CachedTokens], None]]:
    """Reserve disk space for tokens. Yields a function that writes them as `save` does. Raises OSError.

    The caller holds the lock.
    """
    path = _file(directory, account)
    try:
        _make_directory(directory)
        _unlink(f"{path}.new")  # left by a process that was killed
        handle = os.open(f"{path}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "r+b") as file:
                _write(file, bytes(_ROOM))
                yield functools.partial(_commit, file, path)
        finally:
            _unlink(f"{path}.new")
    except OSError as error:
        error.filename = path
        raise


def _commit(file: BinaryIO, path: str, tokens: CachedTokens) -> None:
    import json  # only for accounts with OAuth2

    _write(file, json.dumps({"format": _FORMAT, "kept": tokens._asdict()}).encode())
    file.close()  # Windows cannot move an open file
    files.replace(f"{path}.new", path)


def _write(file: BinaryIO, data: bytes) -> None:
    file.seek(0)
    file.write(data)
    file.flush()
    file.truncate()
    files.sync(file.fileno())


def forget(directory: str, account: str) -> None:
    """Delete the cached tokens of an account. Raises OSError."""
    for path in (_file(directory, account), f"{_file(directory, account)}.new"):
        _unlink(path)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


class StillLockedError(Exception):
    """Another process has held the lock for too long."""


@contextmanager
def locked(directory: str, account: str, seconds: float) -> Iterator[None]:
    """Hold the account's renewal lock. Raises StillLockedError after so many seconds, OSError."""
    from smtpsetup.state import locks  # only for renewals

    _make_directory(directory)
    try:
        handle = locks.open_locked(f"{_file(directory, account)}.lock", os.O_RDWR | os.O_CREAT, seconds=seconds)
    except BlockingIOError as error:
        raise StillLockedError from error
    try:
        yield
    finally:
        os.close(handle)


def _make_directory(directory: str) -> None:
    """Create the state directory and the one for tokens in it, private to their owner."""
    private_dir.prepare(directory)
    private_dir.prepare(os.path.join(directory, _DIRECTORY))


def _file(directory: str, account: str) -> str:
    return os.path.join(directory, _DIRECTORY, f"{paths.file_name(account)}.json")

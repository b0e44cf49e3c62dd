"""Access tokens between runs.

A file in the state directory that only its owner reads, and the lock under which one process asks for a new one.

A send with a token that is still good reads this file and nothing else of OAuth2.
"""

from __future__ import annotations

import functools
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from smtpsetup.config import paths
from smtpsetup.state import files, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient

_DIRECTORY = "tokens"
_EARLY_SECONDS = (
    120.0  # a token that ends within a login is no use, and clocks differ; of one that lives shortly, half its time
)
_END_OF_TIME = 1e12
_FORMAT = 1
_ROOM = 65_536  # bytes: an answer of the token endpoint has no more


class Kept(NamedTuple):
    """What is kept of an account's sign-in. Times are in seconds since 1970.

    `owner` is whose access token it is, and whom it is for, as `owner_of` has it. `refresh_token` is a newer one than
    the account's own place holds, `""` where that place could be written; `replaces` is the SHA-256 of the older one.
    `ask_again_at` is set where the provider asked for a pause.
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
        return "Kept(***)"

    @property
    def is_whole(self) -> bool:
        """Whether a hand in the file has left every value what it should be."""
        times = (self.expires_at, self.refreshed_at, self.signed_in_at, self.ask_again_at)
        tokens = (self.access_token, self.refresh_token)
        return (
            # JSON has numbers that no clock has
            all(type(time) in (int, float) and abs(time) < _END_OF_TIME for time in times)
            and all(isinstance(text, str) for text in (*tokens, self.owner, self.replaces))
            and all(token.isascii() and (token.isprintable() or not token) for token in tokens)
        )

    def is_good(self, owner: str, now: float) -> bool:
        """Whether the access token can be used now.

        One from a clock that was wrong, further away than any lives, cannot.
        """
        early = min(_EARLY_SECONDS, (self.expires_at - self.refreshed_at) / 2)
        is_in_time = self.refreshed_at - _EARLY_SECONDS <= now < self.expires_at - early
        return bool(self.access_token) and self.owner == owner and is_in_time


def owner_of(account: Account, client: TokenClient) -> str:
    """Whose access token it is, which program has it from whom, and which server it is for.

    Given to any other, it would be given away.
    """
    return f"{account.username}\n{account.server.host}\n{client.client_id}\n{client.token_endpoint}"


def load(directory: str, account: str) -> Kept | None:
    """What is kept of an account, None for nothing or for a file that is none of ours.

    Raises OSError where it is there and cannot be read.
    """
    import json  # an account with a password has no use for it

    try:
        with open(_file(directory, account), "rb") as file:
            row = json.loads(file.read())
        kept = Kept(**row["kept"])
        return kept if row["format"] == _FORMAT and kept.is_whole else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def save(directory: str, account: str, kept: Kept) -> None:
    """Keep it, on the disk when this returns, mode 0600. Raises OSError."""
    with reserved(directory, account) as save_there:
        save_there(kept)


@contextmanager
def reserved(directory: str, account: str) -> Iterator[Callable[[Kept], None]]:
    """Room on the disk for what will have to be kept, taken before it is known.

    Gives what saves it there, as `save` does. The caller holds the lock.

    Raises OSError.
    """
    path = _file(directory, account)
    try:
        _make_directory(directory)
        _unlink(f"{path}.new")  # a process that was killed has left it
        handle = os.open(f"{path}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "r+b") as file:
                _write(file, bytes(_ROOM))
                yield functools.partial(_put, file, path)
        finally:
            _unlink(f"{path}.new")
    except OSError as error:
        error.filename = path
        raise


def _put(file: BinaryIO, path: str, kept: Kept) -> None:
    import json  # as in `reserved`

    _write(file, json.dumps({"format": _FORMAT, "kept": kept._asdict()}).encode())
    file.close()  # Windows moves no file that is open
    files.replace(f"{path}.new", path)


def _write(file: BinaryIO, data: bytes) -> None:
    file.seek(0)
    file.write(data)
    file.flush()
    file.truncate()
    os.fsync(file.fileno())


def forget(directory: str, account: str) -> None:
    """Throw away what is kept of an account."""
    for path in (_file(directory, account), f"{_file(directory, account)}.new"):
        _unlink(path)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


class StillLockedError(Exception):
    """Another process has been asking for a token for too long."""


@contextmanager
def locked(directory: str, account: str, seconds: float) -> Iterator[None]:
    """Let one process at a time ask for a token. Raises StillLockedError, OSError."""
    _make_directory(directory)
    handle = _taken(f"{_file(directory, account)}.lock", time.monotonic() + seconds)
    try:
        yield
    finally:
        os.close(handle)


def _taken(path: str, end: float) -> int:
    from smtpsetup.state import locks  # as in `reserved`

    while True:
        handle = private_dir.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            locks.lock(handle, seconds=0)
            if _is_still(handle, path):
                return handle
        except BlockingIOError as error:
            if time.monotonic() > end:
                os.close(handle)
                raise StillLockedError from error
            time.sleep(0.05)  # a lock that waits has no end of its own
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(handle: int, path: str) -> bool:
    """Whether a locked file is the one that others will find: somebody may have cleaned up meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _make_directory(directory: str) -> None:
    """The directory for tokens, and that of everything else that is remembered, for their owner alone."""
    private_dir.prepare(directory)
    private_dir.prepare(os.path.join(directory, _DIRECTORY))


def _file(directory: str, account: str) -> str:
    return os.path.join(directory, _DIRECTORY, f"{paths.file_name(account)}.json")

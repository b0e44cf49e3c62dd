"""The file of the outbox: made once, however many processes come at once, and its errors as what they are."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPAIRED = ".repaired"  # behind the name: a new file that is complete, and not in its place yet
_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html section 1.3
_VERSION = 1
_BUSY_SECONDS = 60.0
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL, subject TEXT NOT NULL,
    message_id TEXT NOT NULL, size INTEGER NOT NULL, is_ascii INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_attempt REAL, queued_at REAL NOT NULL, last_reply TEXT NOT NULL, last_code TEXT NOT NULL, lease TEXT, dotted INTEGER NOT NULL DEFAULT 0,
    unknowns INTEGER NOT NULL DEFAULT 0, holds INTEGER NOT NULL DEFAULT 0, is_report INTEGER NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE content (id INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX mail_due ON mail (account, config, state, next_attempt);
CREATE INDEX mail_lease ON mail (lease) WHERE lease IS NOT NULL;
CREATE INDEX mail_message_id ON mail (message_id);
PRAGMA user_version = 1;
COMMIT;
"""


class OutboxDamagedError(Exception):
    """The outbox is no database any more, or a part of it cannot be read. `path` is where it is."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def file_in(directory: str) -> str:
    """The path of the outbox in the state directory."""
    return os.path.join(directory, "outbox.db")


def connected(path: str) -> sqlite3.Connection:
    """A connection to the outbox, which is made where there is none. One thread at a time may use it. Raises OSError, OutboxDamagedError."""
    _refuse_other_content(path)
    is_empty = _is_empty(path)
    before = os.umask(0o077)
    try:
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    finally:
        os.umask(before)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            _make(db, path, is_empty=is_empty)
        _refuse_newer(db, path)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":  # as a repair leaves it
            with _alone(path):
                db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.execute("PRAGMA journal_size_limit = 1048576").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _make(db: sqlite3.Connection, path: str, *, is_empty: bool) -> None:
    """Make the tables. Raises OutboxDamagedError for a file that had them once, and that something has emptied."""
    with _alone(path) as making:
        if db.execute("PRAGMA user_version").fetchone()[0] != 0:
            return
        if is_empty and os.read(making, 1):
            raise OutboxDamagedError(path)
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.executescript(_SCHEMA)
        os.write(making, b"1")


def _refuse_other_content(path: str) -> None:
    """SQLite takes a file of a byte or two for an empty one, and would write over what is left of an outbox."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    if start and start != _MAGIC:
        raise OutboxDamagedError(path)


def _is_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except FileNotFoundError:
        return False


def _refuse_newer(db: sqlite3.Connection, path: str) -> None:
    if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        raise OSError(0, "a newer smtpsetup has made it", path)


def lock(path: str, *, is_shared: bool) -> int:
    """A handle that keeps a repair and everybody else apart until it is closed. Raises OSError."""
    handle = os.open(os.path.join(os.path.dirname(path), "outbox.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
    return handle


@contextmanager
def _alone(path: str) -> Iterator[int]:
    """Keep other processes waiting that want to make the outbox: changing the journal's mode is the one thing that SQLite does not wait for.

    Gives the handle of a file that has a byte once the outbox was made.
    """
    handle = os.open(os.path.join(os.path.dirname(path), "outbox.making"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """SQLite's errors as OutboxDamagedError for a damaged file, and OSError for the disk's trouble."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DataError) as error:  # DataError: larger than SQLite takes
        raise OSError(0, str(error), path) from error
    except (sqlite3.DatabaseError, ValueError) as error:  # ValueError: a text that is no UTF-8, recipients that are no JSON
        raise OutboxDamagedError(path) from error

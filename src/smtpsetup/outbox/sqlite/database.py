"""The outbox's database: made, migrated, checked for damage and lost mail, and its errors classified."""

from __future__ import annotations

import os
import sqlite3
import sys
from binascii import crc32
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.sqlite.file_header import header_fault, is_other_content
from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPAIRED = ".repaired"  # suffix of a complete new file that has not replaced the damaged one yet
LOST_WAL = ".lost-wal"  # suffix of a copy of a write-ahead log with mails that SQLite does not see, kept for a repair
VERSION = 3
_TURN = "outbox.turn"  # a file that is locked by whoever waits for the outbox
CHECKSUMS_SINCE, CLIENT_SINCE = 2, 3
"""The versions that added checksums, and the name of the relay's client."""
# SQLite reports these as other errors, but they mean damage
_SIGNS_OF_DAMAGE = (
    "no such table",
    "no such column",
    "Could not decode",
)
_BUSY_SECONDS = 60.0
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL,
    subject TEXT NOT NULL, message_id TEXT NOT NULL, size INTEGER NOT NULL, is_ascii INTEGER NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_attempt REAL, queued_at REAL NOT NULL, last_reply TEXT NOT NULL, last_code TEXT NOT NULL, lease TEXT,
    dotted INTEGER NOT NULL DEFAULT 0,
    unknowns INTEGER NOT NULL DEFAULT 0, holds INTEGER NOT NULL DEFAULT 0, is_report INTEGER NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT '', put_offs INTEGER NOT NULL DEFAULT 0, content_checksum INTEGER NOT NULL DEFAULT 0,
    checksum INTEGER NOT NULL DEFAULT 0, client TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE content (id INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX mail_due ON mail (account, config, state, next_attempt);
CREATE INDEX mail_lease ON mail (lease) WHERE lease IS NOT NULL;
CREATE INDEX mail_message_id ON mail (message_id);
PRAGMA user_version = 3;
COMMIT;
"""
_FROM_VERSION_1 = """
ALTER TABLE mail ADD COLUMN put_offs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN content_checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
"""
_FROM_VERSION_2 = "ALTER TABLE mail ADD COLUMN client TEXT NOT NULL DEFAULT ''"
# the columns that decide which mail goes to whom; a wrong time or counter only sends a mail earlier or later
_CHECKSUMMED = (
    "id, account, sender, recipients, subject, message_id, size, is_ascii, lease, dotted, unknowns, holds, "
    "is_report, config, content_checksum"
)
_DAMAGED = -1  # cannot be a CRC-32, so that a damaged row stays damaged when it is changed


def _checksum_of(row: str = "") -> str:
    """In SQL: the checksum of a row, from bytes, since a damaged text may not be UTF-8."""
    return f"row_checksum({', '.join(f'CAST({row}{column} AS BLOB)' for column in _CHECKSUMMED.split(', '))})"


# triggers of this connection: every change updates the checksum of its row, unless the row was damaged before
_TRIGGERS = f"""
CREATE TEMP TRIGGER mail_added AFTER INSERT ON main.mail BEGIN
    UPDATE mail SET checksum = {_checksum_of("NEW.")} WHERE id = NEW.id;
END;
CREATE TEMP TRIGGER mail_changed AFTER UPDATE OF {_CHECKSUMMED} ON main.mail BEGIN
    UPDATE mail SET checksum = iif(OLD.checksum = {_checksum_of("OLD.")}, {_checksum_of("NEW.")}, {_DAMAGED})
        WHERE id = NEW.id;
END;
"""
HAS_ITS_CHECKSUM = f"(checksum = {_checksum_of()})"
"""In SQL: whether a row of `mail` matches its checksum."""
HAS_A_STATE = "(state IN ('waiting', 'sending', 'unknown', 'failed'))"
IS_SOUND = f"({HAS_ITS_CHECKSUM} AND {HAS_A_STATE})"
"""In SQL: whether a row of `mail` is undamaged."""


def file_in(directory: str) -> str:
    """The path of the outbox in the state directory."""
    return os.path.join(directory, "outbox.db")


def connected(path: str) -> sqlite3.Connection:
    """A connection to the outbox, which is made where it is missing. Only one thread at a time can use it.

    Raises OSError, OutboxDamagedError.
    """
    for suffix in ("", "-wal", "-shm"):
        private_dir.check_file(path + suffix)
    if is_other_content(path):  # SQLite would take a short file for an empty one and overwrite it
        raise OutboxDamagedError(path)
    made = read_made(path)
    before = os.umask(0o077)
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            _make(db, path, made)
        _refuse_newer(db, path, made)
        _refuse_lost_mails(db, path, made)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":  # as a repair leaves it
            with _alone(path):
                db.execute("PRAGMA journal_mode = WAL").fetchone()
        if sys.platform == "darwin":  # where an ordinary sync leaves mail in the drive's own memory, as in `files.sync`
            db.execute("PRAGMA fullfsync = ON")
            db.execute("PRAGMA checkpoint_fullfsync = ON")
        db.execute("PRAGMA journal_size_limit = 1048576").fetchone()
        db.execute("PRAGMA temp_store = MEMORY")
        with_checksums(db)
        db.executescript(_TRIGGERS)
    except BaseException:
        db.close()
        raise
    finally:
        os.umask(before)
    return db


def with_checksums(db: sqlite3.Connection) -> None:
    """Define the SQL function `row_checksum`."""
    db.create_function("row_checksum", -1, _row_checksum, deterministic=True)


def _row_checksum(*values: bytes | None) -> int:
    return crc32(b"\x1f".join(value or b"" for value in values))


def content_checksum(header: bytes, body: Iterable[bytes]) -> int:
    """The CRC-32 of a whole message. It detects every burst of up to 32 wrong bits."""
    checksum = crc32(header)
    for chunk in body:
        checksum = crc32(chunk, checksum)
    return checksum


def _make(db: sqlite3.Connection, path: str, made: Made) -> None:
    """Make the tables. Raises OutboxDamagedError for a file that once had them, as the file beside it shows."""
    with _alone(path) as making:
        if db.execute("PRAGMA user_version").fetchone()[0] != 0:
            return
        if made.version:
            _keep_log(path)
            raise OutboxDamagedError(path)
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.executescript(_SCHEMA)
        _write_made(making, Made(VERSION, 0))


def bring_up_to_date(path: str) -> None:
    """Migrate an outbox of an older version. Raises OSError, OutboxDamagedError.

    No other process can have it open meanwhile: one of version 1 would not update the checksums.
    """
    if not 1 <= read_made(path).version < VERSION:
        return
    handle = lock(path, is_shared=False, seconds=_BUSY_SECONDS)
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as db, _alone(path) as making:
            if 1 <= db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                _migrate(db)
            if db.execute("PRAGMA user_version").fetchone()[0] == VERSION:
                _write_made(making, Made(VERSION, highest_number(db)))
    finally:
        os.close(handle)


def _migrate(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone()[0] < CHECKSUMS_SINCE:
        _add_checksums(db)
    db.execute(_FROM_VERSION_2)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _add_checksums(db: sqlite3.Connection) -> None:
    with_checksums(db)
    db.create_function("content_checksum", 2, lambda header, body: content_checksum(header, (body,)))
    for statement in _FROM_VERSION_1.strip().splitlines():
        db.execute(statement)
    db.execute(
        "UPDATE mail SET content_checksum = coalesce((SELECT content_checksum(header, body) FROM content WHERE "
        "content.id = mail.id), 0)"
    )
    db.execute(f"UPDATE mail SET checksum = {_checksum_of()}")


def highest_number(db: sqlite3.Connection) -> int:
    """The highest number that a mail has had."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'mail'").fetchone()
    return int(row[0]) if row else 0


class Made(NamedTuple):
    """The content of `outbox.making`: the outbox's version, and the highest number of a mail that was on the disk.

    It is a small file beside the outbox. 0 stands for what is not known.
    """

    version: int
    highest: int


_MADE_LENGTH = 21


def _made_file(path: str) -> str:
    return os.path.join(os.path.dirname(path), "outbox.making")


def read_made(path: str) -> Made:
    """The content of `outbox.making`. Raises OSError."""
    try:
        handle = private_dir.open_file(_made_file(path), os.O_RDONLY)
    except FileNotFoundError:
        return Made(0, 0)
    try:
        text = os.read(handle, _MADE_LENGTH)
    finally:
        os.close(handle)
    if not os.path.exists(path):  # the outbox was deleted or moved away
        return Made(0, 0)
    return Made(int(text[:1]), int(text[1:] or b"0")) if text.isdigit() else Made(0, 0)


def _write_made(handle: int, made: Made) -> None:
    """Write a text of constant length, so that it needs new disk space only once."""
    text = f"{made.version}{made.highest:0{_MADE_LENGTH - 1}}".encode()
    if hasattr(os, "pwrite"):
        os.pwrite(handle, text, 0)
    else:
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, text)


def write_highest(path: str, number: int) -> None:
    """Note the number of a mail that is on the disk; an outbox that ends before it has lost mail. Raises OSError."""
    handle = private_dir.open_file(_made_file(path), os.O_WRONLY | os.O_CREAT)
    try:
        _write_made(handle, Made(VERSION, number))
    finally:
        os.close(handle)


def _refuse_newer(db: sqlite3.Connection, path: str, made: Made) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if 1 <= version <= VERSION:
        return
    if 1 <= made.version <= VERSION:
        raise OutboxDamagedError(path)  # made by this version or an older one: the number is damaged
    raise OSError(0, "a newer smtpsetup has made it", path)


def _refuse_lost_mails(db: sqlite3.Connection, path: str, made: Made) -> None:
    """Raise OutboxDamagedError where mails are missing.

    SQLite ends a write-ahead log at the first wrong bit, and deletes the rest when the last connection is closed.
    """
    if highest_number(db) >= made.highest:
        return
    _keep_log(path)
    raise OutboxDamagedError(path)


def _keep_log(path: str) -> None:
    """Copy the write-ahead log for a repair, unless that has been done."""
    if os.path.exists(f"{path}-wal") and not os.path.exists(path + LOST_WAL):
        import shutil  # only for damage

        shutil.copyfile(f"{path}-wal", path + LOST_WAL)
        os.chmod(path + LOST_WAL, 0o600)


def lock(path: str, *, is_shared: bool, seconds: float | None = None) -> int:
    """Lock the outbox for use (shared) or for a repair (exclusive), until the returned handle is closed.

    Raises OSError, also where the lock is not free within so many `seconds`.
    """
    try:
        # who wants it alone keeps its turn while it waits, so that others do not always come first
        turn = _open_locked_beside(path, _TURN, seconds, is_shared=is_shared)
        try:
            return _open_locked_beside(path, "outbox.lock", seconds, is_shared=is_shared)
        finally:
            os.close(turn)
    except BlockingIOError as error:
        raise OSError(0, "database is locked", path) from error


def is_wanted_alone(path: str) -> bool:
    """Whether a repair waits until nobody has the outbox open. Raises OSError."""
    try:
        os.close(_open_locked_beside(path, _TURN, 0, is_shared=True))
    except BlockingIOError:
        return True
    return False


def _open_locked_beside(path: str, name: str, seconds: float | None, *, is_shared: bool) -> int:
    beside = os.path.join(os.path.dirname(path), name)
    return locks.open_locked(beside, os.O_RDWR | os.O_CREAT, seconds=seconds, is_shared=is_shared)


@contextmanager
def _alone(path: str) -> Iterator[int]:
    """Let no other process make or migrate the outbox meanwhile. Yields a handle to `outbox.making`, which is locked.

    SQLite does not wait for other processes when it changes the mode of the journal.
    """
    handle = private_dir.open_file(_made_file(path), os.O_RDWR | os.O_CREAT)
    try:
        locks.lock(handle)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into OutboxDamagedError for a damaged file and OSError for others."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DataError) as error:  # DataError: larger than SQLite takes
        if str(error).startswith(_SIGNS_OF_DAMAGE) or header_fault(path, VERSION):
            raise OutboxDamagedError(path) from error
        raise OSError(0, str(error), path) from error
    except (sqlite3.DatabaseError, ValueError) as error:  # ValueError: text that is not UTF-8, recipients not JSON
        raise OutboxDamagedError(path) from error

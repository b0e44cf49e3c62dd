"""Making a copy of a damaged database file readable.

The pages of its write-ahead log are copied in, and a damaged first page is replaced.

SQLite's file formats: https://www.sqlite.org/fileformat.html and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.sqlite.database import VERSION
from smtpsetup.outbox.sqlite.rows import STORED

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = ", ".join(name for name in STORED if name not in ("put_offs", "client"))  # those of version 1
_PAGE = 4096  # bytes, SQLite's default
_LEAST_PAGES = 8  # an outbox without a mail has a page for each table and index
_MOST_TIMES = 1000  # a claimed size of more than so many times the real one is taken for damage
_WAL_HEADER, _FRAME_HEADER = 32, 24  # bytes
_SIZE_PLACE, _FREE_LIST_PLACE, _COUNTER_PLACE, _VALID_FOR_PLACE, _JOURNAL_MODE_PLACE = 28, 32, 24, 92, 18


class _Frame(NamedTuple):
    """A page in the write-ahead log. `pages` is the database's size after a commit, 0 inside a transaction."""

    number: int
    pages: int
    salt: bytes
    start: int


def copied(damaged: str, copy: str, sound: str) -> None:
    """Copy a damaged file together with its log, so that as much as possible can be read.

    `sound` is the path of another outbox, whose first page replaces a damaged one. Raises OSError.
    """
    shutil.copyfile(damaged, copy)
    os.chmod(copy, 0o600)
    with open(copy, "r+b") as file:
        if os.path.exists(f"{damaged}-wal"):
            with open(f"{damaged}-wal", "rb") as log:
                content = log.read()
            for frame in _committed(list(_frames(content))):
                file.seek((frame.number - 1) * _PAGE)
                file.write(content[frame.start : frame.start + _PAGE])
        file.flush()
        _plain_journal(file.fileno())
    if not _can_be_read(copy):
        _replace_first_page(copy, sound)


def highest_number(damaged: str) -> int:
    """The highest number of a mail in a file and its log, 0 where that cannot be read."""
    copy = f"{damaged}.copy"
    try:
        copied(damaged, copy, "")
        with closing(sqlite3.connect(copy)) as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'mail'").fetchone()
            return int(row[0]) if row else 0
    except (sqlite3.DatabaseError, OSError, ValueError, TypeError):
        return 0
    finally:
        if os.path.exists(copy):
            os.unlink(copy)


def _frames(log: bytes) -> Iterator[_Frame]:
    """The frames of a log with the salt of its header, else of its first frame; checksums are not compared."""
    places = range(_WAL_HEADER, len(log) - _FRAME_HEADER - _PAGE + 1, _FRAME_HEADER + _PAGE)
    frames = [
        _Frame(_number(log, place), _number(log, place + 4), log[place + 8 : place + 16], place + _FRAME_HEADER)
        for place in places
    ]
    salts = {frame.salt for frame in frames}
    current = log[16:24] if log[16:24] in salts else frames[0].salt if frames else b""
    last = max((place for place, frame in enumerate(frames) if frame.salt == current), default=-1)
    most = len(frames) + max((frame.pages for frame in frames[: last + 1] if frame.pages < 1 << 24), default=0)
    yield from (frame for frame in frames[: last + 1] if 0 < frame.number <= most)


def _number(log: bytes, place: int) -> int:
    return int.from_bytes(log[place : place + 4], "big")


def _committed(frames: list[_Frame]) -> list[_Frame]:
    """The frames up to the last commit."""
    last = max((place for place, frame in enumerate(frames) if frame.pages), default=-1)
    return frames[: last + 1]


def _plain_journal(handle: int) -> None:
    """Mark the copy as a database without a log, and fill it with zeros up to the size that its header claims."""
    claimed = int.from_bytes(_bytes_at(handle, _SIZE_PLACE), "big")
    there = -(-os.fstat(handle).st_size // _PAGE)
    pages = max(there, _LEAST_PAGES, claimed if claimed <= there * _MOST_TIMES else 0)
    os.ftruncate(handle, pages * _PAGE)
    written = {
        _JOURNAL_MODE_PLACE: b"\1\1",
        _SIZE_PLACE: pages.to_bytes(4, "big"),
        _VALID_FOR_PLACE: _bytes_at(handle, _COUNTER_PLACE),
    }
    for place, data in written.items():
        os.lseek(handle, place, os.SEEK_SET)
        os.write(handle, data)


def _bytes_at(handle: int, place: int) -> bytes:
    """Four bytes of a file (Windows has no `pread`)."""
    os.lseek(handle, place, os.SEEK_SET)
    return os.read(handle, 4)


def _can_be_read(path: str) -> bool:
    """Whether SQLite finds the tables and columns of an outbox in a file."""
    try:
        with closing(sqlite3.connect(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            for query in (f"SELECT {_COLUMNS} FROM mail", "SELECT id, header, body FROM content"):
                db.execute(f"EXPLAIN {query}").fetchall()
            return 1 <= int(version) <= VERSION
    except (sqlite3.DatabaseError, ValueError, TypeError):
        return False


def _replace_first_page(path: str, sound: str) -> None:
    """Give the copy the first page of a sound outbox: those of all outboxes differ only in counters."""
    if not os.path.exists(sound):
        return
    with closing(sqlite3.connect(sound)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with open(sound, "rb") as file:
        page = bytearray(file.read(_PAGE))
    page[_FREE_LIST_PLACE : _FREE_LIST_PLACE + 8] = bytes(8)
    with open(path, "r+b") as file:
        file.write(page)
        file.flush()
        _plain_journal(file.fileno())

"""The first bytes of the outbox's file, which tell whether it is one."""

from __future__ import annotations

import os
import sys
import threading

_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html section 1.3
# https://www.sqlite.org/fileformat.html section 1.3: page size, fractions, schema format, encoding, version,
# incremental vacuum, nothing
_FIXED = {
    0: _MAGIC,
    16: b"\x10\0",
    20: b"\0\x40\x20\x20",
    44: b"\0\0\0\4",
    56: b"\0\0\0\1\0\0\0",
    64: b"\0\0\0\1",
    68: bytes(24),
}
_HEADER_SIZE = 100
_handles: dict[tuple[int, int], int] = {}  # by device and inode
_opening = threading.Lock()


def is_other_content(path: str) -> bool:
    """Whether there is a file with something else than a database in it. Raises OSError."""
    try:
        start = _start_of(path, len(_MAGIC))
    except FileNotFoundError:
        return False
    return bool(start) and start != _MAGIC


def header_fault(path: str, newest_version: int) -> str:
    """Which of the file's first 100 bytes differ from those of every outbox, `""` where none does.

    SQLite checks only some of them. While there is a write-ahead log, which may have a newer first page, nothing is
    checked.
    """
    try:
        if os.path.exists(f"{path}-wal") and os.stat(f"{path}-wal").st_size:
            return ""
        header = _start_of(path, _HEADER_SIZE)
    except OSError:
        return ""
    wrong = [place for place, value in _FIXED.items() if header[place : place + len(value)] != value]
    if header[18:20] not in (b"\1\1", b"\2\2"):
        wrong.append(18)
    if not b"\1" <= header[63:64] <= bytes([newest_version]):  # the version
        wrong.append(63)
    return f"header bytes {', '.join(map(str, sorted(wrong)))}" if wrong else ""


def _start_of(path: str, size: int) -> bytes:
    """The first bytes of a database. Raises OSError.

    Its handle stays open: closing one would drop the locks that SQLite has on the file for other connections of this
    process (fcntl(2); https://www.sqlite.org/howtocorrupt.html section 2.2), and a process that ended meanwhile would
    delete their write-ahead log.
    """
    if sys.platform == "win32":
        with open(path, "rb") as file:
            return file.read(size)
    with _opening:
        info = os.stat(path)
        handle = _handles.get((info.st_dev, info.st_ino))
        if handle is None:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            info = os.fstat(handle)
            _handles[info.st_dev, info.st_ino] = handle
        return os.pread(handle, size, 0)

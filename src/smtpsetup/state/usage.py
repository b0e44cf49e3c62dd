"""The mail that was sent in the last 24 hours, to warn before a provider's daily limit. Errors of files are ignored."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = 86_400  # seconds
_A_MINUTE = 60.0
_MAX_LINE = 40  # characters
_MAX_BYTES = 65_536  # of a file before lines older than a day are deleted


def record(directory: str | None, account: str, recipients: int) -> None:
    """Record that a message was sent to that many recipients; without a directory, do nothing."""
    if directory is None:
        return
    path = _file(directory, account)
    with suppress(OSError):
        private_dir.prepare(directory)
        handle = private_dir.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(handle, f"{int(time.time())} {recipients}\n".encode("ascii"))
            is_large = os.fstat(handle).st_size > _MAX_BYTES
        finally:
            os.close(handle)
        if is_large and _has_old_lines(path):
            _delete_old_lines(path)


def _delete_old_lines(path: str) -> None:
    kept = [f"{when} {count}\n" for when, count in _recent(path)]
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(kept)
    os.replace(temporary, path)


def last_day(directory: str | None, account: str) -> tuple[int, int]:
    """How many messages and recipients an account had in the last 24 hours; 0 if that is not known."""
    if directory is None:
        return 0, 0
    try:
        counts = [count for _when, count in _recent(_file(directory, account))]
    except OSError:
        return 0, 0
    return len(counts), sum(counts)


def times_of_last_day(directory: str, account: str) -> list[float]:
    """When the messages of the last 24 hours were sent, in seconds since 1970; none if that is not known."""
    try:
        return [float(when) for when, _count in _recent(_file(directory, account))]
    except OSError:
        return []


@contextmanager
def taken(directory: str, account: str) -> Iterator[list[tuple[int, int]]]:
    """What was recorded of an account, to be counted elsewhere within the block: seconds since 1970, and recipients.

    It is taken away by one process; where the block fails, it is kept.
    """
    path = _file(directory, account)
    mine = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    try:
        os.rename(path, mine)
    except OSError:
        yield []
        return
    try:
        yield list(_recent(mine))
    except BaseException:
        with suppress(OSError), open(mine, encoding="ascii", errors="replace") as file:
            lines = file.read()
            with open(path, "a", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as again:
                again.write(lines)
        raise
    finally:
        with suppress(OSError):
            os.unlink(mine)


def _has_old_lines(path: str) -> bool:
    """Whether the first line is more than two days old: a large file of today is not rewritten for every mail."""
    with open(path, "rb") as file:
        first = file.readline().split()
    return not first or not first[0].isdigit() or int(first[0]) < time.time() - 2 * _DAY


def _recent(path: str) -> Iterator[tuple[int, int]]:
    now = time.time()
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            when, _blank, count = line.strip().partition(" ")
            is_entry = when.isdigit() and count.isdigit() and len(line) < _MAX_LINE
            if is_entry and now - _DAY <= int(when) <= now + _A_MINUTE:  # a later one was noted with a wrong clock
                yield int(when), int(count)


def _file(directory: str, account: str) -> str:
    name = "".join(char if char.isalnum() or char in "@.+-" else f"%{ord(char):x}" for char in account)
    return os.path.join(directory, f"sent-{name}")

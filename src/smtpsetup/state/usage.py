"""How much was sent in the last 24 hours, to warn before a provider's daily limit.

A courtesy: where it cannot be kept, sending goes on.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = 86_400  # seconds
_LONGEST_LINE = 40
_LARGEST = 65_536  # bytes, then what is older than a day is thrown away


def record(directory: str | None, account: str, recipients: int) -> None:
    """Note that a message went to so many recipients; without a directory nothing is noted."""
    if directory is None:
        return
    path = _file(directory, account)
    with suppress(OSError):
        private_dir.prepare(directory)
        handle = private_dir.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(handle, f"{int(time.time())} {recipients}\n".encode("ascii"))
            is_large = os.fstat(handle).st_size > _LARGEST
        finally:
            os.close(handle)
        if is_large and _begins_too_early(path):
            _shorten(path)


def _shorten(path: str) -> None:
    kept = [f"{when} {count}\n" for when, count in _recent(path)]
    with open(
        f"{path}.{os.getpid()}", "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)
    ) as file:
        file.writelines(kept)
    os.replace(f"{path}.{os.getpid()}", path)


def last_day(directory: str | None, account: str) -> tuple[int, int]:
    """Messages and recipients of an account in the last 24 hours, as far as they are known."""
    if directory is None:
        return 0, 0
    try:
        counts = [count for _when, count in _recent(_file(directory, account))]
    except OSError:
        return 0, 0
    return len(counts), sum(counts)


def _begins_too_early(path: str) -> bool:
    """Whether there is anything to throw away.

    A file with thousands of mails of today is left as it is, or each of them would rewrite it.
    """
    with open(path, "rb") as file:
        first = file.readline().split()
    return not first or not first[0].isdigit() or int(first[0]) < time.time() - 2 * _DAY


def _recent(path: str) -> Iterator[tuple[int, int]]:
    since = time.time() - _DAY
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            when, _blank, count = line.strip().partition(" ")
            if when.isdigit() and count.isdigit() and len(line) < _LONGEST_LINE and int(when) >= since:
                yield int(when), int(count)


def _file(directory: str, account: str) -> str:
    name = "".join(char if char.isalnum() or char in "@.+-" else f"%{ord(char):x}" for char in account)
    return os.path.join(directory, f"sent-{name}")

"""A provider's limits on requests for a mailbox, kept by all processes of this machine together.

The requests of the last seconds are in a file of the state directory, and each running request holds a lock. Where that
directory cannot be written, nothing is limited here, and the provider's own answer lets the mail wait.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIRECTORY = "requests"
_POLL_SECONDS = 0.02  # between two tries to get a place
_LOCK_SECONDS = 10.0
_MOST_BYTES = 65_536  # of the file that is read
_MOST_ENTRIES = 1000  # in the file


LONGEST_PAUSE = 86_400.0
"""Seconds that a provider may ask for: its limits of a day are over then."""


class Limits(NamedTuple):
    """So many requests `at_once`, and so much in `seconds`: bytes or units, as the provider counts."""

    at_once: int
    most: int
    seconds: float


class RequestLimits:
    """The limits of one mailbox; `name` is the file name for it. Without a directory, nothing is limited."""

    def __init__(self, directory: str | None, name: str, limits: Limits) -> None:
        self._path = None if directory is None else os.path.join(directory, _DIRECTORY, name)
        self._directory = directory
        self._limits = limits

    @contextmanager
    def place(self, seconds: float) -> Iterator[None]:
        """Hold one of the places for requests at once. Raises TimeoutError where none is free for so long."""
        handle = self._held(time.monotonic() + seconds)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def _held(self, end: float) -> int | None:
        while self._path is not None:
            for number in range(self._limits.at_once):
                try:
                    return locks.open_locked(f"{self._path}.{number}", os.O_RDWR | os.O_CREAT, seconds=0)
                except BlockingIOError:
                    continue
                except FileNotFoundError:
                    if not self._make_directory():
                        return None
                except OSError:
                    return None
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(_POLL_SECONDS)
        return None

    def _make_directory(self) -> bool:
        try:
            private_dir.prepare(str(self._directory))
            private_dir.prepare(os.path.dirname(str(self._path)))
        except OSError:
            return False
        return True

    def reserve(self, amount: int, wait: Callable[[float], None] = time.sleep) -> None:
        """Wait until so much more is within the limit, and count it. More than the limit is let through alone."""
        while (seconds := self._seconds_until_free(amount)) > 0:
            wait(seconds)

    def _seconds_until_free(self, amount: int) -> float:
        """0 once the amount is counted, else the seconds until there may be room for it."""
        with self._entries() as (entries, pause, write):
            now = self._now()
            used = sum(count for _at, count in entries)
            if not entries or used + amount <= self._limits.most:
                write([*entries, (now, amount)], pause)
                return 0.0
            left = used + amount - self._limits.most
            for at, count in entries:
                left -= count
                if left <= 0 or (at, count) == entries[-1]:
                    return max(0.01, at + self._limits.seconds - now)
        return 0.0

    def pause(self, seconds: float) -> None:
        """Note that the provider wants no request for so many seconds."""
        with self._entries() as (entries, until, write):
            write(entries, max(until, self._now() + seconds))

    def pause_left(self) -> float:
        """The seconds that are left of a pause."""
        if self._path is None or not os.path.exists(self._path):
            return 0.0
        with self._entries() as (_entries, until, _write):
            return max(0.0, until - self._now())

    def _now(self) -> float:
        """The moment, in seconds since 1970."""
        return time.time()

    @contextmanager
    def _entries(
        self,
    ) -> Iterator[tuple[list[tuple[float, int]], float, Callable[[list[tuple[float, int]], float], None]]]:
        """What was counted within the limit's seconds, the end of a pause (since 1970, or 0), and how to write both."""
        handle = self._opened()
        if handle is None:
            yield [], 0.0, lambda _entries, _pause: None
            return
        try:
            entries, pause = read_entries(_content(handle), self._limits.seconds, self._now())
            yield entries, pause, lambda counted, until: _write(handle, counted, until)
        finally:
            os.close(handle)

    def _opened(self) -> int | None:
        if self._path is None:
            return None
        for _attempt in range(2):
            try:
                return locks.open_locked(self._path, os.O_RDWR | os.O_CREAT, seconds=_LOCK_SECONDS)
            except FileNotFoundError:
                if not self._make_directory():
                    return None
            except OSError:
                return None
        return None


def _content(handle: int) -> str:
    with suppress(OSError):
        return os.read(handle, _MOST_BYTES).decode("ascii", "replace")
    return ""


def read_entries(text: str, seconds: float, now: float) -> tuple[list[tuple[float, int]], float]:
    """The entries of the last so many seconds, oldest first. A pause of more than a day is not believed."""
    entries: list[tuple[float, int]] = []
    pause = 0.0
    for line in text.splitlines():
        kind, _blank, rest = line.partition(" ")
        at, _blank, count = rest.partition(" ")
        if not _is_number(at):
            continue
        if kind == "pause" and now < float(at) <= now + LONGEST_PAUSE + 1.0:
            pause = float(at)
        elif kind == "sent" and count.isdigit() and now - seconds < float(at) < now + 1.0:
            entries.append((float(at), int(count)))
    return sorted(entries), pause


def written_entries(entries: list[tuple[float, int]], pause: float) -> str:
    """The text that `read_entries` reads."""
    old, recent = entries[:-_MOST_ENTRIES], entries[-_MOST_ENTRIES:]
    if old:  # in one entry, as of the last of them
        recent = [(old[-1][0], sum(count for _at, count in old)), *recent]
    lines = ([f"pause {pause:.3f}\n"] if pause else []) + [f"sent {at:.3f} {count}\n" for at, count in recent]
    return "".join(lines)


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 20  # noqa: PLR2004  seconds since 1970


def _write(handle: int, entries: list[tuple[float, int]], pause: float) -> None:
    data = written_entries(entries, pause).encode("ascii")
    with suppress(OSError):
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, data)
        os.ftruncate(handle, len(data))  # after it: on a full disk, what was there stays

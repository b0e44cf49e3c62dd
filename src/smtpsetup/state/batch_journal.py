"""What a run over many mails has done, so that a run that was killed can be continued.

A line for each mail, written before its dot.

What becomes of the mail is written over that line, which has room for it from the start: a disk that fills up meanwhile
is in no way.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from contextlib import suppress
from typing import Any, Self

from smtpsetup.state import locks, private_dir

_SYNC_SECONDS = 1.0  # at most so much work is unknown after a power cut; after a kill nothing is
_ENDED_SECONDS = 12 * 3600.0
_FORGOTTEN_SECONDS = 60 * 86_400.0
_DIRECTORY = "batches"
_BEFORE = {"stands": "before"}  # the mails of its run
_LEFT = ', "left": '
_ROOM = 4  # bytes by which the longest of the states is longer than the one before the dot
_DONE, _DOTTED, _NOT_SENT, _PARTLY, _BROKE = "done", "dotted", "not-sent", "partly", "broke"


class BusyError(Exception):
    """Another process works on the same mails."""


class Journal:
    """The journal of one batch, held by one process. Each mail is known by a key that does not change between runs."""

    def __init__(self, directory: str, identity: str) -> None:
        """Open or begin the journal of what `identity` names. Raises BusyError, OSError."""
        parent = os.path.join(directory, _DIRECTORY)
        private_dir.prepare(directory)
        private_dir.prepare(parent)
        self.path = os.path.join(parent, hashlib.sha256(identity.encode()).hexdigest()[:32])
        self._handle = self._held()
        _prune(parent)
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        self._states: dict[str, str] = {}
        self._left: dict[str, tuple[str, ...]] = {}
        self._places: dict[
            str, tuple[int, int]
        ] = {}  # where the line of a mail is that this run has begun, and its length
        self._end = (0, 0)  # the same of the line that says that a run has come to its end
        self._has_end = False
        self.nonce = ""
        self.ended_at = 0.0
        try:
            self._load()
            if (self.ended_at and not 0 <= time.time() - self.ended_at < _ENDED_SECONDS) or not self.nonce:
                self.restart()
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        with suppress(OSError):
            os.fsync(self._handle)
        os.close(self._handle)

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run has come further than its beginning."""
        return bool(self._states)

    def is_done(self, key: str) -> bool:
        """Whether the server has accepted a mail."""
        return self._states.get(key) == _DONE

    def is_unknown(self, key: str) -> bool:
        """Whether the server may have accepted a mail: its answer was lost, or whoever waited for it was killed."""
        return self._states.get(key) == _DOTTED

    def has_broken(self, key: str) -> bool:
        """Whether a mail has ended the connection of an earlier run."""
        return self._states.get(key) == _BROKE

    def message_id(self, key: str, domain: str) -> str:
        """The Message-ID of a mail, the same in every run."""
        return f"<{hashlib.sha256(f'{self.nonce} {key}'.encode()).hexdigest()[:32]}@{domain.strip('[]')}>"

    def mark_possibly_delivered(self, key: str, recipients: tuple[str, ...] = ()) -> None:
        """Note that the server can have a mail from now on.

        There is room for noting later that only some of the recipients have it.
        """
        with self._lock:
            if not self._end[1]:
                self._end = self._append({"ended": "", **_BEFORE}, room=len(str(int(time.time()))))
            self._states[key] = _DOTTED
            left = len(json.dumps(recipients)) + len(_LEFT) if recipients else 0
            self._places[key] = self._append({"key": key, "state": _DOTTED}, room=_ROOM + left)
            self._sync_now_and_then()

    def mark_done(self, key: str) -> None:
        """Note that the server has accepted a mail, or that the outbox has it."""
        self._mark(key, _DONE)

    def left(self, key: str) -> tuple[str, ...]:
        """Who has not got a mail that others have."""
        return self._left.get(key, ())

    def mark_partly_done(self, key: str, left: tuple[str, ...]) -> None:
        """Note that the server has accepted a mail for some, and that these are left."""
        with self._lock:
            self._states[key], self._left[key] = _PARTLY, left
            self._write_over(self._places.pop(key, (0, 0)), {"key": key, "state": _PARTLY, "left": list(left)})

    def mark_not_sent(self, key: str) -> None:
        """Note that the server has refused a mail."""
        self._mark(key, _NOT_SENT)

    def mark_broken(self, key: str) -> None:
        """Note that a mail has ended a connection, and was not sent."""
        self._mark(key, _BROKE)

    def mark_ended(self) -> None:
        """Note that a run has come to its end.

        For half a day the same command does not send everything anew: whoever started it may have been killed before
        they knew.
        """
        with self._lock:
            self._write_over(self._end, {"ended": str(int(time.time())), **_BEFORE})
            os.fsync(self._handle)

    def restart(self) -> None:
        """Forget what earlier runs did."""
        os.ftruncate(self._handle, 0)
        self._states.clear()
        self._left.clear()
        self._places.clear()
        self._end = (0, 0)
        self.ended_at = 0.0
        self.nonce = os.urandom(16).hex()
        self._append({"nonce": self.nonce})

    def _mark(self, key: str, state: str) -> None:
        with self._lock:
            self._states[key] = state
            self._write_over(self._places.pop(key, (0, 0)), {"key": key, "state": state})
            self._sync_now_and_then()

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._handle)
            self._synced = time.monotonic()

    def _append(self, entry: dict[str, Any], *, room: int = 0) -> tuple[int, int]:
        """Append a line in one piece, with so many blanks behind it; where it is and its length.

        A kill leaves it whole or leaves a piece at the end that is not read.
        """
        data = json.dumps(entry).encode() + b" " * room + b"\n"
        place = os.lseek(self._handle, 0, os.SEEK_END)
        written = os.write(self._handle, data)
        if written != len(data):
            os.ftruncate(self._handle, place)
            raise OSError(28, "no space left", self.path)
        return place, len(data)

    def _write_over(self, where: tuple[int, int], entry: dict[str, Any]) -> None:
        """Write a line in the place of another, where there is one that is long enough."""
        place, length = where
        data = json.dumps(entry).encode()
        if len(data) >= length:
            self._append(entry)
            return
        os.lseek(self._handle, place, os.SEEK_SET)
        if os.write(self._handle, data + b" " * (length - 1 - len(data)) + b"\n") != length:
            raise OSError(28, "no space left", self.path)

    def _load(self) -> None:
        with open(self.path, "rb") as file:
            content = file.read()
        if content and not content.endswith(b"\n"):
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, b"\n")  # so that the next line does not continue the torn one
        for line in content.split(b"\n"):
            with suppress(
                ValueError, KeyError, TypeError, AttributeError
            ):  # a torn line, or a hand that was in the file
                self._take(json.loads(line))

    def _take(self, entry: dict[str, Any]) -> None:
        if "key" in entry:
            self._states[str(entry["key"])] = str(entry["state"])
            if entry["state"] == _PARTLY:
                self._left[str(entry["key"])] = tuple(map(str, entry["left"]))
            self.ended_at = self.ended_at if self._has_end else 0.0
        elif "ended" in entry:  # the first version wrote it behind the mails of its run
            self._has_end, self.ended_at = "stands" in entry, float(entry["ended"] or 0)
        elif isinstance(entry["nonce"], str):
            self.nonce = entry["nonce"]

    def _held(self) -> int:
        """A handle to the journal that no other process has. Raises BusyError."""
        while True:
            handle = private_dir.open_file(self.path, os.O_RDWR | os.O_CREAT)
            try:
                _hold(handle)
                if os.path.exists(self.path) and os.fstat(handle).st_ino == os.stat(self.path).st_ino:
                    return handle  # and not one whose name was taken away while it was waited for
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)


def _prune(directory: str) -> None:
    """Throw away the journals of runs that nobody has continued for two months."""
    with suppress(OSError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if time.time() - os.stat(path).st_mtime > _FORGOTTEN_SECONDS:
                os.unlink(path)


def _hold(handle: int) -> None:
    try:
        locks.try_lock(handle)
    except BlockingIOError as error:
        raise BusyError from error

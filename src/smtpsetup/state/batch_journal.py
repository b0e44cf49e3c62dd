"""The journal of a batch: which mails were sent, so that a run that was killed can be resumed.

A line for each mail is written before the dot that ends its DATA. The result is written over that line, which has room
for it from the start, so that a full disk does not lose it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import StrEnum
from typing import Any, Self

from smtpsetup.state import files, locks, private_dir

_SYNC_SECONDS = 1.0  # of work that a power failure may lose; a kill loses none
_MAX_AGE_SECONDS = 60 * 86_400.0
_DIRECTORY = "batches"
_BEFORE = {"stands": "before"}  # marks an end line that precedes the mails of its run
_LEFT = ', "left": '  # begins the list of recipients in a line
_ROOM = 4  # spare bytes in a line: State.NOT_SENT, the longest state, has two letters more than State.DOTTED
_NOWHERE = (0, 0)  # the place of a line that has not been written


ENDED_SECONDS = 12 * 3600.0
"""Seconds after all mails were sent in which the same command sends none again."""


class State(StrEnum):
    """What became of a mail in a batch.

    DOTTED: the final dot may have been sent, without a reply yet. BROKE: the connection ended at this mail.
    """

    DONE = "done"
    DOTTED = "dotted"
    NOT_SENT = "not-sent"
    PARTLY = "partly"
    BROKE = "broke"


class BusyError(Exception):
    """Another process is sending the same mails."""


def message_id_of(nonce: str, key: str, domain: str) -> str:
    """The Message-ID of a mail in the batch with that nonce."""
    return f"<{hashlib.sha256(f'{nonce} {key}'.encode()).hexdigest()[:32]}@{domain.strip('[]')}>"


class BatchJournal(ABC):
    """What became of the mails of a batch. The key of a mail is the same in every run."""

    ended_at = 0.0
    """When a run had sent all mails, in seconds since 1970, 0 for not at all."""

    @property
    @abstractmethod
    def is_resumed(self) -> bool:
        """Whether an earlier run has handled any mail."""

    @abstractmethod
    def state_of(self, key: str) -> str:
        """What became of a mail, `""` for nothing."""

    @abstractmethod
    def left(self, key: str) -> tuple[str, ...]:
        """The recipients who did not get a mail that others got."""

    @abstractmethod
    def message_id(self, key: str, domain: str) -> str:
        """The Message-ID of a mail, the same in every run."""

    @abstractmethod
    def mark_possibly_delivered(self, key: str, recipients: tuple[str, ...] = ()) -> None:
        """Record that the server may have a mail from now on, with room to list those recipients later."""

    @abstractmethod
    def _mark(self, key: str, state: str, left: tuple[str, ...] = ()) -> None:
        """Record what became of a mail."""

    @abstractmethod
    def mark_ended(self) -> None:
        """Record that all mails have been sent; of a run that has tried none, the earlier end stands.

        For twelve hours the same command sends nothing again: its caller may have been killed before it saw the result.
        """

    @abstractmethod
    def restart(self) -> None:
        """Forget the results of earlier runs."""

    def is_done(self, key: str) -> bool:
        """Whether the server or the outbox has accepted a mail."""
        return self.state_of(key) == State.DONE

    def is_unknown(self, key: str) -> bool:
        """Whether the server may have accepted a mail: its reply was lost, or the process was killed before it came."""
        return self.state_of(key) == State.DOTTED

    def has_broken(self, key: str) -> bool:
        """Whether the connection ended in an earlier run while this mail was being sent."""
        return self.state_of(key) == State.BROKE

    def mark_done(self, key: str) -> None:
        """Record that the server or the outbox has accepted a mail."""
        self._mark(key, State.DONE)

    def mark_partly_done(self, key: str, left: tuple[str, ...]) -> None:
        """Record that the server has accepted a mail for all recipients but these."""
        self._mark(key, State.PARTLY, left)

    def mark_not_sent(self, key: str) -> None:
        """Record that the server has not accepted a mail."""
        self._mark(key, State.NOT_SENT)

    def mark_broken(self, key: str) -> None:
        """Record that the connection ended while this mail was being sent, before the server could accept it."""
        self._mark(key, State.BROKE)


class Journal(BatchJournal):
    """The journal of one batch in a file, locked by one process.

    `mark_*` and `restart` raise OSError.
    """

    def __init__(self, directory: str, identity: str) -> None:
        """Open or create the journal of the batch with this identity. Raises BusyError, OSError."""
        parent = os.path.join(directory, _DIRECTORY)
        private_dir.prepare(directory)
        private_dir.prepare(parent)
        self.path = os.path.join(parent, hashlib.sha256(identity.encode()).hexdigest()[:32])
        try:
            self._handle = locks.open_locked(self.path, os.O_RDWR | os.O_CREAT, seconds=0)
        except BlockingIOError as error:
            raise BusyError from error
        _delete_old_journals(parent, besides=self.path)
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        self._states: dict[str, str] = {}
        self._left: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, tuple[int, int]] = {}  # offset and length of the line of each mail of this run
        self._end = _NOWHERE  # offset and length of the line for the end of this run
        self._has_end = False
        self.nonce = ""
        self.ended_at = 0.0
        try:
            self._load()
            # an end in the future was noted with a wrong clock: to send nothing is told, to send twice cannot be undone
            if (self.ended_at and time.time() - self.ended_at >= ENDED_SECONDS) or not self.nonce:
                self.restart()
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        with suppress(OSError):
            files.sync(self._handle)
        os.close(self._handle)

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run has handled any mail."""
        return bool(self._states)

    def state_of(self, key: str) -> str:
        """What became of a mail, `""` for nothing."""
        return self._states.get(key, "")

    def message_id(self, key: str, domain: str) -> str:
        """The Message-ID of a mail, the same in every run."""
        return message_id_of(self.nonce, key, domain)

    def mark_possibly_delivered(self, key: str, recipients: tuple[str, ...] = ()) -> None:
        """Record that the server may have a mail from now on, with room to list those recipients later."""
        with self._lock:
            if self._end == _NOWHERE:
                self._end = self._append({"ended": "", **_BEFORE}, room=len(str(int(time.time()))))
            self._states[key] = State.DOTTED
            left = len(json.dumps(recipients)) + len(_LEFT) if recipients else 0
            self._places[key] = self._append({"key": key, "state": State.DOTTED}, room=_ROOM + left)
            self._sync_now_and_then()

    def left(self, key: str) -> tuple[str, ...]:
        """The recipients who did not get a mail that others got."""
        return self._left.get(key, ())

    def mark_ended(self) -> None:
        """Record that all mails have been sent; of a run that has tried none, the earlier end stands."""
        has_tried = self._end != _NOWHERE
        if not has_tried and 0 < self.ended_at <= time.time():
            return
        with self._lock:
            self._overwrite(self._end, {"ended": str(int(time.time())), **_BEFORE})
            files.sync(self._handle)

    def restart(self) -> None:
        """Forget the results of earlier runs."""
        os.ftruncate(self._handle, 0)
        self._states.clear()
        self._left.clear()
        self._places.clear()
        self._end = _NOWHERE
        self.ended_at = 0.0
        self.nonce = os.urandom(16).hex()
        self._append({"nonce": self.nonce})

    def _mark(self, key: str, state: str, left: tuple[str, ...] = ()) -> None:
        entry: dict[str, Any] = {"key": key, "state": state}
        with self._lock:
            self._states[key] = state
            if state == State.PARTLY:
                self._left[key] = left
                entry["left"] = list(left)
            self._overwrite(self._places.pop(key, _NOWHERE), entry)
            self._sync_now_and_then()

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            files.sync(self._handle)
            self._synced = time.monotonic()

    def _append(self, entry: dict[str, Any], *, room: int = 0) -> tuple[int, int]:
        """Append a line with `room` spaces after it, in one write. Returns its offset and length.

        A kill leaves the whole line, or a fragment that is not read.
        """
        data = json.dumps(entry).encode() + b" " * room + b"\n"
        offset = os.lseek(self._handle, 0, os.SEEK_END)
        if os.write(self._handle, data) != len(data):
            os.ftruncate(self._handle, offset)
            raise OSError(errno.ENOSPC, "no space left", self.path)
        return offset, len(data)

    def _overwrite(self, place: tuple[int, int], entry: dict[str, Any]) -> None:
        """Write a line over that at `place`, or append it if that is too short."""
        offset, length = place
        data = json.dumps(entry).encode()
        if len(data) >= length:
            self._append(entry)
            return
        os.lseek(self._handle, offset, os.SEEK_SET)
        if os.write(self._handle, data.ljust(length - 1) + b"\n") != length:
            raise OSError(errno.ENOSPC, "no space left", self.path)

    def _load(self) -> None:
        with open(self.path, "rb") as file:
            content = file.read()
        if content and not content.endswith(b"\n"):
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, b"\n")  # so that the next line does not continue a fragment
        for line in content.split(b"\n"):
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # a fragment, or a line edited by hand
                self._load_entry(json.loads(line))

    def _load_entry(self, entry: dict[str, Any]) -> None:
        if "key" in entry:
            self._states[str(entry["key"])] = str(entry["state"])
            if entry["state"] == State.PARTLY:
                self._left[str(entry["key"])] = tuple(map(str, entry["left"]))
            self.ended_at = self.ended_at if self._has_end else 0.0
        elif "ended" in entry:  # the first version wrote it after the mails of its run
            self._has_end, self.ended_at = "stands" in entry, float(entry["ended"] or 0)
        elif isinstance(entry["nonce"], str):
            self.nonce = entry["nonce"]


def _delete_old_journals(directory: str, *, besides: str) -> None:
    with suppress(OSError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if path != besides and time.time() - os.stat(path).st_mtime > _MAX_AGE_SECONDS:
                _delete_unused(path)


def _delete_unused(path: str) -> None:
    """Delete a journal that no other process has open."""
    with suppress(BlockingIOError):
        handle = locks.open_locked(path, os.O_RDWR, seconds=0)
        try:
            os.unlink(path)
        finally:
            os.close(handle)

"""Putting mails into the outbox: those that come at the same time in one transaction, which the disk makes costly."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.database import OutboxDamagedError
from smtpsetup.relay.open_outbox import OutboxWhenNeeded
from smtpsetup.state import usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.outbox.mail import NewMail
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.relay.clients import Client

_MOST_TOGETHER = 64  # mails
_IDLE_SECONDS = 1.0  # after which the outbox is closed
_LARGE = 262_144  # bytes; a mail from this size on has a transaction of its own


class UsedUpError(Exception):
    """The client has handed over as many mails in 24 hours as it may."""


class _Waiting(NamedTuple):
    mail: NewMail
    client: Client
    done: Future[int]


class Committer:
    """A thread with a connection to the outbox of its own. `committed` gets the mails of each transaction."""

    def __init__(
        self, directory: str, committed: Callable[[list[tuple[int, NewMail]]], None], count_as: Callable[[Client], str]
    ) -> None:
        """Open the outbox, to see that it can be. Raises OSError, OutboxDamagedError."""
        self._directory = directory
        self._committed = committed
        self._count_as = count_as
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._outbox = OutboxWhenNeeded(directory)
        self._outbox.get()
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()

    def commit(self, mail: NewMail, client: Client) -> Future[int]:
        """Put a mail into the outbox. The future has its number once it is on the disk, or the error."""
        done: Future[int] = Future()
        self._waiting.put(_Waiting(mail, client, done))
        return done

    def close(self) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while group := self._next_group():
            small = [one for one in group if one.mail.message.size < _LARGE]
            if small:
                self._commit(small)
            for one in group:
                if one.mail.message.size >= _LARGE:
                    self._commit([one])
        self._outbox.close()

    def _next_group(self) -> list[_Waiting]:
        """What waits now, at least one; nothing at the end."""
        try:
            first = self._waiting.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            self._outbox.close()
            first = self._waiting.get()
        group = [first] if first else []
        while group and len(group) < _MOST_TOGETHER:
            try:
                more = self._waiting.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._waiting.put(None)
                break
            group.append(more)
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        """Commit some mails together; where that fails, each alone, so that no mail suffers for another."""
        try:
            numbers: list[int | Exception] = []
            outbox = self._outbox.get()
            with outbox.transaction():
                numbers.extend(self._number(outbox, one) for one in group)
        except Exception as error:  # noqa: BLE001  whatever it is, the client must not be told 250
            if len(group) > 1:
                for one in group:
                    self._commit([one])
                return
            if isinstance(error, OutboxDamagedError):
                self._outbox.close()  # a repair puts another file in its place
            _answer(group[0].done, error)
            return
        for one, number in zip(group, numbers, strict=True):
            _answer(one.done, number)
        self._committed(
            [(number, one.mail) for one, number in zip(group, numbers, strict=True) if isinstance(number, int)]
        )

    def _number(self, outbox: Outbox, one: _Waiting) -> int | Exception:
        most = one.client.per_day
        if most is None:
            return outbox.add(one.mail)
        if usage.last_day(self._directory, self._count_as(one.client))[0] >= most:
            return UsedUpError()
        number = outbox.add(one.mail)
        usage.record(self._directory, self._count_as(one.client), len(one.mail.envelope.recipients))
        return number


def _answer(done: Future[int], result: int | Exception) -> None:
    if not done.set_running_or_notify_cancel():
        return  # the client has gone
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)

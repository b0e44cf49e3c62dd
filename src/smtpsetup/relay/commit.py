"""Putting mails into the outbox: those that come at the same time in one transaction, which the disk makes costly."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.worker.open_outbox import OutboxWhenNeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.outbox.mail import NewMail
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.day_counts import DayCounts

_MOST_TOGETHER = 64  # mails
_AWAY_SECONDS = 10.0  # before the next try to reach a shared outbox
_IDLE_SECONDS = 1.0  # after which the outbox is closed
LARGE = 262_144
"""Bytes from which on a mail has a transaction of its own."""


class UsedUpError(Exception):
    """The client has handed over as many mails in 24 hours as it may."""


class _Waiting(NamedTuple):
    """A mail, or what makes it in this thread, for a small one."""

    make: Callable[[], NewMail]
    size: int
    client: Client
    done: asyncio.Future[int]


class Committer:
    """A thread with a connection to the outbox of its own. `committed` gets the mails of each transaction."""

    def __init__(
        self,
        settings: OutboxSettings,
        directory: str,
        committed: Callable[[list[tuple[int, NewMail]]], None],
        counts: DayCounts,
    ) -> None:
        """Open the outbox of this machine, to see that it can be. Raises OSError, OutboxDamagedError."""
        self._directory = directory
        self._committed = committed
        self._counts = counts
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._in_group: dict[str, int] = {}  # mails of each client in the transaction
        self._began_at: float | None = None
        self._local = OutboxWhenNeeded(OutboxSettings(), directory)
        self._shared = OutboxWhenNeeded(settings, directory) if settings.is_shared else None
        self._away_until = float("-inf")  # monotonic: no new try to reach the shared outbox before
        self._local.get()
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()

    async def commit(self, make: Callable[[], NewMail], size: int, client: Client) -> int:
        """Put a mail of so many bytes into the outbox. Returns its number once it is on the disk.

        `make` is called in the thread. Raises what it raises, UsedUpError, OSError, OutboxDamagedError.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(make, size, client, done))
        return await done

    @property
    def busy_seconds(self) -> float:
        """How long the mails that are being committed have taken so far."""
        began = self._began_at
        return 0.0 if began is None else time.monotonic() - began

    def close(self) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while group := self._next_group():
            self._began_at = time.monotonic()
            small = [one for one in group if one.size < LARGE]
            if small:
                self._commit(small)
            for one in group:
                if one.size >= LARGE:
                    self._commit([one])
            self._began_at = None
            self._local.make_way()
        self._close()

    def _close(self) -> None:
        self._local.close()
        if self._shared:
            self._shared.close()

    def _next_group(self) -> list[_Waiting]:
        """What waits now, at least one; nothing at the end."""
        try:
            first = self._waiting.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            self._local.close()
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
        made: list[tuple[_Waiting, NewMail]] = []
        results: list[tuple[asyncio.Future[int], int | Exception]] = []
        for one in group:
            try:
                made.append((one, one.make()))
            except Exception as error:  # noqa: BLE001  the session tells them apart
                results.append((one.done, error))
        committed: list[tuple[int, NewMail]] = []
        for some in [made, *([pair] for pair in made)] if made else []:
            numbers = self._committed_together(some)
            if isinstance(numbers, Exception) and len(some) > 1:
                continue
            each = [numbers] if isinstance(numbers, Exception) else numbers
            results += [(one.done, number) for (one, _mail), number in zip(some, each, strict=True)]
            for (one, mail), number in zip(some, each, strict=True):
                if isinstance(number, int):
                    committed.append((number, mail))
                    self._counts.add(one.client, len(mail.envelope.recipients))
            if len(results) == len(group):
                break
        results[0][0].get_loop().call_soon_threadsafe(_answer, results)
        if committed:
            self._committed(committed)

    def _committed_together(self, some: list[tuple[_Waiting, NewMail]]) -> list[int | Exception] | Exception:
        """The numbers of mails that are on the disk now, or why none is.

        While the shared outbox is away, they are in that of this machine, and handed on later.
        """
        if self._shared and time.monotonic() > self._away_until:
            found = self._committed_in(self._shared, some)
            if not isinstance(found, SharedOutboxError):
                return found
            self._shared.close()
            self._away_until = time.monotonic() + _AWAY_SECONDS
        return self._committed_in(self._local, some)

    def _committed_in(
        self, when_needed: OutboxWhenNeeded, some: list[tuple[_Waiting, NewMail]]
    ) -> list[int | Exception] | Exception:
        self._in_group.clear()
        try:
            outbox = when_needed.get()
            with outbox.transaction():
                return [self._number(outbox, one.client, mail) for one, mail in some]
        except Exception as error:  # noqa: BLE001  whatever it is, the client must not be told 250
            if isinstance(error, OutboxDamagedError):
                when_needed.close()  # a repair puts another file in its place
            return error

    def _number(self, outbox: Outbox, client: Client, mail: NewMail) -> int | Exception:
        together = self._in_group.get(client.name, 0)
        if self._counts.has_used_up(client, together):
            return UsedUpError()
        self._in_group[client.name] = together + 1
        return outbox.add(mail)


def _answer(results: list[tuple[asyncio.Future[int], int | Exception]]) -> None:
    for done, result in results:
        if done.done():
            continue  # the client has gone
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

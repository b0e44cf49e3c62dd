"""A provider's limits on requests for a mailbox, kept by all machines together."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.state.request_limits import Limits, RequestLimits, read_entries, written_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.outbox.postgresql.connection import Connection

_PLACES = 0x7271  # the class of the advisory locks for requests: "rq"
_PLACE = "%s, hashtext(%s || ' ' || %s)"
_POLL_SECONDS = 0.1


class SharedRequestLimits(RequestLimits):
    """The limits of one mailbox, over all machines, by the clock of the database."""

    def __init__(self, db: Connection, name: str, limits: Limits) -> None:
        super().__init__(None, name, limits)
        self._db = db
        self._name = name

    @contextmanager
    def place(self, seconds: float) -> Iterator[None]:
        """Hold one of the places for requests at once. Raises TimeoutError where none is free for so long."""
        number = self._free_place(time.monotonic() + seconds)
        try:
            yield
        finally:
            with suppress(SharedOutboxError):
                self._db.one(f"SELECT pg_advisory_unlock({_PLACE})", (_PLACES, self._name, number))

    def _free_place(self, end: float) -> str:
        while True:
            for number in map(str, range(self._limits.at_once)):
                if self._db.one(f"SELECT pg_try_advisory_lock({_PLACE})", (_PLACES, self._name, number))[0]:
                    return number
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(_POLL_SECONDS)

    def pause_left(self) -> float:
        """The seconds that are left of a pause."""
        rows = self._db.rows("SELECT entries FROM smtpsetup.request_use WHERE account = %s", (self._name,))
        if not rows:
            return 0.0
        now = self._now()
        return max(0.0, read_entries(str(rows[0][0]), self._limits.seconds, now)[1] - now)

    def _now(self) -> float:
        return float(self._db.one("SELECT extract(epoch FROM clock_timestamp())")[0])

    @contextmanager
    def _entries(
        self,
    ) -> Iterator[tuple[list[tuple[float, int]], float, Callable[[list[tuple[float, int]], float], None]]]:
        with self._db.explained(), self._db.raw.transaction():
            self._db.run("INSERT INTO smtpsetup.request_use VALUES (%s, '') ON CONFLICT DO NOTHING", (self._name,))
            text = self._db.one(
                "SELECT entries FROM smtpsetup.request_use WHERE account = %s FOR UPDATE", (self._name,)
            )[0]
            entries, pause = read_entries(str(text), self._limits.seconds, self._now())
            yield entries, pause, self._write

    def _write(self, entries: list[tuple[float, int]], pause: float) -> None:
        self._db.run(
            "UPDATE smtpsetup.request_use SET entries = %s WHERE account = %s",
            (written_entries(entries, pause), self._name),
        )

"""What an account has used of its provider's limits, counted over all machines."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.postgresql.due import DueMails
from smtpsetup.outbox.postgresql.request_limits import SharedRequestLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smtpsetup.state.request_limits import Limits, RequestLimits

# the database's clock is the only one that all machines have in common
_NEXT_START = """
INSERT INTO smtpsetup.pace AS pace VALUES (%s, clock_timestamp())
ON CONFLICT (account) DO UPDATE
    SET next_start = greatest(least(pace.next_start, clock_timestamp() + interval '10 minutes')
        + make_interval(secs => %s), clock_timestamp())
RETURNING extract(epoch FROM next_start - clock_timestamp())"""
_PLACE = "%s, hashtext(%s || ' ' || %s)"
# the classes of the advisory locks for counting and for connections: "co", "pl"
_COUNTS, _PLACES = 0x636F, 0x706C


class AccountUse(DueMails):
    """The part of a shared outbox that is about the accounts' limits."""

    def record_sent(self, account: str, recipients: int) -> None:
        """Count a message that was sent to that many recipients."""
        self._db.run(
            "INSERT INTO smtpsetup.usage (account, messages, recipients) VALUES (%s, 1, %s)", (account, recipients)
        )

    def record_earlier(self, account: str, sent: Sequence[tuple[float, int]]) -> None:
        """Count messages that were sent before: the moment of each, in seconds since 1970, and its recipients."""
        with self.transaction():
            for at, recipients in sent:
                self._db.run(
                    "INSERT INTO smtpsetup.usage VALUES (%s, to_timestamp(%s), 1, %s)", (account, at, recipients)
                )

    def sent_last_day(self, account: str) -> tuple[int, int]:
        """How many messages and recipients an account had in the last 24 hours, over all machines."""
        row = self._db.one(
            "SELECT coalesce(sum(messages), 0), coalesce(sum(recipients), 0) FROM smtpsetup.usage WHERE account = %s "
            "AND at > now() - interval '24 hours'",
            (account,),
        )
        return int(row[0]), int(row[1])

    @contextmanager
    def counting(self, account: str) -> Iterator[None]:
        """Keep other machines from counting and taking an account's mail within the block."""
        self._db.one("SELECT pg_advisory_lock(%s, hashtext(%s))", (_COUNTS, account))
        try:
            yield
        finally:
            with suppress(SharedOutboxError):
                self._db.one("SELECT pg_advisory_unlock(%s, hashtext(%s))", (_COUNTS, account))

    def taken_by_others(self, account: str) -> tuple[int, int]:
        """How many messages and recipients of an account other processes are sending."""
        row = self._db.one(
            "SELECT count(*), coalesce(sum(cardinality(recipients)), 0) FROM smtpsetup.mail WHERE lease IS NOT NULL "
            "AND lease <> %s AND account = %s",
            (self._lease, account),
        )
        return int(row[0]), int(row[1])

    def pace(self, account: str) -> Callable[[float], float]:
        """What gives the turn for the next message of an account."""

        def seconds_until_turn(between: float) -> float:
            return max(0.0, float(self._db.one(_NEXT_START, (account, between))[0]))

        return seconds_until_turn

    @property
    def request_limits(self) -> Callable[[str, Limits], RequestLimits]:
        """What gives the limits of a mailbox that all machines keep together."""
        return lambda name, limits: SharedRequestLimits(self._db, name, limits)

    @contextmanager
    def connection(self, account: str, most: int | None) -> Iterator[bool]:
        """One of the connections that the provider allows at a time. It is free again when this session ends."""
        if most is None:
            yield True
            return
        number = self._place(account, most)
        try:
            yield number is not None
        finally:
            if number is not None:
                with suppress(SharedOutboxError):
                    self._db.one(f"SELECT pg_advisory_unlock({_PLACE})", (_PLACES, account, number))

    def _place(self, account: str, most: int) -> str | None:
        for number in map(str, range(most)):
            if self._db.one(f"SELECT pg_try_advisory_lock({_PLACE})", (_PLACES, account, number))[0]:
                return number
        return None

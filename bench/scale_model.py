"""The model of bench/scale.py: hosts that make mail, designs that send it, a provider with limits, and faults.

Events are on a heap. A mail is no event of its own, which would be too slow for ten million: a host makes `BATCH` mails
at a time on average, and a connection sends up to `TAKEN` of them in one event. So delays below two seconds are coarse.
Times are in seconds from midnight.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from scale_parts import DAY, HOUR, MINUTE, SAMPLE, Design, Faults, Found, Load, Parcel, Provider

from smtpsetup.outbox.retry import seconds_until_next

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 24.0  # mails that a host makes at a time, on average
TAKEN = 20  # mails that a sender takes at a time, as `outbox flush` does
CRON_SECONDS = 1.0  # within which cron starts what all machines start at the same minute
KEPT_BELOW = 0.98  # of the limit a minute, where it is counted once


class Simulation:
    """One run: two days, of which the first makes mail."""

    END = 2 * DAY

    def __init__(self, design: Design, load: Load, provider: Provider, faults: Faults, *, round_trip: float) -> None:
        self.design, self.load, self.provider, self.faults = design, load, provider, faults
        self.found = Found()
        self._trip = round_trip
        self._mail_seconds = design.round_trips * round_trip + design.per_mail
        self._making, self._starting = random.Random(20), random.Random(21)  # each design gets the same mail
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        queues = 1 if design.senders else load.hosts
        self._queues: list[list[Parcel]] = [[] for _number in range(queues)]
        self._held: list[tuple[float, int]] = []  # mail that waits at its host while the middle is away
        self._open = 0
        self._minute, self._in_minute = 0, 0
        self._days: deque[tuple[float, int]] = deque()
        self._in_day = 0
        self._free_at = 0.0  # when the limit a minute, counted once, allows the next mail
        self._idle: list[int] = list(range(design.senders))
        self._connected = [-math.inf] * design.senders  # until when a sender keeps its connection
        self._is_looked_at = [False] * design.senders
        self._failures = [0] * design.senders
        self._busy_until = [0.0] * max(design.senders, load.hosts)

    def run(self) -> Found:
        """Run to the end."""
        load = self.load
        slice_ = BATCH / (load.per_day / load.hosts / DAY)
        for host in range(load.hosts):
            self._at(self._making.random() * slice_, self._make, host, slice_)
            if not self.design.senders:
                self._at(0.0 if self.design.by_cron else self._starting.random() * MINUTE, self._flush, host)
        if load.newsletter:
            self._at(load.newsletter_at, self._newsletter, load.newsletter)
        for moment, happens in (
            (self.faults.middle[0], self._middle_ends),
            (self.faults.middle[1], self._middle_returns),
            (self.faults.host[0], self._host_ends),
        ):
            if moment < self.END:
                self._at(moment, happens)
        self._at(SAMPLE, self._sample)
        while self._heap and (event := heapq.heappop(self._heap))[0] < self.END:
            event[2](event[0], *event[3])
        left = sum(count for _made, count in self._held)
        left += sum(parcel.count for queue in self._queues for parcel in queue)
        if self.found.made != self.found.sent + left:
            message = f"{self.found.made} mails were made, {self.found.sent} sent, and {left} are left"
            raise RuntimeError(message)
        return self.found

    def _at(self, moment: float, happens: Callable[..., None], *arguments: object) -> None:
        self._number += 1
        heapq.heappush(self._heap, (moment, self._number, happens, arguments))

    def _sample(self, now: float) -> None:
        self.found.waiting.append(self.found.made - self.found.sent)
        if now <= DAY:
            self.found.sent_in_a_day = self.found.sent
        self._at(now + SAMPLE, self._sample)

    # making mail

    def _make(self, now: float, host: int, slice_: float) -> None:
        """A host makes the mails of its slice of time."""
        if now >= DAY:
            return
        self._at(now + slice_, self._make, host, slice_)
        if host == 0 and not self.design.senders and _is_in(now, self.faults.host):
            return
        mean = BATCH * self.load.hours[int(now // HOUR)]
        if count := max(0, round(self._making.gauss(mean, math.sqrt(mean)))):
            self.found.made += count
            self._arrive(now, host, now, count)

    def _newsletter(self, now: float, count: int) -> None:
        self.found.made += count
        if not self.design.senders:
            self._push(0, now, now, count)
            return
        step = min(count, int(min(self.design.hand_in, count)))
        self._hand_in(now, now, count, step)

    def _hand_in(self, now: float, made: float, left: int, step: int) -> None:
        """Host 0 hands its newsletter to the shared queue, so many mails a second, while it lives."""
        if _is_in(now, self.faults.host):
            self.found.stuck = max(self.found.stuck, left)
            self._at(self.faults.host[1], self._hand_in, made, left, step)
            return
        self._arrive(now, 0, made, min(left, step))
        if left > step:
            self._at(now + 1.0, self._hand_in, made, left - step, step)

    def _arrive(self, now: float, host: int, made: float, count: int) -> None:
        if not self.design.senders:
            self._push(host, now, made, count)
        elif _is_in(now, self.faults.middle):
            self._held.append((made, count))
        else:
            self._push(0, now, made, count)
            self._wake(now, math.ceil(count / TAKEN))

    def _push(self, queue: int, due: float, made: float, count: int, attempts: int = 0) -> None:
        self._number += 1
        heapq.heappush(self._queues[queue], Parcel(due, self._number, made, count, attempts))

    def _take(self, queue: int, now: float, most: int) -> list[Parcel]:
        """Up to so many mails that are due."""
        taken, waiting = [], self._queues[queue]
        while most and waiting and waiting[0].due <= now:
            first = waiting[0]
            if first.count > most:
                first.count -= most
                taken.append(replace(first, count=most))
                break
            taken.append(heapq.heappop(waiting))
            most -= first.count
        return taken

    # the provider

    def _connects(self, now: float) -> bool:
        """Whether the provider takes one more connection."""
        if _is_in(now, self.faults.provider) or self._open >= self.provider.connections:
            self.found.no_connection += 1
            return False
        self._open += 1
        return True

    def _allowed(self, now: float, wanted: int) -> tuple[int, bool]:
        """How many of so many mails the provider accepts, and whether the limit of the day is what stops the rest."""
        if int(now // MINUTE) != self._minute:
            self._minute, self._in_minute = int(now // MINUTE), 0
        while self._days and self._days[0][0] < now - DAY:
            self._in_day -= self._days.popleft()[1]
        of_day = self.provider.per_day - self._in_day
        accepted = max(0, min(wanted, self.provider.per_minute - self._in_minute, of_day))
        return accepted, of_day < wanted

    def _accepted(self, now: float, parcels: list[Parcel]) -> float:
        """Mails are sent one after the other from now on. Returns when the last one is."""
        count = sum(parcel.count for parcel in parcels)
        self._in_minute += count
        self._in_day += count
        self._days.append((now, count))
        self.found.sent += count
        for parcel in parcels:
            now += parcel.count * self._mail_seconds
            self.found.note(now - parcel.made, parcel.count)
        self.found.last = now
        return now

    # an outbox on each host, which knows of no other

    def _flush(self, now: float, host: int) -> None:
        """Begin a flush, as cron or a timer does."""
        if self.design.by_cron:
            minute = now // MINUTE + 1
            self._at(minute * MINUTE + self._starting.random() * CRON_SECONDS, self._flush, host)
        is_dead = host == 0 and _is_in(now, self.faults.host)
        waiting = self._queues[host]
        if is_dead or not (waiting and waiting[0].due <= now):
            self._next_flush(now, host)
        elif self._connects(now):
            self._at(now + self._connecting, self._flush_on, host)
        else:
            for parcel in self._due(host, now):
                pause = seconds_until_next(parcel.attempts + 1)
                self._push(host, now + pause, parcel.made, parcel.count, parcel.attempts + 1)
            self._next_flush(now, host)

    @property
    def _connecting(self) -> float:
        """Seconds to connect, TLS and login: five round trips."""
        return 5 * self._trip

    def _next_flush(self, now: float, host: int) -> None:
        if not self.design.by_cron:
            self._at(now + MINUTE, self._flush, host)

    def _due(self, host: int, now: float) -> list[Parcel]:
        return self._take(host, now, 1 << 60)

    def _flush_on(self, now: float, host: int) -> None:
        """Send the next mails of a flush over its connection."""
        is_dead = host == 0 and _is_in(now, self.faults.host)
        parcels = [] if is_dead else self._take(host, now, TAKEN)
        wanted = sum(parcel.count for parcel in parcels)
        allowed, is_day = (0, False) if _is_in(now, self.faults.provider) else self._allowed(now, wanted)
        if parcels and allowed == wanted:
            self._at(self._accepted(now, parcels), self._flush_on, host)
            return
        self._open -= 1
        if parcels:
            self.found.no_connection += _is_in(now, self.faults.provider)
            self.found.too_many += not _is_in(now, self.faults.provider)
            self._let_wait(now, host, parcels, is_day=is_day)
        self._next_flush(now, host)

    def _let_wait(self, now: float, host: int, parcels: list[Parcel], *, is_day: bool) -> None:
        """The provider refuses a mail for a limit, or is away: all that is due waits."""
        pause = seconds_until_next(parcels[0].attempts + 1, code="limit.quota" if is_day else "")
        for parcel in [*parcels, *self._due(host, now)]:
            self._push(host, now + pause, parcel.made, parcel.count, parcel.attempts + 1)

    # senders that share a queue

    def _wake(self, now: float, most: int) -> None:
        while self._idle and most > 0:
            self._at(now, self._work, self._idle.pop())
            most -= 1

    def _work(self, now: float, sender: int) -> None:
        """A sender takes the next mails and sends them; with none it is idle."""
        until = self._stopped_until(now, sender)
        if until > now:
            self._disconnect(sender)
            self._at(until, self._work, sender)
            return
        waiting = self._queues[0]
        if not (waiting and waiting[0].due <= now):
            self._idle.append(sender)
            if self._is_open(sender):
                self._keep_open(now, sender)
            return
        if not self._is_open(sender):
            self._connect(now, sender)
            return
        if _is_in(now, self.faults.provider):
            self._disconnect(sender)
            self._work(now, sender)
            return
        if self._allowed(now, TAKEN)[1]:  # the limit of the day, counted once: nobody tries
            self._at(now + MINUTE, self._work, sender)
            return
        parcels = self._take(0, now, TAKEN)
        count = sum(parcel.count for parcel in parcels)
        start = max(self._free_at, now)  # the limit of the minute, counted once
        self._free_at = start + count * MINUTE / (self.provider.per_minute * KEPT_BELOW)
        self._busy_until[sender] = self._accepted(start + self.design.per_claim, parcels)
        self._failures[sender] = 0
        self._at(self._busy_until[sender], self._work, sender)

    def _is_open(self, sender: int) -> bool:
        return self._connected[sender] > -math.inf

    def _connect(self, now: float, sender: int) -> None:
        if self._connects(now):
            self._connected[sender] = math.inf
            self._at(now + self._connecting, self._work, sender)
        else:  # nobody tries again before the pause of whom it concerned is over
            self._failures[sender] += 1
            self._at(now + seconds_until_next(self._failures[sender]), self._work, sender)

    def _keep_open(self, now: float, sender: int) -> None:
        """Note that a connection is idle, and look later whether it still is; one look at a time is enough."""
        self._connected[sender] = now + self.design.keep_open
        if not self._is_looked_at[sender]:
            self._is_looked_at[sender] = True
            self._at(self._connected[sender], self._close_if_idle, sender)

    def _close_if_idle(self, now: float, sender: int) -> None:
        self._is_looked_at[sender] = False
        if self._is_open(sender) and sender in self._idle:
            if self._connected[sender] <= now:
                self._disconnect(sender)
            else:
                self._is_looked_at[sender] = True
                self._at(self._connected[sender], self._close_if_idle, sender)

    def _disconnect(self, sender: int) -> None:
        if self._is_open(sender):
            self._open -= 1
            self._connected[sender] = -math.inf

    def _stopped_until(self, now: float, sender: int) -> float:
        if _is_in(now, self.faults.middle):
            return self.faults.middle[1]
        if sender < self.design.senders / 5 and self.design.senders > 1 and _is_in(now, self.faults.host):
            return self.faults.host[1]
        return now

    # faults

    def _middle_ends(self, now: float) -> None:
        self.found.in_flight += sum(until > now for until in self._busy_until)

    def _middle_returns(self, now: float) -> None:
        """The hosts hand over what they have kept, within a minute, which is how often they try."""
        held, self._held = self._held, []
        for made, count in held:
            self._at(now + self._starting.random() * MINUTE, self._arrive, 0, made, count)

    def _host_ends(self, now: float) -> None:
        if not self.design.senders:
            self.found.stuck = sum(parcel.count for parcel in self._queues[0])
        else:
            share = self._busy_until[: max(1, self.design.senders // 5)]
            self.found.in_flight += sum(until > now for until in share)


def _is_in(now: float, times: tuple[float, float]) -> bool:
    return times[0] <= now < times[1]

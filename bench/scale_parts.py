"""What bench/scale_model.py simulates: designs, loads, faults, and what a run has found. Times are in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
SAMPLE = 5 * MINUTE
BINS = 100  # of the histogram of delays, for each factor of ten
_FIRST_BIN = -2  # 10 ms


@dataclass(frozen=True)
class Provider:
    """What the provider allows to one account."""

    connections: int
    per_minute: int
    per_day: int


@dataclass(frozen=True)
class Design:
    """A way to send.

    `round_trips` is for a mail over an open connection. `senders` share one queue and count the limits once; 0 stands
    for an outbox on each host that is flushed every minute: at second 0 `by_cron`, else a minute after the last end.
    `hand_in` is how many mails a second one host can hand to the shared queue.
    """

    name: str
    round_trips: float
    senders: int = 0
    by_cron: bool = False
    hand_in: float = math.inf
    per_mail: float = 0.002  # seconds of this side's own work
    per_claim: float = 0.0  # seconds to take TAKEN mails
    keep_open: float = 30.0


@dataclass(frozen=True)
class Load:
    """Mails a day, their share of each hour, and a newsletter of one host."""

    per_day: float
    hours: tuple[float, ...]
    hosts: int = 100
    newsletter: int = 0
    newsletter_at: float = 0.0


@dataclass(frozen=True)
class Faults:
    """From when to when something is away. `middle` is what all hosts share: the relay, or the database."""

    provider: tuple[float, float] = (math.inf, math.inf)
    middle: tuple[float, float] = (math.inf, math.inf)
    host: tuple[float, float] = (math.inf, math.inf)  # host 0, or a fifth of the workers


@dataclass
class Found:
    """What a run has shown. `waiting` has the mails that wait at the end of each SAMPLE."""

    made: int = 0
    sent: int = 0
    sent_in_a_day: int = 0
    no_connection: int = 0  # attempts refused at the greeting, or without an answer
    too_many: int = 0  # attempts refused for a limit of messages
    stuck: int = 0  # mails on the host that dies
    in_flight: int = 0  # mails whose reply was awaited when the middle or the host went away
    last: float = 0.0
    waiting: list[int] = field(default_factory=list)
    bins: dict[int, int] = field(default_factory=dict)

    def note(self, delay: float, count: int) -> None:
        """Count mails with this delay."""
        place = max(0, int((math.log10(max(delay, 1e-3)) - _FIRST_BIN) * BINS))
        self.bins[place] = self.bins.get(place, 0) + count

    def delay(self, share: float) -> float:
        """The delay that this share of all mails does not exceed; infinite if more than the rest was never sent."""
        left = math.ceil(share * self.made)
        for place in sorted(self.bins):
            left -= self.bins[place]
            if left <= 0:
                return float(10.0 ** (_FIRST_BIN + (place + 1) / BINS))
        return math.inf


@dataclass(order=True)
class Parcel:
    """Mails that were made at the same moment and are due at the same time."""

    due: float
    number: int
    made: float = field(compare=False)
    count: int = field(compare=False)
    attempts: int = field(compare=False, default=0)

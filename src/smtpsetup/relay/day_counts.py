"""How many mails each client has handed over in the last 24 hours: counted in memory, and kept on the disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from smtpsetup.state import usage

if TYPE_CHECKING:
    from smtpsetup.relay.clients import Client

_DAY = 86_400.0  # seconds


class DayCounts:
    """The counts of clients that may hand over so many mails a day. For any thread."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def has_used_up(self, client: Client, more: int = 0) -> bool:
        """Whether a client has handed over as many mails as it may, with so many `more` that are being committed."""
        if client.per_day is None:
            return False
        with self._lock:
            times = self._of(client)
            while times and times[0] < time.time() - _DAY:
                times.popleft()
            return len(times) + more >= client.per_day

    def add(self, client: Client, recipients: int) -> None:
        """Count a mail."""
        if client.per_day is None:
            return
        with self._lock:
            self._of(client).append(time.time())
        usage.record(self._directory, _name(client), recipients)

    def _of(self, client: Client) -> deque[float]:
        if client.name not in self._times:
            self._times[client.name] = deque(usage.times_of_last_day(self._directory, _name(client)))
        return self._times[client.name]


def _name(client: Client) -> str:
    return f"relay client {client.name}"

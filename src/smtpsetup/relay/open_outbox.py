"""An outbox that is open while it is used: one that was open for as long as the relay runs would keep a repair out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.outbox.sqlite import reserve
from smtpsetup.outbox.sqlite.store import SqliteOutbox

if TYPE_CHECKING:
    from smtpsetup.outbox.store import Outbox


class OutboxWhenNeeded:
    """Opens the outbox when it is needed, and closes it when nothing is to be done. For one thread at a time."""

    def __init__(self, directory: str, *, is_durable: bool = True, is_for_sending: bool = False) -> None:
        """With `is_for_sending`, the space that is reserved on a full disk may be used."""
        self._directory = directory
        self._is_for_sending = is_for_sending
        self._is_durable = is_durable
        self._outbox: Outbox | None = None

    def get(self) -> Outbox:
        """The open outbox. Raises OSError, OutboxDamagedError."""
        if self._outbox is None:
            is_full = self._is_for_sending and reserve.is_needed(self._directory) and reserve.give(self._directory)
            self._outbox = SqliteOutbox(self._directory, is_durable=self._is_durable)
            if is_full:
                self._outbox.be_frugal()
        return self._outbox

    def make_way(self) -> None:
        """Close it if a repair waits for that."""
        if self._outbox is not None and self._outbox.is_wanted_alone():
            self.close()

    def close(self) -> None:
        """Close it, until it is needed again."""
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
            if self._is_for_sending:
                reserve.keep(self._directory)

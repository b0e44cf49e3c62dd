"""An outbox that is open while it is used: one that was open for as long as a worker runs would keep a repair out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.opening import opened
from smtpsetup.outbox.sqlite import reserve

if TYPE_CHECKING:
    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.store import Outbox


class OutboxWhenNeeded:
    """Opens the outbox when it is needed, and closes it when nothing is to be done. For one thread at a time."""

    def __init__(
        self, settings: OutboxSettings, directory: str, *, is_durable: bool = True, is_for_sending: bool = False
    ) -> None:
        """With `is_for_sending`, the space that is reserved on a full disk may be used."""
        self._settings = settings
        self._directory = directory
        self._is_for_sending = is_for_sending and not settings.is_shared
        self._is_durable = is_durable
        self._outbox: Outbox | None = None

    def get(self) -> Outbox:
        """The open outbox. Raises OSError, OutboxDamagedError."""
        if self._outbox is None:
            is_full = self._is_for_sending and reserve.is_needed(self._directory) and reserve.give(self._directory)
            self._outbox = opened(self._settings, self._directory, is_durable=self._is_durable)
            if is_full:
                self._outbox.be_frugal()
        return self._outbox

    def make_way(self) -> None:
        """Close it if a repair waits for that."""
        if self._outbox is not None and self._outbox.is_wanted_alone():
            self.close()

    def rest(self) -> None:
        """Close it, since nothing is to be done now; a connection to a shared one is kept, which costs more to open."""
        if not self._settings.is_shared:
            self.close()

    def close(self) -> None:
        """Close it, until it is needed again."""
        if self._outbox is not None:
            with suppress(SharedOutboxError):
                self._outbox.close()
            self._outbox = None
            if self._is_for_sending:
                reserve.keep(self._directory)

"""Hearing at once of mail that other processes and machines have put into a shared outbox."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.postgresql.connection import Connection
from smtpsetup.outbox.postgresql.session import CHANNEL, WORKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.outbox_settings import OutboxSettings

_WAIT_SECONDS = 1.0
_AGAIN_SECONDS = 5.0  # after the connection was lost; meanwhile the worker looks every few seconds


class Listener:
    """A thread with a connection of its own, which calls `woken` with the account of new mail, `""` for any."""

    def __init__(self, settings: OutboxSettings, woken: Callable[[str], None]) -> None:
        self._settings = settings
        self._woken = woken
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="listen", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End within seconds."""
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except SharedOutboxError:  # the worker reports what is wrong with the database
                self._stopped.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        db = Connection(self._settings)
        try:
            db.one("SELECT set_config('application_name', %s, false)", (WORKER,))
            db.run(f"LISTEN {CHANNEL}")
            self._woken("")  # for what was announced before
            while not self._stopped.is_set():
                with db.explained():
                    for announced in db.raw.notifies(timeout=_WAIT_SECONDS, stop_after=1):
                        self._woken(announced.payload)
        finally:
            db.close()

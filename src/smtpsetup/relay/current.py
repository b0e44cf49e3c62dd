"""The configuration and the clients as they are now: read again when their files have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.relay import clients
from smtpsetup.worker.current import CurrentConfig, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.relay.clients import Client


class Current(CurrentConfig):
    """The configuration, and the clients in the state directory."""

    def __init__(self, named: str, directory: str, report: Callable[[str], None]) -> None:
        """Read both. Raises SmtpsetupError, OSError."""
        super().__init__(named, directory, report)
        self._clients_seen = signature_of((clients.file_in(directory),))
        self._clients = clients.load(directory)

    @property
    def clients(self) -> dict[str, Client]:
        """The clients by name."""
        self._look()
        return self._clients

    def _read_changed(self) -> None:
        """Read again what has changed."""
        super()._read_changed()
        seen = signature_of((clients.file_in(self._directory),))
        if seen != self._clients_seen:
            self._clients_seen = seen
            read = self._read(lambda: clients.load(self._directory))
            self._clients = self._clients if read is None else read

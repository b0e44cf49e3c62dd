"""What an outbox raises, besides OSError."""

from __future__ import annotations


class OutboxDamagedError(Exception):
    """The outbox at `path` is not a database any more, or a part of it cannot be read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

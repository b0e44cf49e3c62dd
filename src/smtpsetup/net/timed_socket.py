"""A socket as http.client uses it, on which every wait ends at a deadline."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from smtpsetup.net.dial import Deadline


_LIMIT = 1_000_000  # bytes of one answer: http.client reads a chunk of a negative size without an end


class TimedSocket:
    """A socket for http.client on which every wait ends at the deadline, even if single bytes keep coming."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all of the data. Raises OSError."""
        self._sock.settimeout(self._deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """A file to read from."""
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        """Do nothing: the owner of the socket closes it."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._left = _LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names a private type
        self._sock.settimeout(self._deadline.remaining())
        size = self._sock.recv_into(buffer)
        self._left -= size
        if self._left < 0:
            raise ValueError("an answer without an end")
        return size

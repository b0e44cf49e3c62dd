"""A network between a program and a server, as a process of its own: it can be frozen, cut, and lose a reply.

`python tcp_proxy.py PORT TARGET` forwards connections to a port of the loopback, or to the path of a Unix socket, which
reaches out of a network namespace; PORT may be such a path, too. Lines on standard input say what goes wrong:
`cut` resets all connections, and `lose WORDS` the next one that has sent these words, once the server has answered.
`hold WORDS` never gives it the answer, and keeps it open.
Each line is answered with `ok` on standard output when that has been done or prepared.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_PIECE = 65_536  # bytes
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Proxy:
    """The process, seen from a test. `prefix` is what starts it elsewhere, such as in a network namespace."""

    def __init__(self, place: int | str, target: int | str, prefix: tuple[str, ...] = ()) -> None:
        self._ports = (str(target), str(place))
        self.process = subprocess.Popen(
            [*prefix, sys.executable, __file__, str(place), str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        assert self._said() == "ok"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def url(self, direct: str) -> str:
        """The URL that leads through it to the same server."""
        return direct.replace(*self._ports)

    def tell(self, line: str) -> None:
        """Give it a line, and wait until it has been followed."""
        with self._lock:
            assert self.process.stdin
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            assert self._said() == "ok"

    def _said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


class _Network:
    """The connections, seen from the process itself."""

    def __init__(self, place: str, target: str) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._words = b""
        self._holds = False
        if place.isdigit():
            self._listener = socket.create_server(("127.0.0.1", int(place)), backlog=100)
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(place)
            Path(place).chmod(0o777)
            self._listener.listen(100)

    def follow(self) -> None:
        """Follow the lines of standard input."""
        threading.Thread(target=self._accept, daemon=True).start()
        _say_ok()
        for line in sys.stdin:
            verb, _space, rest = line.strip().partition(" ")
            if verb == "cut":
                self.cut()
            elif verb in ("lose", "hold"):
                self._words, self._holds = rest.encode(), verb == "hold"
            _say_ok()

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _end(end)

    def _accept(self) -> None:
        while True:
            client, _peer = self._listener.accept()
            try:
                server = self._connected()
            except OSError:
                client.close()
                continue
            for end in (client, server):
                if end.family == socket.AF_INET:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            lost = threading.Event()
            threading.Thread(target=self._forward, args=(client, server, lost), daemon=True).start()
            threading.Thread(target=self._backward, args=(server, client, lost), daemon=True).start()

    def _connected(self) -> socket.socket:
        if self._target.isdigit():
            return socket.create_connection(("127.0.0.1", int(self._target)), timeout=5)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def _forward(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                with self._lock:
                    if self._words and self._words in piece:
                        self._words = b""
                        lost.set()
                server.sendall(piece)
        self._close(client, server)

    def _backward(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            server.settimeout(None)
            while piece := server.recv(_PIECE):
                if not lost.is_set():
                    client.sendall(piece)
                elif not self._holds:  # the server has done what it was asked, and nobody hears of it
                    break
        self._close(client, server)

    def _close(self, *ends: socket.socket) -> None:
        with self._lock:
            mine = self._open & set(ends)
            self._open -= mine
        for end in mine:
            _end(end)


def _say_ok() -> None:
    sys.stdout.write("ok\n")
    sys.stdout.flush()


def _end(end: socket.socket) -> None:
    """Reset a connection, also one that another thread reads."""
    with contextlib.suppress(OSError):
        if end.family == socket.AF_INET:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()


if __name__ == "__main__":
    _Network(sys.argv[1], sys.argv[2]).follow()

"""Two processes for the benches: a proxy that adds latency, and a server that accepts everything.

`python bench/loopback.py delay PORT TO_PORT SECONDS` forwards connections, each byte SECONDS late in each direction:
latency is added, bandwidth is not limited, and the connection itself is made at once.
`python bench/loopback.py sink PORT [CERTIFICATE]` accepts every login and every mail, in plain text or in TLS, and
discards it; it drops the connection at DATA of mail to an address that begins with "broken".
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 262_144  # bytes
_REPLIES = {
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250-AUTH PLAIN OAUTHBEARER\r\n250-8BITMIME\r\n250 SIZE 0\r\n",
    b"AUTH": b"235 2.7.0 welcome\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


@contextlib.contextmanager
def running(kind: str, port: int, *arguments: object) -> Iterator[None]:
    """Run one of the two as a process, until the end of the block."""
    from tests.servers import accepts_connections, wait_for  # bench/postfix.py puts the repository on the path

    command = [sys.executable, __file__, kind, str(port), *(str(argument) for argument in arguments)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or accepts_connections(port), 10)
        if process.poll() is not None:
            sys.exit(f"{kind} does not start")
        yield
    finally:
        process.terminate()
        process.wait(10)


def delay(port: int, to_port: int, seconds: float) -> None:
    """Forward connections, late. In threads, whose sleep is exact; an event loop rounds up to a millisecond."""
    with socket.create_server(("127.0.0.1", port), backlog=100) as listener:
        while True:
            client, _address = listener.accept()
            server = socket.create_connection(("127.0.0.1", to_port))
            for source, target in ((client, server), (server, client)):
                target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                in_transit: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_receive, args=(source, in_transit, seconds), daemon=True).start()
                threading.Thread(target=_send_late, args=(target, in_transit), daemon=True).start()


def _receive(source: socket.socket, in_transit: queue.SimpleQueue[tuple[float, bytes]], seconds: float) -> None:
    piece = b"first"
    while piece:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        in_transit.put((time.monotonic() + seconds, piece))


def _send_late(target: socket.socket, in_transit: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, piece = in_transit.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not piece:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(piece)


def sink(port: int, certificate: str | None) -> None:
    """Accept every mail. `certificate` is a file with it and its key."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

    async def serve() -> None:
        server = await asyncio.start_server(_accept, "127.0.0.1", port, limit=_PIECE, ssl=context)
        await server.serve_forever()

    asyncio.run(serve())


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 sink ESMTP\r\n")
    is_broken = False
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            line = await reader.readuntil(b"\r\n")
            command = line[:4].upper()
            if command in (b"MAIL", b"RCPT"):
                is_broken = b"<broken" in line
            writer.write(_REPLIES.get(command, b"250 ok\r\n"))
            if command == b"QUIT" or (command == b"DATA" and is_broken):
                break
            if command == b"DATA":
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 taken\r\n")
    writer.close()


if __name__ == "__main__":
    if sys.argv[1] == "delay":
        delay(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        sink(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)  # noqa: PLR2004  the arguments' places

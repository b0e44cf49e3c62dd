"""The clients of bench/relay.py: `python bench/relay_client.py PORT PASSWORD CLIENTS MAILS SIZE`.

Each logs in and sends MAILS mails of SIZE bytes, or of 1 kB where that is 0, one command at a time. Prints mails a
second and percentiles of the time from the dot to the 250, in ms.
"""

from __future__ import annotations

import base64
import json
import socket
import statistics
import sys
import threading
import time

HEADER = b"From: info@example.com\r\nTo: kund@example.org\r\nSubject: x\r\n\r\n"
LINE = b"y" * 70 + b"\r\n"
SHORT = 13  # lines of a mail of 1 kB
PIECE = 10_000  # lines that are sent at once


def main() -> None:
    """Run the clients."""
    port, password, clients, mails, size = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
    taken: list[float] = []
    ready = threading.Barrier(clients + 1)
    threads = [
        threading.Thread(target=_client, args=(port, password, mails, size, ready, taken)) for _number in range(clients)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if len(taken) != clients * mails:
        sys.exit(f"{len(taken)} of {clients * mails} were taken")
    cuts = statistics.quantiles(taken, n=100) if len(taken) > 1 else taken * 99
    print(json.dumps({"rate": len(taken) / seconds, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000}))


def _client(port: int, password: str, mails: int, size: int, ready: threading.Barrier, taken: list[float]) -> None:  # noqa: PLR0913, PLR0917  a thread's arguments
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as lines:

        def say(command: bytes) -> None:
            if command:
                sock.sendall(command)
            while (line := lines.readline())[3:4] == b"-":
                pass
            if line[:1] not in (b"2", b"3"):
                raise RuntimeError(command[:60], line)

        say(b"")
        say(b"EHLO bench\r\n")
        say(b"AUTH PLAIN " + base64.b64encode(f"\0bench\0{password}".encode()) + b"\r\n")
        ready.wait()
        for _number in range(mails):
            for command in (b"MAIL FROM:<info@example.com>\r\n", b"RCPT TO:<kund@example.org>\r\n", b"DATA\r\n"):
                say(command)
            left = size // len(LINE) or SHORT
            header = HEADER
            while left > PIECE:
                sock.sendall(header + LINE * PIECE)
                left -= PIECE
                header = b""
            began = time.perf_counter()
            say(header + LINE * left + b".\r\n")  # in one piece: a second one would wait for an acknowledgement
            taken.append(time.perf_counter() - began)


if __name__ == "__main__":
    main()

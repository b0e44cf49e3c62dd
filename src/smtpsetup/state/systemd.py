"""What systemd gives a service and wants to hear of it: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import NamedTuple

_FIRST = 3  # SD_LISTEN_FDS_START
TLS_NAME = "relay-tls"
"""The FileDescriptorName of a socket whose connections begin with TLS."""


class Sockets(NamedTuple):
    """Listening sockets: for connections that begin in plain text, and for those that begin with TLS."""

    plain: list[socket.socket]
    tls: list[socket.socket]


def sockets() -> Sockets:
    """The sockets that systemd has bound for this process; none where it has bound none."""
    found = Sockets([], [])
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not os.environ.get("LISTEN_FDS", "").isdigit():
        return found
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for number in range(int(os.environ["LISTEN_FDS"])):
        sock = socket.socket(fileno=_FIRST + number)
        os.set_inheritable(sock.fileno(), False)  # noqa: FBT003  it takes no name
        is_tls = number < len(names) and names[number] == TLS_NAME
        (found.tls if is_tls else found.plain).append(sock)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # not for commands that this process runs
    return found


def notify(text: str) -> None:
    """Tell systemd something; without it, do nothing."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place or not hasattr(socket, "AF_UNIX"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), f"\0{place[1:]}" if place.startswith("@") else place)


def watchdog_seconds() -> float:
    """Within how many seconds systemd wants to hear that the process is well; 0 for never."""
    text = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / 1_000_000 if text.isdigit() and is_ours else 0.0

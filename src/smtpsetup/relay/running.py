"""What a running relay leaves for `relay --status`, and how it greets."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.state import files, locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

GREETING = "ESMTP smtpsetup relay"
"""A part of the first line that it sends."""


USUAL_HOST, USUAL_PORT = "127.0.0.1", 2525


class Where(NamedTuple):
    """Where a relay listens, or would if it were started again. `tls_port` has TLS from the start, 0 for none."""

    host: str
    port: int
    tls_port: int
    has_starttls: bool
    is_running: bool

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, for others
            return False


USUAL = Where(USUAL_HOST, USUAL_PORT, 0, has_starttls=False, is_running=False)


@contextmanager
def only_one(directory: str) -> Iterator[None]:
    """Be the only relay with this state directory within the block. Raises BlockingIOError, OSError."""
    private_dir.prepare(directory)
    handle = locks.open_locked(_lock_file(directory), os.O_RDWR | os.O_CREAT, seconds=0)
    try:
        yield
    finally:
        os.close(handle)


def is_running(directory: str) -> bool:
    """Whether a relay with this state directory is running."""
    try:
        private_dir.become_owner_of(directory)
        os.close(locks.open_locked(_lock_file(directory), os.O_RDWR, seconds=0))
    except BlockingIOError:
        return True
    except OSError:  # there is no such file, or one of another user
        return False
    return False


def write(directory: str, where: Where) -> None:
    """Note where a relay listens. Raises OSError."""
    values = {name: value for name, value in where._asdict().items() if name != "is_running"}
    files.write_atomically(running_file(directory), json.dumps(values) + "\n")


def read(directory: str) -> Where:
    """Where the relay listens or, if it does not run, where it did last."""
    try:
        with open(running_file(directory), encoding="utf-8") as file:
            values = json.load(file)
        host, port, tls_port = str(values["host"]), int(values["port"]), int(values["tls_port"])
        return Where(host, port, tls_port, bool(values["has_starttls"]), is_running(directory))
    except (OSError, ValueError, KeyError, TypeError):
        return USUAL


def shown(host: str, port: int) -> str:
    """HOST:PORT, with the brackets that IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def own_address() -> str:
    """The address by which other machines of the network reach this one, `""` where it has none."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # for documents
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))  # chooses an address, and sends nothing
            found = str(sock.getsockname()[0])
            if not ipaddress.ip_address(found.partition("%")[0]).is_loopback:
                return found
    return ""


def _lock_file(directory: str) -> str:
    return os.path.join(directory, "relay.lock")


def running_file(directory: str) -> str:
    """The file in the state directory that says where a relay listens."""
    return os.path.join(directory, "relay.json")

"""What the attacks on the relay share: a relay for a module, attackers from addresses of their own, a recorder."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import Home
from tests.listener import Listener
from tests.mail_server import GO_ON, OK, OPEN, MailServer
from tests.recording import plain_account
from tests.relay import Client, Relay, add_client, running_relay
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFERS = ("PIPELINING", "SIZE 60000000", "8BITMIME", "SMTPUTF8")
NETS_ADDRESS = "127.9.9.9"
"""The address from which the client `device` of `target` needs no login."""


@dataclass(frozen=True)
class Target:
    """A running relay with the clients `shop`, `bound` (to kund@example.com) and `device` (from NETS_ADDRESS)."""

    relay: Relay
    server: MailServer
    password: str
    bound_password: str

    @property
    def pid(self) -> int:
        return self.relay.process.pid

    @property
    def said(self) -> str:
        """What the relay has written so far."""
        return "".join((self.relay.home.path / name).read_text() for name in ("relay.out", "relay.err"))

    def shop(self) -> Client:
        """A connection on which `shop` has logged in."""
        client = self.relay.client()
        assert client.log_in(self.password).startswith("235")
        return client

    def bound(self) -> Client:
        """A connection on which `bound` has logged in."""
        client = self.relay.client()
        assert client.log_in(self.bound_password, "bound").startswith("235")
        return client


def new_home(directory: Path, name_server: str, prefix: tuple[str, ...] = ()) -> Home:
    """A home as the fixture `home` makes one, for fixtures that live longer."""
    path = directory / "home"
    path.mkdir()
    env = {
        "HOME": str(path),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "error",
        "SMTPSETUP_NAMESERVER": name_server,
    }
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "COV_"))}
    return Home(path, env | passed_on, prefix=prefix)


@contextlib.contextmanager
def target(directory: Path, name_server: str, *options: str) -> Iterator[Target]:
    """A relay with TLS whose account may use any sender."""
    with MailServer(offers=OFFERS) as server:
        home = new_home(directory, name_server)
        plain_account(home, server.port, allowed_from='"any"')
        password = add_client(home)
        bound = add_client(home, "bound", "--from", "kund@example.com")
        add_client(home, "device", "--net", NETS_ADDRESS)
        with running_relay(home, *options, with_tls=True) as relay:
            yield Target(relay, server, password, bound)


class Attacker(Client):
    """A client from an address of its own on the loopback, so that its wrong logins are counted apart."""

    def __init__(self, port: int, source: str, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), timeout=30, source_address=(source, 0))
        self.lines = self.sock.makefile("rb")
        self.greeting = self.reply()

    def rest(self) -> str:
        """All replies up to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            return self.lines.read().decode()
        return ""


class Recorder(Listener):
    """A server that accepts everything and keeps the bytes: `contents` up to CRLF, dot, CRLF, and `commands`."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.commands: list[bytes] = []
        super().__init__()

    def talk(self, client: socket.socket, number: int) -> None:
        client.sendall(OPEN)
        buffer = b""
        while data := client.recv(65_536):
            buffer += data
            while b"\r\n" in buffer:
                line, _end, buffer = buffer.partition(b"\r\n")
                self.commands.append(line)
                client.sendall(_reply_to(line))
                if line == b"DATA":
                    buffer = self._content(client, buffer)

    def _content(self, client: socket.socket, buffer: bytes) -> bytes:
        buffer = b"\r\n" + buffer
        while b"\r\n.\r\n" not in buffer and (data := client.recv(65_536)):
            buffer += data
        content, _end, rest = buffer.partition(b"\r\n.\r\n")
        self.contents.append(content[2:] + b"\r\n")
        client.sendall(OK)
        return rest


def _reply_to(line: bytes) -> bytes:
    verb = line.split(b" ")[0].upper()
    known = {b"EHLO": b"250-mail.example.com\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n", b"DATA": GO_ON}
    return known.get(verb, OK)


def bare_line_ends(content: bytes) -> list[bytes]:
    """Each CR and LF of a message that is not part of CRLF, with what surrounds it."""
    return [content[max(0, m.start() - 9) : m.end() + 9] for m in re.finditer(rb"(?<!\r)\n|\r(?!\n)", content)]


def memory_of(pid: int) -> float:
    """The memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def descriptors_of(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def caught(server: MailServer, subject: str) -> list[str]:
    """The senders of the mails with that subject, once a mail that is sent has had the time to come."""
    wait_for(lambda: subject in server.subjects)
    return [mail.sender for mail in server.mails if mail.subject == subject]

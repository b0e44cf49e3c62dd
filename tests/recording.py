"""A small fast server that remembers what it accepted, on which connection, and says what it is told to."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING, BinaryIO, Self

from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.outbox.mail import NewMail

if TYPE_CHECKING:
    from tests.conftest import Home

_OK = b"250 2.0.0 ok\r\n"
_EHLO = b"250-server.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 50000000\r\n250 AUTH PLAIN\r\n"
_USUAL = {"EHLO": _EHLO, "DATA": b"354 go ahead\r\n", "QUIT": b"221 2.0.0 bye\r\n", "AUTH": b"235 2.7.0 ok\r\n"}


@dataclass
class _Transaction:
    """What a connection has agreed on so far."""

    has_sender: bool = False
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """A message that was accepted."""

    message_id: str
    recipients: tuple[str, ...]
    content: bytes
    connection: int
    at: float

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]


class RecordingServer:
    """Accepts everything, but for what `replies` has.

    The beginning of a command, or "." for the message, and the answer.

    An answer `b""` hangs up; after the dot the message counts as accepted then. `pause` is how long the answer to a
    message takes.
    """

    def __init__(self, *, port: int = 0, pause: float = 0.0) -> None:
        self.replies: dict[str, bytes] = {}
        self.arrivals: list[Arrival] = []
        self.said_goodbye: set[int] = set()
        self.commands: list[str] = []
        self._pause = pause
        self._numbers = itertools.count()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._closing.set()
        self._listener.close()

    @property
    def message_ids(self) -> list[str]:
        return [arrival.message_id for arrival in self.arrivals]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._talk, args=(client, next(self._numbers)), daemon=True).start()

    def _talk(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            client.sendall(b"220 server.example ESMTP\r\n")
            agreed = _Transaction()
            while line := lines.readline():
                command = line.decode().rstrip("\r\n")
                self.commands.append(command)
                reply = self._answer(command, agreed)
                client.sendall(reply)
                if not reply or command == "QUIT":
                    self.said_goodbye |= {number} if reply else set()
                    return
                if (
                    command == "DATA"
                    and reply.startswith(b"354")
                    and not self._message(client, lines, agreed.recipients, number)
                ):
                    return

    def _answer(self, command: str, agreed: _Transaction) -> bytes:
        told = next((answer for beginning, answer in self.replies.items() if command.startswith(beginning)), None)
        verb = command.partition(" ")[0]
        if verb in ("MAIL", "RSET"):
            agreed.has_sender, agreed.recipients = verb == "MAIL" and told is None, ()
        if told is not None:
            return told
        if (verb == "RCPT" and not agreed.has_sender) or (verb == "DATA" and not agreed.recipients):
            return b"503 5.5.1 not now\r\n"
        if verb == "RCPT":
            agreed.recipients += (command[len("RCPT TO:<") :].partition(">")[0],)
        return _USUAL.get(verb, _OK)

    def _message(self, client: socket.socket, lines: BinaryIO, recipients: tuple[str, ...], number: int) -> bool:
        """Take a message; whether the connection goes on."""
        content = bytearray()
        while (line := lines.readline()) != b".\r\n":
            if not line:
                return False
            content += line.removeprefix(b".")
        reply = self.replies.get(".", _OK)
        if reply[:1] in (b"", b"2"):
            message_id = str(message_from_bytes(bytes(content))["Message-ID"]).strip()
            self.arrivals.append(Arrival(message_id, recipients, bytes(content), number, time.time()))
        self._closing.wait(self._pause)
        client.sendall(reply)
        return bool(reply)


def plain_account(home: Home, port: int, **changes: str) -> None:
    """The account `a` at a server on this machine that wants neither TLS nor a login; the values are TOML."""
    row = {
        "address": '"info@example.com"',
        "host": '"127.0.0.1"',
        "port": str(port),
        "security": '"none"',
        "auth": '"none"',
        **changes,
    }
    home.file(
        ".config/smtpsetup/config.toml", "[accounts.a]\n" + "".join(f"{key} = {value}\n" for key, value in row.items())
    )


def new_mail(number: int, recipients: tuple[str, ...] = ("kund@example.com",)) -> NewMail:
    """A mail of the account `a` that is due."""
    message_id = f"<{number}@test.example>"
    content = f"Message-ID: {message_id}\r\nSubject: {number}\r\n\r\nNumber {number}.\r\n".encode()
    return NewMail("a", Envelope("info@example.com", recipients), from_bytes(content), message_id, str(number))


def state_dir(home: Home) -> str:
    """Where the outbox of this home is."""
    return str(home.path / ".local" / "state" / "smtpsetup")

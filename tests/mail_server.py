"""A submission server that keeps the state of each connection, records commands, and fails where a test says so."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import TYPE_CHECKING

from tests.listener import Listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PIPELINING = ("PIPELINING", "SIZE 1000000", "8BITMIME")
OPEN, OK, GO_ON = b"220 mail.example.com ESMTP\r\n", b"250 2.0.0 ok\r\n", b"354 go on\r\n"


@dataclass(frozen=True)
class Turn:
    """An event on a connection: `verb` is the first word of a command, CONNECT, or "." for the end of a message."""

    connection: int
    verb: str
    line: str
    accepted: int  # messages on this connection before


@dataclass(frozen=True)
class Caught:
    """A message that the server accepted."""

    connection: int
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    moment: float  # of time.monotonic
    at: float  # seconds since 1970

    @property
    def message_id(self) -> str:
        """The value of Message-ID."""
        return str(message_from_bytes(self.content)["Message-ID"]).strip()

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]

    @property
    def subject(self) -> str:
        return self.content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


@dataclass
class _State:
    number: int
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    content: list[bytes] | None = None
    accepted: int = 0


class MailServer(Listener):
    """A server without TLS.

    `answer` is called first: the bytes that it returns are the reply (a 421 closes), b"" drops the connection, and
    None stands for the usual reply.

    `mails` has the accepted messages, `torn` those without an end, `lines` every command, `groups` the commands of
    each connection, grouped by round trip. The server takes `at_once` connections at the same time, and closes each
    after its `last` message. `latency` is added to each round trip and `pause` to each message, in seconds.
    """

    def __init__(  # noqa: PLR0913  the ways in which a server may be slow or small
        self,
        answer: Callable[[Turn], bytes | None] = lambda _turn: None,
        *,
        offers: tuple[str, ...] = PIPELINING,
        at_once: int = 100,
        last: int = 0,
        latency: float = 0.0,
        pause: float = 0.0,
    ) -> None:
        self.mails: list[Caught] = []
        self.groups: list[list[list[str]]] = []
        self.lines: list[str] = []
        self.torn: list[bytes] = []
        self._answer = answer
        self._offers = (*offers, "AUTH PLAIN")
        self._at_once = at_once
        self._last = last
        self._latency = latency
        self._pause = pause
        self.said_goodbye: set[int] = set()
        self._open = 0
        self._lock = threading.Lock()
        super().__init__()

    @property
    def subjects(self) -> list[str]:
        return [mail.subject for mail in self.mails]

    def talk(self, client: socket.socket, number: int) -> None:
        state = _State(number)
        with self._lock:
            self._open += 1
            while len(self.groups) < number:
                self.groups.append([])
        try:
            is_full = self._open > self._at_once
            greeting = b"421 4.7.0 Too many connections\r\n" if is_full else self._reply(state, "CONNECT", "")
            client.sendall(greeting)
            if greeting.startswith(b"220"):
                self._read(client, state)
        finally:
            if state.content is not None:
                self.torn.append(b"".join(state.content))
            with self._lock:
                self._open -= 1

    def _read(self, client: socket.socket, state: _State) -> None:
        buffer = b""
        while True:
            time.sleep(self._latency)
            data = client.recv(1_000_000)
            if not data:
                return
            buffer += data
            lines = buffer.split(b"\n")
            buffer = lines.pop()
            group: list[str] = []
            for line in lines:
                if not self._line(client, state, line + b"\n", group):
                    return

    def _line(self, client: socket.socket, state: _State, line: bytes, group: list[str]) -> bool:
        """Answer a line; False ends the connection."""
        if state.content is not None and line != b".\r\n":
            state.content.append(line.removeprefix(b"."))
            return True
        text = line.decode().rstrip("\r\n")
        verb = text.split(" ")[0].upper()
        if not group:
            self.groups[state.number - 1].append(group)
        group.append(verb)
        self.lines.append(text)
        reply = self._reply(state, verb, text)
        if verb == "." and self._pause:
            time.sleep(self._pause)
        client.sendall(reply)
        if verb == "QUIT" and reply:
            self.said_goodbye.add(state.number)
        if self._last and state.accepted >= self._last and verb == ".":
            return False
        return bool(reply) and not reply.startswith((b"421", b"221"))

    def _reply(self, state: _State, verb: str, line: str) -> bytes:
        given = self._answer(Turn(state.number, verb, line, state.accepted))
        reply = self._usual(state, verb, line) if given is None else given
        if verb == "MAIL" and reply.startswith(b"2"):
            state.sender = line.partition("<")[2].partition(">")[0]
        elif verb == "RCPT" and reply.startswith(b"2"):
            state.recipients.append(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA" and reply.startswith(b"354"):
            state.content = []
        elif verb == ".":
            self._end(state, is_accepted=self.counts_as_accepted(reply))
        elif verb in ("EHLO", "RSET"):
            state.sender, state.recipients = None, []
        return reply

    def counts_as_accepted(self, reply: bytes) -> bool:
        """Whether a message is in `mails` after this reply."""
        return reply.startswith(b"2")

    def _end(self, state: _State, *, is_accepted: bool) -> None:
        content = b"".join(state.content or ())
        if is_accepted and state.recipients:
            state.accepted += 1
            self.mails.append(
                Caught(
                    state.number, state.sender or "", tuple(state.recipients), content, time.monotonic(), time.time()
                )
            )
        state.sender, state.recipients, state.content = None, [], None

    def _usual(self, state: _State, verb: str, line: str) -> bytes:
        if verb == "MAIL" and state.sender is not None:
            return b"503 5.5.1 nested MAIL\r\n"
        if verb == "RCPT" and state.sender is None:
            return b"503 5.5.1 need MAIL\r\n"
        if verb == "DATA":
            return GO_ON if state.recipients else b"554 5.5.1 no valid recipients\r\n"
        if verb == "EHLO":
            return "".join(f"250-{line}\r\n" for line in ("mail.example.com", *self._offers)).encode() + b"250 HELP\r\n"
        usual = {"CONNECT": OPEN, "AUTH": b"235 2.7.0 in\r\n", "QUIT": b"221 2.0.0 bye\r\n"}
        known = ("MAIL", "RCPT", ".", "RSET", "NOOP")
        return usual.get(verb, OK if verb in known else b"500 5.5.2 what?\r\n")


def answer_to(*names: str, verb: str, reply: bytes = b"") -> Callable[[Turn], bytes | None]:
    """An `answer` for MailServer: the reply to the command `verb`, if the last recipient has one of these local parts.

    A reply `b""` closes the connection.
    """
    recipients: dict[int, str] = {}

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "MAIL":
            recipients[turn.connection] = ""
        if turn.verb == "RCPT":
            recipients[turn.connection] = turn.line
        is_meant = any(f"<{name}@" in recipients.get(turn.connection, "") for name in names)
        return reply if turn.verb == verb and is_meant else None

    return answer

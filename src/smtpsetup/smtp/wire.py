"""SMTP's lines on a socket: bounded in time and size, secrets masked, every reply clean.

Not on smtplib: it waits for each byte anew, believes endless replies, encodes in ASCII and cannot pipeline, so that all
of it would be replaced, and importing it would be a quarter of a `send` from cron (bench/sending.py).
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from smtpsetup.core.failure import Kind, Reply
from smtpsetup.core.model import plain_text
from smtpsetup.net.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpsetup.net.dial import Deadline

_LINE_LIMIT = 8192  # bytes; RFC 5321 section 4.5.3.1.5 asks for 512, extensions for more
_REPLY_LIMIT = 65536  # bytes of one reply over all its lines
_CHUNK = 65536
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_EXTENSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =](.*))?$", re.DOTALL)
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux; the kernel forgets it after a while
_SHOWN = 200  # characters of a line that is no reply


class WireError(Exception):
    """The other side broke the protocol or is gone; `kind` says how."""

    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Wire:
    """Commands out and replies in, over a socket that somebody else opened.

    Every wait ends at the deadline; text is UTF-8.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, trace: Callable[[str], None] | None) -> None:
        self.sock: socket.socket | None = sock
        self.extensions: dict[str, str] = {}
        self._deadline = deadline
        self._trace = trace
        self._buffer = b""
        self._masks = Masks()

    @property
    def deadline(self) -> Deadline:
        """What bounds every wait; the session narrows it for a stage."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def mask(self, secret: str) -> None:
        """From now on show `***` where the secret stands, also where the server repeats it."""
        self._masks.add(secret)

    def upgrade(self, sock: socket.socket) -> None:
        """Go on over `sock`, TLS by now, forgetting what was said in the clear (RFC 3207 section 4.2)."""
        self.sock = sock
        self.extensions = {}

    @property
    def unread(self) -> bytes:
        """Bytes that came behind the last reply."""
        return self._buffer

    def ehlo(self, name: str) -> Reply:
        """Greet (RFC 5321 section 4.1.1.1).

        `extensions` holds what the server offers then, each keyword in upper case with its parameters.
        """
        self.put([f"EHLO {name}"])
        code, lines = self._read_reply()
        self.extensions = {}
        for line in lines[1:]:
            match = _EXTENSION.match(line.decode("utf-8", "replace"))
            if match:
                keyword, parameters = match[1].upper(), (match[2] or "").strip()
                # old servers say AUTH= beside AUTH
                self.extensions[keyword] = f"{self.extensions.get(keyword, '')} {parameters}".strip()
        return self.as_reply(code, lines)

    def send(self, data: bytes) -> None:
        """Send bytes within the deadline."""
        if not self.sock:
            raise WireError(Kind.CLOSED)
        self.sock.settimeout(self._deadline.remaining())
        self.sock.sendall(data)

    def put(self, commands: Sequence[str]) -> None:
        """Send command lines in one go, traced. Raises ValueError for a line break inside one."""
        self.send(self.lines(commands))

    def lines(self, commands: Sequence[str]) -> bytes:
        """Command lines, traced, to be sent with what else is on its way. Raises ValueError as `put`."""
        for command in commands:
            if "\r" in command or "\n" in command:
                message = "a line break inside a command"
                raise ValueError(message)
            self._tell("> ", command)
        return "".join(f"{command}\r\n" for command in commands).encode()

    def put_secret(self, line: str, shown: str) -> None:
        """Send a line that holds a secret; `shown` is what the trace says instead."""
        self._tell("> ", shown)
        self.send(f"{line}\r\n".encode())

    def reply(self) -> Reply:
        """The next reply (RFC 5321 section 4.2). Raises WireError, or OSError for the socket's own troubles."""
        code, lines = self._read_reply()
        return self.as_reply(code, lines)

    def command(self, command: str) -> Reply:
        """Send a command and wait for its reply."""
        self.put([command])
        return self.reply()

    def as_reply(self, code: int, lines: list[bytes]) -> Reply:
        """A reply's raw lines, masked and cleaned."""
        return clean_reply(code, lines, self._masks)

    def _tell(self, mark: str, line: str | bytes) -> None:
        """Show a line to whoever watches, secrets masked."""
        if self._trace:
            self._trace(
                mark
                + plain_text(self._masks.applied(line if isinstance(line, str) else line.decode("utf-8", "replace")))
            )

    def _read_reply(self) -> tuple[int, list[bytes]]:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read_line()
            size += len(line)
            match = _REPLY_LINE.fullmatch(line)
            if not match or size > _REPLY_LIMIT:
                raise WireError(
                    Kind.PROTOCOL_ERROR, plain_text(self._masks.applied(line.decode("utf-8", "replace")))[:_SHOWN]
                )
            self._tell("< ", line)
            lines.append(match[3] or b"")
            if match[2] != b"-":
                return int(match[1]), lines

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_LIMIT:
                raise WireError(Kind.PROTOCOL_ERROR, "line too long")
            if not self.sock:
                raise WireError(Kind.CLOSED)
            self.sock.settimeout(self._deadline.remaining())
            if _QUICK_ACK is not None:
                # a reply in two segments, such as one behind a TLS session ticket, would wait 40 ms for the
                # acknowledgement of the first
                self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            data = self.sock.recv(_CHUNK)
            if not data:
                raise WireError(
                    Kind.CLOSED, plain_text(self._masks.applied(self._buffer.decode("utf-8", "replace")))[:_SHOWN]
                )
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")


def clean_reply(code: int, lines: list[bytes], masks: Masks) -> Reply:
    """A reply from its raw lines without their codes: secrets masked, nothing in it that a terminal would obey."""
    enhanced, words = "", []
    for raw in lines:
        line = plain_text(masks.applied(raw.decode("utf-8", "replace"))).strip()
        match = _ENHANCED.match(line)
        if match:
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        words.append(line.strip())
    return Reply(code, enhanced, tuple(words))

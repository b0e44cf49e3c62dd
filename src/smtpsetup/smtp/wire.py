"""SMTP command lines and replies on a socket: bounded in time and size, secrets masked, replies cleaned.

smtplib is not used: its timeout restarts with each byte, it reads replies without a limit, encodes in ASCII and cannot
pipeline. Importing it would also take a quarter of the time of a `send` from cron (bench/sending.py).
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from smtpsetup.core.failure import Kind, Reply, WireError
from smtpsetup.core.model import plain_text
from smtpsetup.net.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpsetup.net.dial import Deadline

_LINE_LIMIT = 8192  # bytes; RFC 5321 section 4.5.3.1.5 requires 512, extensions more
_REPLY_LIMIT = 65536  # bytes of one reply, all lines together
_CHUNK = 65536
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_EXTENSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =](.*))?$", re.DOTALL)
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only; the kernel resets it after a while
_SHOWN = 200  # characters of a malformed line


class Wire:
    """Sends commands and reads replies on an open socket. Text is UTF-8.

    Every wait ends at `deadline`, which callers narrow for a stage. `extensions` is the server's last EHLO response: a
    keyword in upper case to its parameters.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, trace: Callable[[str], None] | None) -> None:
        self.sock: socket.socket | None = sock
        self.extensions: dict[str, str] = {}
        self.deadline = deadline
        self._trace = trace
        self._buffer = b""
        self._masks = Masks()

    def mask(self, secret: str) -> None:
        """Show `***` in place of the secret from now on, in commands and replies."""
        self._masks.add(secret)

    def upgrade(self, sock: socket.socket) -> None:
        """Continue on the TLS socket and discard what the server said in the clear (RFC 3207 section 4.2)."""
        self.sock = sock
        self.extensions = {}

    @property
    def unread(self) -> bytes:
        """Bytes received after the last reply."""
        return self._buffer

    def ehlo(self, name: str) -> Reply:
        """Send EHLO and read the server's extensions (RFC 5321 section 4.1.1.1)."""
        self.put([f"EHLO {name}"])
        code, lines = self._read_reply()
        self.extensions = {}
        for line in lines[1:]:
            match = _EXTENSION.match(line.decode("utf-8", "replace"))
            if match:
                keyword, parameters = match[1].upper(), (match[2] or "").strip()
                # old servers send AUTH= beside AUTH
                self.extensions[keyword] = f"{self.extensions.get(keyword, '')} {parameters}".strip()
        return self.as_reply(code, lines)

    def send(self, data: bytes) -> None:
        """Send bytes within the deadline."""
        if not self.sock:
            raise WireError(Kind.CLOSED)
        self.sock.settimeout(self.deadline.remaining())
        self.sock.sendall(data)

    def put(self, commands: Sequence[str]) -> None:
        """Send command lines in one write and trace them. Raises ValueError for a line break inside one."""
        self.send(self.lines(commands))

    def lines(self, commands: Sequence[str]) -> bytes:
        """Encode and trace command lines that the caller sends. Raises ValueError as `put`."""
        for command in commands:
            if "\r" in command or "\n" in command:
                raise ValueError("a line break inside a command")
            self._report("> ", command)
        return "".join(f"{command}\r\n" for command in commands).encode()

    def put_secret(self, line: str, shown: str) -> None:
        """Send a line that holds a secret; the trace gets `shown` instead."""
        self._report("> ", shown)
        self.send(f"{line}\r\n".encode())

    def reply(self) -> Reply:
        """Read the next reply (RFC 5321 section 4.2). Raises WireError, and OSError from the socket."""
        code, lines = self._read_reply()
        return self.as_reply(code, lines)

    def command(self, command: str) -> Reply:
        """Send a command and wait for its reply."""
        self.put([command])
        return self.reply()

    def as_reply(self, code: int, lines: list[bytes]) -> Reply:
        """The reply of raw lines, masked and cleaned."""
        return clean_reply(code, lines, self._masks)

    def _report(self, direction: str, line: str) -> None:
        if self._trace:
            self._trace(direction + plain_text(self._masks.applied(line)))

    def _excerpt(self, line: bytes) -> str:
        """The beginning of a line that is no reply, safe to show."""
        return plain_text(self._masks.applied(line.decode("utf-8", "replace")))[:_SHOWN]

    def _read_reply(self) -> tuple[int, list[bytes]]:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read_line()
            size += len(line)
            match = _REPLY_LINE.fullmatch(line)
            if not match or size > _REPLY_LIMIT:
                raise WireError(Kind.PROTOCOL_ERROR, self._excerpt(line))
            self._report("< ", line.decode("utf-8", "replace"))
            lines.append(match[3] or b"")
            if match[2] != b"-":
                return int(match[1]), lines

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_LIMIT:
                raise WireError(Kind.PROTOCOL_ERROR, "line too long")
            if not self.sock:
                raise WireError(Kind.CLOSED)
            self.sock.settimeout(self.deadline.remaining())
            if _QUICK_ACK is not None:
                # otherwise a reply in two segments, such as one after a TLS session ticket, waits 40 ms for the
                # acknowledgement of the first
                self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            data = self.sock.recv(_CHUNK)
            if not data:
                raise WireError(Kind.CLOSED, self._excerpt(self._buffer))
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        if len(line) > _LINE_LIMIT:  # it came in one piece
            raise WireError(Kind.PROTOCOL_ERROR, "line too long")
        return line.rstrip(b"\r")


def clean_reply(code: int, lines: list[bytes], masks: Masks) -> Reply:
    """A reply from its raw lines without their codes: secrets masked, no terminal control sequences."""
    enhanced, words = "", []
    for raw in lines:
        line = plain_text(masks.applied(raw.decode("utf-8", "replace"))).strip()
        match = _ENHANCED.match(line)
        if match:
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        words.append(line.strip())
    return Reply(code, enhanced, tuple(words))

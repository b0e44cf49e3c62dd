"""SMTP's lines on a socket: bounded in time and size, secrets masked, every reply clean. Over smtplib, with its faults mended."""

from __future__ import annotations

import re
import smtplib
from typing import TYPE_CHECKING

from smtpsetup.failure import Kind, Reply
from smtpsetup.model import plain_text
from smtpsetup.transport.masks import Masks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from smtpsetup.transport.dial import Deadline

_LINE_LIMIT = 8192  # bytes; RFC 5321 section 4.5.3.1.5 asks for 512, extensions for more
_REPLY_LIMIT = 65536  # bytes of one reply over all its lines
_CHUNK = 65536
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_SHOWN = 200  # characters of a line that is no reply


class WireError(Exception):
    """The other side broke the protocol or is gone; `kind` says how."""

    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Wire(smtplib.SMTP):
    """smtplib's commands over a socket that this program opened.

    smtplib would wait for each byte anew, believe endless replies, encode in ASCII and ask the resolver for this machine's name; here every wait
    ends at the deadline, replies are bounded and text is UTF-8.
    """

    def __init__(self, sock: socket.socket, ehlo_name: str, deadline: Deadline, trace: Callable[[str], None] | None) -> None:
        super().__init__(local_hostname=ehlo_name)
        self.sock = sock
        self._deadline = deadline
        self._trace = trace or (lambda _line: None)
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
        self.esmtp_features = {}
        self.does_esmtp = False
        self.ehlo_resp = None
        self.helo_resp = None

    @property
    def unread(self) -> bytes:
        """Bytes that came behind the last reply."""
        return self._buffer

    def send(self, s: object) -> None:
        """Send text or bytes within the deadline."""
        data = s.encode() if isinstance(s, str) else s
        if not self.sock:
            raise WireError(Kind.CLOSED)
        self.sock.settimeout(self._deadline.remaining())
        self.sock.sendall(data)  # type: ignore[arg-type]  # smtplib passes str or a buffer

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command line, traced. Raises ValueError for a line break inside it."""
        self._trace("> " + plain_text(self._masks.applied(f"{cmd} {args}".rstrip())))
        super().putcmd(cmd, args)

    def put_secret(self, line: str, shown: str) -> None:
        """Send a line that holds a secret; `shown` is what the trace says instead."""
        self._trace("> " + shown)
        self.send(line + smtplib.CRLF)

    def getreply(self) -> tuple[int, bytes]:
        """The next reply as smtplib wants it."""
        code, lines = self._read_reply()
        return code, b"\n".join(lines)

    def reply(self) -> Reply:
        """The next reply (RFC 5321 section 4.2). Raises WireError, or OSError for the socket's own troubles."""
        code, lines = self._read_reply()
        return self.as_reply(code, lines)

    def command(self, cmd: str, args: str = "") -> Reply:
        """Send a command and wait for its reply."""
        self.putcmd(cmd, args)
        return self.reply()

    def as_reply(self, code: int, lines: list[bytes]) -> Reply:
        """A reply's raw lines, masked and cleaned."""
        enhanced, words = "", []
        for raw in lines:
            line = plain_text(self._masks.applied(raw.decode("utf-8", "replace"))).strip()
            match = _ENHANCED.match(line)
            if match:
                enhanced = enhanced or match[1]
                line = line[match.end() :]
            words.append(line.strip())
        return Reply(code, enhanced, tuple(words))

    def _read_reply(self) -> tuple[int, list[bytes]]:
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read_line()
            size += len(line)
            match = _REPLY_LINE.fullmatch(line)
            if not match or size > _REPLY_LIMIT:
                raise WireError(Kind.PROTOCOL_ERROR, plain_text(self._masks.applied(line.decode("utf-8", "replace")))[:_SHOWN])
            self._trace("< " + plain_text(self._masks.applied(line.decode("utf-8", "replace"))))
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
            data = self.sock.recv(_CHUNK)
            if not data:
                raise WireError(Kind.CLOSED, plain_text(self._masks.applied(self._buffer.decode("utf-8", "replace")))[:_SHOWN])
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

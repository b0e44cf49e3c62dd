"""A mail of another program as smtpsetup would send it, and what must hold for every such mail."""

from __future__ import annotations

import datetime
import re

from smtpsetup.address.address import parse_address
from smtpsetup.message import raw_body, raw_header, spool
from smtpsetup.message.compose import Mailbox

NOW = datetime.datetime(2026, 11, 24, 3, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
OWN = parse_address("info@example.com")
PIECE = 65_536


def chunked(data: bytes, size: int = PIECE) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def made(message: bytes, name: str = "", *, ignores_dots: bool = True, size: int = PIECE) -> bytes:
    """The normalized message."""
    lines = spool.with_crlf(chunked(message, size))
    fields, rest = raw_header.split(lines if ignores_dots else spool.up_to_dot(lines))
    sender = raw_header.Sender(Mailbox(name, OWN), Mailbox(name, parse_address("asa@example.net")))
    done = raw_header.normalize_header(fields, sender, now=NOW, message_id="<1@example.com>")
    wire = b"".join(raw_body.corrected(done, spool.Spool(rest)).chunks())
    return re.sub(rb"(?m)^(Resent-Message-ID: <)[0-9a-f]{32}@", rb"\1always-the-same@", wire, count=1)


def names_in(message: bytes) -> list[str]:
    lines = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line.partition(b":")[0].decode().lower() for line in lines if not line.startswith(b" ")]


def assert_sound(wire: bytes) -> None:
    assert set(wire.replace(b"\r\n", b"")).isdisjoint(b"\r\n")
    assert max(len(line) for line in wire.split(b"\r\n")) <= 998
    header = wire.partition(b"\r\n\r\n")[0]
    for line in header.split(b"\r\n"):
        assert re.match(rb"[!-9;-~]+:|[ \t]+\S", line), line
    names = names_in(wire)
    assert not {"bcc", "resent-bcc"} & set(names)
    assert [names.count(name) for name in ("from", "date", "message-id")] == [1, 1, 1]
    header.decode("utf-8")

"""Handing one message over: envelope, size, message, and who was accepted (RFC 5321 section 3.3)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.errors import InterruptedAfterTheDotError
from smtpsetup.failure import Failure, Kind, Refused, Reply, TransportError
from smtpsetup.model import Stage, StageStatus
from smtpsetup.transport.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.model import Server
    from smtpsetup.transport.wire import Wire

    StageReport = Callable[[Stage, float, str, Reply | None, StageStatus], None]

_ACCEPTED = (250, 251)
_GO_AHEAD = 354
_CLOSING = 421
_LAST_WORDS_SECONDS = 2.0
_LINE_LIMIT = 998  # bytes without CRLF, RFC 5321 section 4.5.3.1.6
_CHUNK = 65536  # bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, as the server is told. Addresses carry their domain as A-labels."""

    sender: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who was accepted, who was refused, and the server's reply to the message."""

    accepted: tuple[str, ...]
    refused: tuple[Refused, ...]
    reply: Reply


def submit(wire: Wire, server: Server, envelope: Envelope, message: bytes, report: StageReport) -> Outcome:
    """Send `message` (CRLF line ends) to the recipients. Raises TransportError when not one recipient got it."""
    started = time.monotonic()
    stage = Stage.MAIL
    refused: list[Refused] = []
    try:
        reply = wire.command("MAIL", f"FROM:<{envelope.sender}>{_mail_parameters(wire, server, envelope, message)}")
        _require(reply, _ACCEPTED, stage, server)
        report(stage, started, envelope.sender, reply, StageStatus.OK)
        started, stage = time.monotonic(), Stage.RCPT
        accepted = _recipients(wire, server, envelope.recipients, refused)
        status = StageStatus.WARNING if refused else StageStatus.OK
        report(stage, started, ", ".join(accepted), refused[0].failure.reply if refused else None, status)
        started, stage = time.monotonic(), Stage.DATA
        reply = _data(wire, server, message)
        report(stage, started, f"{len(message)} bytes", reply, StageStatus.OK)
    except (TransportError, OSError, WireError) as error:
        failure = error.failure if isinstance(error, TransportError) else _lost(error, stage, server)
        report(failure.stage, started, failure.detail, failure.reply, StageStatus.FAILED)
        raise TransportError(failure, tuple(refused)) from error
    return Outcome(tuple(accepted), tuple(refused), reply)


def _mail_parameters(wire: Wire, server: Server, envelope: Envelope, message: bytes) -> str:
    """SIZE (RFC 1870), BODY=8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531), each only where it is needed and offered."""
    parameters = ""
    if wire.has_extn("size"):
        limit = wire.esmtp_features["size"].strip()
        if re.fullmatch("[0-9]{1,18}", limit) and 0 < int(limit) < len(message):
            raise TransportError(Failure(Stage.DATA, Kind.TOO_LARGE, server, detail=f"{len(message)} > {limit}"))
        parameters += f" SIZE={len(message)}"
    header = message.partition(b"\r\n\r\n")[0]
    needs_utf8 = not (all(address.isascii() for address in (envelope.sender, *envelope.recipients)) and header.isascii())
    if needs_utf8 and not wire.has_extn("smtputf8"):
        raise TransportError(Failure(Stage.MAIL, Kind.SMTPUTF8_NOT_OFFERED, server))
    if wire.has_extn("8bitmime") and not message.isascii():
        parameters += " BODY=8BITMIME"
    return parameters + (" SMTPUTF8" if needs_utf8 else "")


def _recipients(wire: Wire, server: Server, recipients: tuple[str, ...], refused: list[Refused]) -> list[str]:
    """Who was accepted; the others are added to `refused`. Raises TransportError when nobody was, or when the server gives up (421)."""
    accepted: list[str] = []
    for recipient in recipients:
        reply = wire.command("RCPT", f"TO:<{recipient}>")
        if reply.code in _ACCEPTED:
            accepted.append(recipient)
            continue
        failure = Failure(Stage.RCPT, Kind.REPLY, server, reply)
        refused.append(Refused(recipient, failure))
        if reply.code == _CLOSING:
            raise TransportError(failure)
    if not accepted:
        # one that may pass is told first: then trying again is right
        raise TransportError(next((entry.failure for entry in refused if _may_pass(entry)), refused[0].failure))
    return accepted


def _may_pass(entry: Refused) -> bool:
    return entry.failure.reply is not None and entry.failure.reply.is_temporary


def _data(wire: Wire, server: Server, message: bytes) -> Reply:
    if any(len(line) > _LINE_LIMIT for line in message.split(b"\r\n")):
        raise TransportError(Failure(Stage.DATA, Kind.LINE_TOO_LONG, server))
    _require(wire.command("DATA"), (_GO_AHEAD,), Stage.DATA, server)
    payload = re.sub(rb"(?m)^\.", b"..", message)
    payload += b"" if payload.endswith(b"\r\n") else b"\r\n"
    payload += b".\r\n"
    last = (len(payload) - 1) // _CHUNK * _CHUNK
    try:
        for start in range(0, last, _CHUNK):
            wire.send(payload[start : start + _CHUNK])
    except OSError as error:
        _told_in_time(wire, server)
        raise WireError(Kind.CLOSED) from error
    try:
        wire.send(payload[last:])
        reply = wire.reply()
    except KeyboardInterrupt as error:
        raise InterruptedAfterTheDotError from error
    except (OSError, WireError) as error:
        raise TransportError(Failure(Stage.DATA, Kind.CLOSED, server, detail=AFTER_THE_DOT)) from error
    _require(reply, _ACCEPTED, Stage.DATA, server)
    return reply


def _told_in_time(wire: Wire, server: Server) -> None:
    """Raise TransportError with what a server said before it hung up in the middle of the message, if it said anything."""
    try:
        wire.deadline = wire.deadline.at_most(_LAST_WORDS_SECONDS)
        reply = wire.reply()
    except (OSError, WireError):
        return
    raise TransportError(Failure(Stage.DATA, Kind.REPLY, server, reply))


def _require(reply: Reply, codes: tuple[int, ...], stage: Stage, server: Server) -> None:
    if reply.code not in codes:
        raise TransportError(Failure(stage, Kind.REPLY, server, reply))


AFTER_THE_DOT = "after the final dot"


def _lost(error: OSError | WireError, stage: Stage, server: Server) -> Failure:
    if isinstance(error, WireError):
        return Failure(stage, error.kind, server, detail=error.detail)
    return Failure(stage, Kind.TIMEOUT if isinstance(error, TimeoutError) else Kind.CLOSED, server)

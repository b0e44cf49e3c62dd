"""Mail transactions, one after the other on one connection (RFC 5321 section 3.3).

If the server offers PIPELINING (RFC 2920), the commands of an envelope go out in one piece, directly after the final
dot of the message before, so that a message costs one round trip.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import InterruptedAfterTheDotError
from smtpsetup.core.failure import Failure, Kind, Refused, Reply, TransportError, WireError
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.message.delivery import Delivery, Outcome, note_accepted, note_last_bytes, note_refused, readable
from smtpsetup.message.message import LINE_LIMIT, Envelope, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.core.model import Server
    from smtpsetup.net.dial import Deadline
    from smtpsetup.smtp.wire import Wire

    StageReport = Callable[[Stage, float, str, Reply | None, StageStatus], None]

_ACCEPTED = 2  # the first digit decides (RFC 5321 section 4.3.2)
_GO_AHEAD = 354
_CLOSING = 421
_LAST_REPLY_SECONDS = 2.0  # for a reply that the server sent before it closed the connection
_CHUNK = 65_536  # bytes
_WINDOW = 50  # commands sent without reading a reply, so that neither side's buffers fill up (RFC 2920 section 3.1)
_COMMAND_SECONDS = 300.0  # RFC 5321 section 4.5.3.2.2 for a command; here for an envelope
_REPLY_SECONDS = 900.0  # RFC 5321 section 4.5.3.2.6 gives the reply to the dot alone ten minutes
_BLOCK_SECONDS = 180.0  # RFC 5321 section 4.5.3.2.5, for a piece of the message
_SECONDS_PER_MEGABYTE = 20.0  # so that a connection of 400 kbit/s does not time out


def seconds_for(message: Message) -> float:
    """How long a transaction with this message may take, in seconds."""
    return _REPLY_SECONDS + _SECONDS_PER_MEGABYTE * message.size / 1_000_000


_NOTHING = Message(b"\r\n", lambda: iter(()), 0)


class Channel(NamedTuple):
    """An open connection, its server, and what each stage of a transaction is reported to."""

    wire: Wire
    server: Server
    report: StageReport


def submit(
    channel: Channel,
    deliveries: Iterator[Delivery],
    *,
    deadline_for: Callable[[Message], Deadline],
    lockstep: bool = False,
) -> Iterator[Outcome | TransportError]:
    """Send messages and yield the outcome of each, in order.

    The outcome is a TransportError if no recipient was accepted and the connection can still be used. The next
    deliveries are taken while one is sent, except in `lockstep`, where every command waits for its reply.

    Raises TransportError when the connection cannot be used any more: it is about the first delivery that was taken and
    has no outcome; those taken after it have not been sent. Raises SmtpsetupError for a message that cannot be read;
    then the connection must be closed.
    """
    wire = channel.wire
    window = 1 if lockstep or "PIPELINING" not in wire.extensions else _WINDOW
    is_reset_needed = False
    prefetch = _Prefetch(deliveries)

    def next_transaction() -> _Transaction | None:
        delivery = prefetch.next()
        return None if delivery is None else _Transaction(channel, delivery, window)

    current = next_transaction()
    while current is not None:
        wire.deadline = deadline_for(current.delivery.message)
        following = None
        outcome: Outcome | TransportError | None = current.send_envelope(reset_first=is_reset_needed)
        is_reset_needed = outcome is not None
        if outcome is None:
            following = None if lockstep else next_transaction()
            outcome = current.send_message(
                following if window > 1 else None, (lambda: None) if lockstep else prefetch.prepare
            )
        yield outcome
        current = following or next_transaction()


def try_sender(channel: Channel, sender: str) -> None:
    """Ask for a mail from and to `sender`, and take it back with RSET before any content, in one round trip.

    Raises TransportError for a refusal of the sender or the recipient, once all replies have been read.
    """
    wire, server, report = channel
    command = f"MAIL FROM:<{sender}>{_mail_parameters(wire, server, Envelope(sender, ()), _NOTHING)}"
    commands = {Stage.MAIL: command, Stage.RCPT: f"RCPT TO:<{sender}>"}
    is_pipelined = "PIPELINING" in wire.extensions
    refused: TransportError | None = None
    started, current = time.monotonic(), Stage.MAIL
    try:
        if is_pipelined:
            wire.put([*commands.values(), "RSET"])
        for stage, line in commands.items():
            current = stage
            reply = wire.reply() if is_pipelined else wire.command(line)
            is_good = reply.code // 100 == _ACCEPTED
            if refused is None:
                report(stage, started, sender, reply, StageStatus.OK if is_good else StageStatus.WARNING)
                refused = None if is_good else TransportError(Failure(stage, Kind.REPLY, server, reply))
            started = time.monotonic()
        wire.reply() if is_pipelined else wire.command("RSET")
    except (OSError, WireError) as error:
        raise refused or TransportError(_failure_of(error, current, server)) from error
    if refused:
        raise refused


class _Prefetch:
    """Deliveries, the next of which can be prepared while the server is busy."""

    def __init__(self, deliveries: Iterator[Delivery]) -> None:
        self._deliveries = deliveries
        self._ready: Delivery | None = None
        self._error: Exception | None = None

    def prepare(self) -> None:
        """Take the next one. `next` raises what goes wrong here: the server's reply comes first."""
        try:
            self._ready = self._ready or next(self._deliveries, None)
        except Exception as error:  # noqa: BLE001  raised by `next`
            self._error = error

    def next(self) -> Delivery | None:
        """The next one, None at the end."""
        if self._error is not None:
            raise self._error
        delivery, self._ready = self._ready or next(self._deliveries, None), None
        return delivery


class _Transaction:
    """One message's envelope and content, and the replies to them."""

    def __init__(self, channel: Channel, delivery: Delivery, window: int) -> None:
        self.delivery = delivery
        self._wire, self._server, self._report = channel
        self._window = window
        self._commands: list[str] = []
        self._sent = 0  # of the commands
        self._answered = 0  # of the commands
        self._accepted: list[str] = []
        self._refused: list[Refused] = []
        self._is_out_of_step = False  # the server replied in the middle of the message
        self._stage = Stage.MAIL
        self._started = 0.0

    def send_envelope(self, *, reset_first: bool) -> TransportError | None:
        """Send the envelope. Returns the reason if no recipient was accepted, else None.

        Raises TransportError when the connection cannot be used any more.
        """
        self._started = time.monotonic()
        whole, self._wire.deadline = self._wire.deadline, self._wire.deadline.at_most(_COMMAND_SECONDS)
        try:
            if not self._commands:
                self._commands = [*(["RSET"] if reset_first else []), *self._envelope()]
            if self._commands[0] == "RSET":
                self._reply()
            self._read_envelope_replies()
        except (TransportError, OSError, WireError) as error:
            failed = self._failed(error)
            reply = failed.failure.reply
            if isinstance(error, TransportError) and not (reply and reply.code == _CLOSING):
                return failed
            raise failed from error
        finally:
            self._wire.deadline = whole
        return None

    def send_message(self, following: _Transaction | None, meanwhile: Callable[[], object]) -> Outcome | TransportError:
        """Send the content and the envelope of the `following` transaction. Raises TransportError as `send_envelope`.

        `meanwhile` is called before the reply is read, while the server is busy.
        """
        self._started, self._stage = time.monotonic(), Stage.DATA
        try:
            reply = self._send_content(following, meanwhile)
            self._require_accepted(reply)
            note_accepted(self.delivery, tuple(entry.address for entry in self._refused))
        except (TransportError, OSError, WireError) as error:
            failed = self._failed(error)
            refusal = failed.failure.reply
            is_usable = refusal and refusal.code != _CLOSING and not self._is_out_of_step
            if isinstance(error, TransportError) and is_usable:
                return failed
            raise failed from error
        self._report(Stage.DATA, self._started, f"{self.delivery.message.size} bytes", reply, StageStatus.OK)
        return Outcome(tuple(self._accepted), tuple(self._refused), reply)

    def _require_accepted(self, reply: Reply) -> None:
        if reply.code // 100 != _ACCEPTED:
            note_refused(self.delivery, reply)
            raise self._refusal(reply)

    def _envelope(self) -> list[str]:
        envelope, message = self.delivery.envelope, self.delivery.message
        if any(len(line) > LINE_LIMIT for line in message.header.split(b"\r\n")):
            raise TransportError(Failure(Stage.DATA, Kind.LINE_TOO_LONG, self._server))
        parameters = _mail_parameters(self._wire, self._server, envelope, message)
        recipients = (f"RCPT TO:<{recipient}>" for recipient in envelope.recipients)
        return [f"MAIL FROM:<{envelope.sender}>{parameters}", *recipients, "DATA"]

    def _first_lines(self) -> bytes:
        """The envelope's first lines, to be pipelined. An error in the envelope is raised by `send_envelope` later."""
        try:
            self._commands = self._envelope()
        except TransportError:
            return b""
        return self._window_lines()

    def _window_lines(self) -> bytes:
        commands = self._commands[self._sent : self._sent + self._window]
        self._sent += len(commands)
        return self._wire.lines(commands)

    def _reply(self) -> Reply:
        """The reply to the next command; sends the next window of commands if needed."""
        if self._answered == self._sent:
            self._wire.send(self._window_lines())
        self._answered += 1
        return self._wire.reply()

    def _read_envelope_replies(self) -> None:
        envelope = self.delivery.envelope
        reply = self._reply()
        if reply.code // 100 != _ACCEPTED:
            if reply.code != _CLOSING:
                self._drain_replies()
            raise self._refusal(reply)
        self._report(self._stage, self._started, envelope.sender, reply, StageStatus.OK)
        self._started, self._stage = time.monotonic(), Stage.RCPT
        for recipient in envelope.recipients:
            self._read_recipient_reply(recipient)
        failures = [entry.failure for entry in self._refused]
        if not self._accepted:
            self._drain_replies()
            # a temporary refusal before a permanent one: then trying again is right
            raise TransportError(next((failure for failure in failures if _is_temporary(failure)), failures[0]))
        status, refusal = (StageStatus.WARNING, failures[0].reply) if failures else (StageStatus.OK, None)
        self._report(self._stage, self._started, ", ".join(self._accepted), refusal, status)
        self._started, self._stage = time.monotonic(), Stage.DATA
        reply = self._reply()
        if reply.code != _GO_AHEAD:
            raise self._refusal(reply)

    def _read_recipient_reply(self, recipient: str) -> None:
        reply = self._reply()
        if reply.code // 100 == _ACCEPTED:
            self._accepted.append(recipient)
            return
        refusal = self._refusal(reply)
        self._refused.append(Refused(recipient, refusal.failure))
        if reply.code == _CLOSING:
            raise refusal

    def _drain_replies(self) -> None:
        """Read the outstanding replies.

        A server that asks for the content of a message without recipients gets an empty one (RFC 2920 section 3.1).
        """
        with suppress(OSError, WireError):  # the refusal is known already; the next transaction notices a closed socket
            while self._answered < self._sent:
                is_data = self._answered == len(self._commands) - 1
                reply = self._reply()
                if is_data and reply.code == _GO_AHEAD:
                    self._wire.command(".")

    def _send_content(self, following: _Transaction | None, meanwhile: Callable[[], object]) -> Reply:
        """Send the message in pieces and the final dot with what follows it. Returns the reply to the dot."""
        held = b""
        for piece in _stuffed(self.delivery.message):
            if not piece:
                continue
            if len(held) + len(piece) <= _CHUNK:
                held += piece
                continue
            try:
                self._send_piece(held)
            except (OSError, WireError) as error:
                self._raise_last_reply()
                raise WireError(Kind.CLOSED) from error
            held = piece
        end = held + (b".\r\n" if held.endswith(b"\n") else b"\r\n.\r\n")
        end += following._first_lines() if following else b""  # noqa: SLF001  another of the same class
        self._refuse_early_reply()
        note_last_bytes(self.delivery)
        try:
            try:
                self._wire.send(end)
            except OSError:  # the server may have replied before it closed the connection
                self._wire.deadline = self._wire.deadline.at_most(_LAST_REPLY_SECONDS)
            meanwhile()
            return self._wire.reply()
        except KeyboardInterrupt as error:
            raise InterruptedAfterTheDotError from error
        except (OSError, WireError) as error:
            raise TransportError(
                Failure(Stage.DATA, Kind.CLOSED, self._server, detail="after the final dot", is_unknown=True)
            ) from error

    def _send_piece(self, piece: bytes) -> None:
        whole, self._wire.deadline = self._wire.deadline, self._wire.deadline.at_most(_BLOCK_SECONDS)
        self._wire.send(piece)
        self._wire.deadline = whole

    def _refuse_early_reply(self) -> None:
        """Raise TransportError for a refusal sent before the final dot, WireError for any other reply."""
        if self._wire.unread:
            self._is_out_of_step = True
            reply = self._wire.reply()
            if reply.code // 100 == _ACCEPTED:
                raise WireError(Kind.PROTOCOL_ERROR, str(reply))
            raise self._refusal(reply)

    def _raise_last_reply(self) -> None:
        """Raise TransportError with the reply that the server sent before it closed the connection, if any."""
        try:
            self._wire.deadline = self._wire.deadline.at_most(_LAST_REPLY_SECONDS)
            reply = self._wire.reply()
        except (OSError, WireError):
            return
        self._is_out_of_step = True
        raise self._refusal(reply)

    def _refusal(self, reply: Reply) -> TransportError:
        return TransportError(Failure(self._stage, Kind.REPLY, self._server, reply))

    def _failed(self, error: TransportError | OSError | WireError) -> TransportError:
        failure = error.failure if isinstance(error, TransportError) else _failure_of(error, self._stage, self._server)
        self._report(failure.stage, self._started, failure.detail, failure.reply, StageStatus.FAILED)
        return TransportError(failure, tuple(self._refused))


def _mail_parameters(wire: Wire, server: Server, envelope: Envelope, message: Message) -> str:
    """SIZE (RFC 1870), BODY=8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531), each only if needed and offered.

    Raises TransportError if the message is too large for the server or needs SMTPUTF8, which is not offered.
    """
    parameters = ""
    if "SIZE" in wire.extensions:
        limit = wire.extensions["SIZE"]
        if re.fullmatch("[0-9]{1,18}", limit) and 0 < int(limit) < message.size:
            raise TransportError(Failure(Stage.DATA, Kind.TOO_LARGE, server, detail=f"{message.size} > {limit}"))
        parameters += f" SIZE={message.size}"
    needs_utf8 = not (
        all(address.isascii() for address in (envelope.sender, *envelope.recipients)) and message.header.isascii()
    )
    if needs_utf8 and "SMTPUTF8" not in wire.extensions:
        raise TransportError(Failure(Stage.MAIL, Kind.SMTPUTF8_NOT_OFFERED, server))
    if "8BITMIME" in wire.extensions and not (message.is_ascii and message.header.isascii()):
        parameters += " BODY=8BITMIME"
    return parameters + (" SMTPUTF8" if needs_utf8 else "")


def _stuffed(message: Message) -> Iterator[bytes]:
    """The message, dot-stuffed (RFC 5321 section 4.5.2)."""
    is_line_start = True
    for chunk in readable(message.chunks()):
        piece = chunk.replace(b"\n.", b"\n..")
        yield b"." + piece if is_line_start and piece.startswith(b".") else piece
        is_line_start = chunk.endswith(b"\n") if chunk else is_line_start


def _is_temporary(failure: Failure) -> bool:
    return failure.reply is not None and failure.reply.is_temporary


def _failure_of(error: OSError | WireError, stage: Stage, server: Server) -> Failure:
    if isinstance(error, WireError):
        return Failure(stage, error.kind, server, detail=error.detail)
    return Failure(stage, Kind.TIMEOUT if isinstance(error, TimeoutError) else Kind.CLOSED, server)

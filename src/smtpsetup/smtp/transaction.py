"""Handing messages over on one connection, one after the other (RFC 5321 section 3.3).

For each: the envelope, its size, the message, and who was accepted.

Where the server offers PIPELINING (RFC 2920) an envelope goes out in one piece, and the next message's envelope right
behind the dot of the one before it, so that a message costs one round trip.
"""

from __future__ import annotations

import functools
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.core.errors import InterruptedAfterTheDotError, SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.failure import Failure, Kind, Refused, Reply, TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.message.delivery import Delivery, Outcome, readable
from smtpsetup.message.message import LINE_LIMIT
from smtpsetup.smtp.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.core.model import Server
    from smtpsetup.message.message import Envelope, Message
    from smtpsetup.net.dial import Deadline
    from smtpsetup.smtp.wire import Wire

    StageReport = Callable[[Stage, float, str, Reply | None, StageStatus], None]

_ACCEPTED = 2  # the first digit decides (RFC 5321 section 4.3.2)
_GO_AHEAD = 354
_CLOSING = 421
_LAST_WORDS_SECONDS = 2.0
_CHUNK = 65_536  # bytes
_WINDOW = 50  # commands without a reply between them, so that neither side's buffers fill up (RFC 2920 section 3.1)
_COMMAND_SECONDS = 300.0  # RFC 5321 section 4.5.3.2.2 for a command; here for an envelope
_REPLY_SECONDS = 900.0  # RFC 5321 section 4.5.3.2.6 gives the reply to the dot alone ten minutes
# RFC 5321 section 4.5.3.2.5, for a piece of the message: a path that swallows large packets is not waited for longer
_BLOCK_SECONDS = 180.0
_SECONDS_PER_MEGABYTE = 20.0  # a line of 400 kbit/s is slow, but it is no failure


def seconds_for(message: Message) -> float:
    """How long handing over a message may take."""
    return _REPLY_SECONDS + _SECONDS_PER_MEGABYTE * message.size / 1_000_000


def submit(  # noqa: PLR0913  what handing over depends on
    wire: Wire,
    server: Server,
    deliveries: Iterator[Delivery],
    report: StageReport,
    *,
    deadline_for: Callable[[Message], Deadline],
    lockstep: bool = False,
) -> Iterator[Outcome | TransportError]:
    """Send messages; what became of each, in order.

    A TransportError for one that nobody got while the connection goes on.

    The next deliveries are taken while one is sent, unless in `lockstep`, where every command waits for its reply.
    Raises TransportError when the connection cannot go on: it concerns the first delivery that was taken and has no
    outcome; those taken after it have not been sent. Raises SmtpsetupError for a message that cannot be read; then the
    connection must be closed.
    """
    window = 1 if lockstep or "PIPELINING" not in wire.extensions else _WINDOW
    is_reset_needed = False
    ahead = _Ahead(deliveries)
    current = _begun(wire, server, report, ahead.next(), window)
    while current is not None:
        wire.deadline = deadline_for(current.delivery.message)
        following = None
        outcome: Outcome | TransportError | None = current.negotiate(reset_first=is_reset_needed)
        is_reset_needed = outcome is not None
        if outcome is None:
            following = None if lockstep else _begun(wire, server, report, ahead.next(), window)
            outcome = current.hand_over(following if window > 1 else None, bool if lockstep else ahead.prepare)
        yield outcome
        current = following or _begun(wire, server, report, ahead.next(), window)


class _Ahead:
    """Deliveries, one of them got ready while the server is busy with another."""

    def __init__(self, deliveries: Iterator[Delivery]) -> None:
        self._deliveries = deliveries
        self._ready: Delivery | None = None
        self._error: Exception | None = None

    def prepare(self) -> None:
        """Get one ready.

        What goes wrong with that is raised when it is asked for: until then the server's answer counts.
        """
        try:
            self._ready = self._ready or next(self._deliveries, None)
        except Exception as error:  # noqa: BLE001  raised by `next`
            self._error = error

    def next(self) -> Delivery | None:
        """The next one, None when there are no more."""
        if self._error is not None:
            raise self._error
        delivery, self._ready = self._ready or next(self._deliveries, None), None
        return delivery


def _begun(wire: Wire, server: Server, report: StageReport, delivery: Delivery | None, window: int) -> _Exchange | None:
    return None if delivery is None else _Exchange(wire, server, report, delivery, window)


class _Exchange:
    """One message's envelope and content, and the replies to them."""

    def __init__(self, wire: Wire, server: Server, report: StageReport, delivery: Delivery, window: int) -> None:
        self.delivery = delivery
        self._wire = wire
        self._server = server
        self._report = report
        self._window = window
        self._commands: list[str] = []
        self._put = 0
        self._answered = 0
        self._accepted: list[str] = []
        self._refused: list[Refused] = []
        self._is_out_of_step = (
            False  # the server has answered in the midst of the message, and waits for nobody knows what
        )
        self._stage = Stage.MAIL
        self._started = 0.0

    def negotiate(self, *, reset_first: bool) -> TransportError | None:
        """Agree on the envelope; why nobody will get the message, or None.

        Raises TransportError when the connection cannot go on.
        """
        self._started = time.monotonic()
        whole, self._wire.deadline = self._wire.deadline, self._wire.deadline.at_most(_COMMAND_SECONDS)
        try:
            if not self._commands:
                self._commands = [*(["RSET"] if reset_first else []), *self._envelope()]
            if self._commands[0] == "RSET":
                self._reply()
            self._agree()
        except (TransportError, OSError, WireError) as error:
            failed = self._failed(error)
            reply = failed.failure.reply
            if isinstance(error, TransportError) and not (reply and reply.code == _CLOSING):
                return failed
            raise failed from error
        finally:
            self._wire.deadline = whole
        return None

    def hand_over(self, following: _Exchange | None, meanwhile: Callable[[], object]) -> Outcome | TransportError:
        """Send the content, and the envelope of the message `following` it; what the server said.

        Raises TransportError as `negotiate`.

        `meanwhile` is called while the server is busy with it.
        """
        self._started, self._stage = time.monotonic(), Stage.DATA
        try:
            reply = self._content(following, meanwhile)
            self._require_accepted(reply)
            self._note_accepted()
        except (TransportError, OSError, WireError) as error:
            failed = self._failed(error)
            told = failed.failure.reply
            if isinstance(error, TransportError) and told and told.code != _CLOSING and not self._is_out_of_step:
                return failed
            raise failed from error
        self._report(Stage.DATA, self._started, f"{self.delivery.message.size} bytes", reply, StageStatus.OK)
        return Outcome(tuple(self._accepted), tuple(self._refused), reply)

    def _note_accepted(self) -> None:
        taken = _("The server has taken this mail, but that could not be noted. It may be sent once more.")
        in_batch = _("In a batch, hold it back: run it again with `--on-unknown hold`.")
        in_outbox = _("In the outbox, drop it: `smtpsetup outbox list` has its number.")
        refused = tuple(entry.address for entry in self._refused)
        note = functools.partial(self.delivery.accepted_without, refused) if refused else self.delivery.accepted
        self._noted(note, taken, in_batch, in_outbox)

    def _require_accepted(self, reply: Reply) -> None:
        if reply.code // 100 != _ACCEPTED:
            self._noted(
                self.delivery.not_accepted, _("The server has refused this mail, and said: {reply}").format(reply=reply)
            )
            raise TransportError(Failure(Stage.DATA, Kind.REPLY, self._server, reply))

    def _envelope(self) -> list[str]:
        envelope, message = self.delivery.envelope, self.delivery.message
        if any(len(line) > LINE_LIMIT for line in message.header.split(b"\r\n")):
            raise TransportError(Failure(Stage.DATA, Kind.LINE_TOO_LONG, self._server))
        parameters = _mail_parameters(self._wire, self._server, envelope, message)
        recipients = (f"RCPT TO:<{recipient}>" for recipient in envelope.recipients)
        return [f"MAIL FROM:<{envelope.sender}>{parameters}", *recipients, "DATA"]

    def _ahead(self) -> bytes:
        """The envelope's first lines, to be sent before the message in front has its reply.

        What is wrong with it is told when its turn comes.
        """
        try:
            self._commands = self._envelope()
        except TransportError:
            return b""
        return self._window_lines()

    def _window_lines(self) -> bytes:
        commands = self._commands[self._put : self._put + self._window]
        self._put += len(commands)
        return self._wire.lines(commands)

    def _reply(self) -> Reply:
        """The reply to the next command, which is sent now if it was not."""
        if self._answered == self._put:
            self._wire.send(self._window_lines())
        self._answered += 1
        return self._wire.reply()

    def _agree(self) -> None:
        envelope = self.delivery.envelope
        reply = self._reply()
        if reply.code // 100 != _ACCEPTED:
            if reply.code != _CLOSING:
                self._take_back()
            raise TransportError(Failure(self._stage, Kind.REPLY, self._server, reply))
        self._report(self._stage, self._started, envelope.sender, reply, StageStatus.OK)
        self._started, self._stage = time.monotonic(), Stage.RCPT
        for recipient in envelope.recipients:
            self._ask_for(recipient)
        if not self._accepted:
            self._take_back()
            # one that may pass is told first: then trying again is right
            raise TransportError(
                next((entry.failure for entry in self._refused if _may_pass(entry)), self._refused[0].failure)
            )
        status = StageStatus.WARNING if self._refused else StageStatus.OK
        self._report(
            self._stage,
            self._started,
            ", ".join(self._accepted),
            self._refused[0].failure.reply if self._refused else None,
            status,
        )
        self._started, self._stage = time.monotonic(), Stage.DATA
        reply = self._reply()
        if reply.code != _GO_AHEAD:
            raise TransportError(Failure(Stage.DATA, Kind.REPLY, self._server, reply))

    def _ask_for(self, recipient: str) -> None:
        reply = self._reply()
        if reply.code // 100 == _ACCEPTED:
            self._accepted.append(recipient)
            return
        failure = Failure(Stage.RCPT, Kind.REPLY, self._server, reply)
        self._refused.append(Refused(recipient, failure))
        if reply.code == _CLOSING:
            raise TransportError(failure)

    def _take_back(self) -> None:
        """Read what was still to be answered.

        A server that wants the content of a message without recipients gets an empty one (RFC 2920 section 3.1).
        """
        with suppress(OSError, WireError):  # who hangs up now has said already what counts; the next message notices
            while self._answered < self._put:
                is_data = self._answered == len(self._commands) - 1
                reply = self._reply()
                if is_data and reply.code == _GO_AHEAD:
                    self._wire.command(".")

    def _content(self, following: _Exchange | None, meanwhile: Callable[[], object]) -> Reply:
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
                self._told_in_time()
                raise WireError(Kind.CLOSED) from error
            held = piece
        end = held + (b".\r\n" if held.endswith(b"\n") else b"\r\n.\r\n")
        end += following._ahead() if following else b""  # noqa: SLF001  another of the same class
        self._refuse_early_reply()
        self._noted(self.delivery.before_dot, _("The mail was not sent."))
        try:
            try:
                self._wire.send(end)
            except OSError:
                # it may have answered before it hung up
                self._wire.deadline = self._wire.deadline.at_most(_LAST_WORDS_SECONDS)
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
        """A server that answers before it has the whole message has refused it, or counts its replies wrongly.

        Raises TransportError, WireError.
        """
        if self._wire.unread:
            self._is_out_of_step = True
            reply = self._wire.reply()
            if reply.code // 100 == _ACCEPTED:
                raise WireError(Kind.PROTOCOL_ERROR, str(reply))
            raise TransportError(Failure(Stage.DATA, Kind.REPLY, self._server, reply))

    def _noted(self, note: Callable[[], object], state: str, *hints: str) -> None:
        """Let the caller write down what is about to happen or has happened; `state` says what that is to people.

        Raises SmtpsetupError.

        Where it cannot be written that a message may arrive from now on, it must not.
        """
        try:
            note()
        except OSError as error:
            raise SmtpsetupError(
                "config.invalid",
                _("{path} cannot be written: {reason}.").format(path=error.filename, reason=reason_of(error)),
                causes=(state,),
                hints=(_("Check the free space and the permissions there."), *hints),
                exit_code=EX_IOERR,
            ) from error

    def _told_in_time(self) -> None:
        """Raise TransportError with what a server said, if anything, before it hung up amid the message."""
        try:
            self._wire.deadline = self._wire.deadline.at_most(_LAST_WORDS_SECONDS)
            reply = self._wire.reply()
        except (OSError, WireError):
            return
        self._is_out_of_step = True
        raise TransportError(Failure(Stage.DATA, Kind.REPLY, self._server, reply))

    def _failed(self, error: TransportError | OSError | WireError) -> TransportError:
        failure = error.failure if isinstance(error, TransportError) else _lost(error, self._stage, self._server)
        self._report(failure.stage, self._started, failure.detail, failure.reply, StageStatus.FAILED)
        return TransportError(failure, tuple(self._refused))


def _mail_parameters(wire: Wire, server: Server, envelope: Envelope, message: Message) -> str:
    """SIZE (RFC 1870), BODY=8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531), each only where it is needed and offered."""
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
    """The message with a second dot before each line that starts with one (RFC 5321 section 4.5.2)."""
    is_line_start = True
    for chunk in readable(message.chunks()):
        piece = chunk.replace(b"\n.", b"\n..")
        yield b"." + piece if is_line_start and piece.startswith(b".") else piece
        is_line_start = chunk.endswith(b"\n") if chunk else is_line_start


def _may_pass(entry: Refused) -> bool:
    return entry.failure.reply is not None and entry.failure.reply.is_temporary


def _lost(error: OSError | WireError, stage: Stage, server: Server) -> Failure:
    if isinstance(error, WireError):
        return Failure(stage, error.kind, server, detail=error.detail)
    return Failure(stage, Kind.TIMEOUT if isinstance(error, TimeoutError) else Kind.CLOSED, server)

"""What every transport takes and returns: a message with its envelope, and how the server answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import ExplainedOSError, SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.core.failure import Refused, Reply
    from smtpsetup.message.message import Envelope, Message


class Delivery(NamedTuple):
    """A message to deliver; `key` is whatever the caller identifies it by.

    The transport calls `before_dot` just before the server can accept the message. By the server's reply it then calls
    `accepted` (for all recipients), `accepted_without` (for all but these) or `not_accepted`. Where no reply comes,
    none of the three is called.
    """

    envelope: Envelope
    message: Message
    message_id: str = ""
    subject: str = ""
    key: object = None
    before_dot: Callable[[], object] = bool  # does nothing, as in the next three
    accepted: Callable[[], object] = bool
    not_accepted: Callable[[], object] = bool
    accepted_without: Callable[[tuple[str, ...]], object] = bool


def note_last_bytes(delivery: Delivery) -> None:
    """Call `before_dot`. Raises SmtpsetupError where the state cannot be written: then the mail must not be sent."""
    _note(delivery.before_dot, _("The mail was not sent."))


def note_accepted(delivery: Delivery, refused: tuple[str, ...] = ()) -> None:
    """Call `accepted`, or `accepted_without` those that were refused. Raises SmtpsetupError as `note_last_bytes`."""
    _note(
        (lambda: delivery.accepted_without(refused)) if refused else delivery.accepted,
        _("The server has taken this mail, but that could not be noted. It may be sent once more."),
        _("In a batch, hold it back: run it again with `--on-unknown hold`."),
        _("In the outbox, drop it: `smtpsetup outbox list` has its number."),
    )


def note_refused(delivery: Delivery, reply: Reply) -> None:
    """Call `not_accepted`. Raises SmtpsetupError as `note_last_bytes`."""
    _note(delivery.not_accepted, _("The server has refused this mail, and said: {reply}").format(reply=reply))


def _note(write: Callable[[], object], state: str, *hints: str) -> None:
    """Write a delivery's state to disk. `state` describes it to people in the SmtpsetupError if that fails."""
    try:
        write()
    except ExplainedOSError as error:
        told = error.explained()
        told.causes = (state, *told.causes)
        raise told from error
    except OSError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("{path} cannot be written: {reason}.").format(path=error.filename, reason=reason_of(error)),
            causes=(state,),
            hints=(_("Check the free space and the permissions there."), *hints),
            exit_code=EX_IOERR,
        ) from error


class Outcome(NamedTuple):
    """The recipients that were accepted and refused, and the server's reply to the message."""

    accepted: tuple[str, ...]
    refused: tuple[Refused, ...]
    reply: Reply


class UnreadableMessageError(SmtpsetupError):
    """A file of the message could not be read while it was sent: it was not sent, and the session must be closed."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            "config.invalid",
            _("{path} could not be read while it was sent: {reason}.").format(
                path=error.filename, reason=reason_of(error)
            ),
            hints=(_("The mail was not sent. Send it again."),),
            exit_code=EX_IOERR,
        )


def readable(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks. Raises UnreadableMessageError for an OSError of reading, to tell it from one of the connection."""
    try:
        yield from chunks
    except OSError as error:
        raise UnreadableMessageError(error) from error

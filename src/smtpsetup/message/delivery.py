"""What every transport takes and returns: a message with its envelope, and how the server answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import SmtpsetupError, reason_of
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

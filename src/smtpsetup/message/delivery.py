"""A message on its way, and what became of it: what every way to send takes and gives."""

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
    """A message on its way; `key` is whatever the caller knows it by.

    `before_dot` is called just before the server can accept it; then `accepted` when it has said that it did, for
    everybody, `accepted_without` when it did for all but those recipients, or `not_accepted` when it has said that it
    did not.
    """

    envelope: Envelope
    message: Message
    message_id: str = ""
    subject: str = ""
    key: object = None
    before_dot: Callable[[], object] = bool
    accepted: Callable[[], object] = bool
    not_accepted: Callable[[], object] = bool
    accepted_without: Callable[[tuple[str, ...]], object] = bool


class Outcome(NamedTuple):
    """Who was accepted, who was refused, and the server's reply to the message."""

    accepted: tuple[str, ...]
    refused: tuple[Refused, ...]
    reply: Reply


class UnreadableMessageError(SmtpsetupError):
    """A file of the message could not be read while it was sent.

    The message was not sent, and the connection is of no more use.
    """

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
    """The chunks; a file behind them that cannot be read is told apart from a connection that is lost."""
    try:
        yield from chunks
    except OSError as error:
        raise UnreadableMessageError(error) from error

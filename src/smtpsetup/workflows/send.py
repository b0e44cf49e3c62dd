"""One mail from a script to its recipients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.diagnosis import diagnose
from smtpsetup.errors import EX_NOUSER, EX_TEMPFAIL, SmtpsetupError
from smtpsetup.failure import TransportError
from smtpsetup.i18n import gettext as _
from smtpsetup.model import Auth
from smtpsetup.workflows.connection import session_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.account import Account
    from smtpsetup.failure import Refused, Reply
    from smtpsetup.model import Secret
    from smtpsetup.providers import Provider
    from smtpsetup.transport.submit import Envelope

_DEADLINE_SECONDS = 900.0  # RFC 5321 section 4.5.3.2.6 gives the reply to the dot alone ten minutes
_SECONDS_PER_MEGABYTE = 20.0  # a line of 400 kbit/s is slow, but it is no failure


@dataclass(frozen=True, slots=True)
class RefusedRecipient:
    """A recipient that was not accepted and why."""

    address: str
    error: SmtpsetupError


@dataclass(frozen=True, slots=True)
class SendResult:
    """Who got the message. `error` is None when everyone did."""

    account: str
    message_id: str
    accepted: tuple[str, ...]
    refused: tuple[RefusedRecipient, ...]
    reply: Reply | None
    error: SmtpsetupError | None


def send(  # noqa: PLR0913  what sending depends on, all keywords
    account: Account,
    secret: Secret | None,
    *,
    envelope: Envelope,
    message: bytes,
    message_id: str,
    find_provider: Callable[[], Provider | None],
    trace: Callable[[str], None] | None = None,
) -> SendResult:
    """Hand one message to the account's server. `find_provider` is asked only when something fails, so that success pays nothing for it."""
    seconds = _DEADLINE_SECONDS + _SECONDS_PER_MEGABYTE * len(message) / 1_000_000
    try:
        with session_for(account, seconds=seconds, trace=trace) as session:
            session.open()
            if account.auth is not Auth.NONE and secret is not None:
                session.log_in(account.username, secret)
            outcome = session.send(envelope, message)
    except TransportError as failed:
        provider = find_provider()
        error = diagnose(failed.failure, account, provider)
        refused = _explained(failed.refused, account, provider)
        if len(refused) == len(envelope.recipients) and error.code.startswith(("rcpt.", "server.")) and error.exit_code != EX_TEMPFAIL:
            error.exit_code = EX_NOUSER  # whatever the reason: every recipient was refused for good
        return SendResult(account.name, message_id, (), refused, failed.failure.reply, error)
    refused = _explained(outcome.refused, account, find_provider()) if outcome.refused else ()
    partly = _partly_refused(refused) if refused else None
    return SendResult(account.name, message_id, outcome.accepted, refused, outcome.reply, partly)


def _explained(refused: tuple[Refused, ...], account: Account, provider: Provider | None) -> tuple[RefusedRecipient, ...]:
    return tuple(RefusedRecipient(entry.address, diagnose(entry.failure, account, provider)) for entry in refused)


def _partly_refused(refused: tuple[RefusedRecipient, ...]) -> SmtpsetupError:
    """Some got it and some did not: 67 where one of them never will (CONTRACT section 4), else 75."""
    for_good = [entry for entry in refused if entry.error.exit_code != EX_TEMPFAIL]
    first = (for_good or list(refused))[0].error
    names = ", ".join(entry.address for entry in refused)
    return SmtpsetupError(
        first.code,
        _("The message was sent, but not to {names}.").format(names=names),
        causes=(first.message, *first.causes),
        hints=(*first.hints, _("Send it again to those recipients only; the others have it.")),
        url=first.url,
        exit_code=EX_NOUSER if for_good else EX_TEMPFAIL,
        failure=first.failure,
    )

"""Sending one mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_NOUSER, EX_TEMPFAIL
from smtpsetup.core.failure import TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.sending.login import logged_in

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.failure import Refused, Reply
    from smtpsetup.core.model import Secret
    from smtpsetup.message.delivery import Delivery, Outcome
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.context import Context

_OPENING_SECONDS = 120.0  # for everything before the message


class RefusedRecipient(NamedTuple):
    """A recipient that was refused, and why."""

    address: str
    error: SmtpsetupError


class SendResult(NamedTuple):
    """The result of sending a message with the account of that name.

    `error` is None when every recipient was accepted, or will get it by way of the outbox; `outbox_id` is the mail's
    number there, and `postponed_by` the reason. `away` is why it is in the outbox of this machine, and not in the
    shared one.
    """

    account: str
    message_id: str
    accepted: tuple[str, ...] = ()
    refused: tuple[RefusedRecipient, ...] = ()
    reply: Reply | None = None
    error: SmtpsetupError | None = None
    outbox_id: int | None = None
    postponed_by: SmtpsetupError | None = None
    away: SmtpsetupError | None = None


def send(context: Context, secret: Secret | None, delivery: Delivery) -> SendResult:
    """Send one message through the account's server.

    Raises SmtpsetupError where the account's settings cannot be used or the message cannot be read.
    """
    try:
        with logged_in(context, secret, seconds=_OPENING_SECONDS) as session:
            outcome = session.deliver(delivery)
    except TransportError as error:
        return failed(context, delivery, error)
    return result_of(context, delivery, outcome)


def failed(context: Context, delivery: Delivery, failure: TransportError) -> SendResult:
    """The result for a message that no recipient got."""
    from smtpsetup.diagnosis.diagnose import diagnose  # only for failures

    account, provider = context.account, context.find_provider()
    recipients = delivery.envelope.recipients
    recipient = recipients[0] if len(recipients) == 1 else ""
    sender = delivery.envelope.sender
    error = diagnose(failure.failure, account, provider, sender=sender, recipient=recipient)
    refused = _explained(failure.refused, account, provider)
    if error.exit_code == EX_NOUSER:  # only where that is true of every recipient
        error.exit_code = next(
            (entry.error.exit_code for entry in refused if entry.error.exit_code != EX_NOUSER), EX_NOUSER
        )
    return SendResult(account.name, delivery.message_id, (), refused, failure.failure.reply, error)


def result_of(context: Context, delivery: Delivery, outcome: Outcome) -> SendResult:
    """The result for a message that at least one recipient got."""
    account = context.account
    refused = _explained(outcome.refused, account, context.find_provider()) if outcome.refused else ()
    partly = _partly_refused(refused) if refused else None
    return SendResult(account.name, delivery.message_id, outcome.accepted, refused, outcome.reply, partly)


def _explained(
    refused: tuple[Refused, ...], account: Account, provider: Provider | None
) -> tuple[RefusedRecipient, ...]:
    from smtpsetup.diagnosis.diagnose import diagnose  # as above

    return tuple(
        RefusedRecipient(entry.address, diagnose(entry.failure, account, provider, recipient=entry.address))
        for entry in refused
    )


def _partly_refused(refused: tuple[RefusedRecipient, ...]) -> SmtpsetupError:
    """The error for a message that some recipients got: exit code 67 where one was refused permanently, else 75."""
    for_good = [entry for entry in refused if entry.error.exit_code != EX_TEMPFAIL]
    first = (for_good or list(refused))[0].error
    names = ", ".join(entry.address for entry in refused)
    return SmtpsetupError(
        first.code,
        _("The message was sent, but not to {names}.").format(names=names),
        causes=(first.message, *first.causes),
        hints=(_("Send it again to those recipients only; the others have it."), *first.hints),
        url=first.url,
        exit_code=EX_NOUSER if for_good else EX_TEMPFAIL,
        failure=first.failure,
    )

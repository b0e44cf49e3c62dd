"""Sending the mail of an account with another one, when the first cannot send for good (`fallback` in config.toml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.address.address_list import understood
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.message.compose import Mailbox, parse_mailboxes, written
from smtpsetup.message.field_values import display_name
from smtpsetup.message.message import Envelope
from smtpsetup.message.raw_header import Field, as_bytes, raw_fields, values
from smtpsetup.outbox.disposition import concerns_account

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.message.delivery import Delivery

_REPLACED = ("from", "sender")


def is_for_fallback(account: Account, error: SmtpsetupError) -> bool:
    """Whether another account is to send: the error is one of the account, and does not pass by itself."""
    return bool(account.fallback) and error.exit_code != EX_TEMPFAIL and concerns_account(error)


def sent_by(delivery: Delivery, other: Account) -> Delivery:
    """A delivery as mail of another account: From is its address, and answers go to the one that was there before."""
    fields = raw_fields(delivery.message.header)
    parsed = [field for field, _raw in fields if field]
    before = next(iter(values(parsed, "from")), "")
    entry = next((entry for entry in understood(before)[0] if entry), None)
    name = other.from_name or (display_name(entry.name) if entry else "")
    mailbox = Mailbox(name, parse_mailboxes(other.address)[0].address)
    header = [as_bytes([Field("From", written(mailbox).replace("\r\n ", " "))]).removesuffix(b"\r\n")]
    if before and not values(parsed, "reply-to"):
        header += [b"Reply-To:" + raw.partition(b":")[2] for field, raw in fields if field and field.key == "from"][:1]
    header += [raw for field, raw in fields if field is None or field.key not in _REPLACED]
    envelope = delivery.envelope
    sender = mailbox.address.wire if envelope.sender else ""  # a notice has no sender
    message = delivery.message._replace(header=b"".join(header) + b"\r\n")
    return delivery._replace(envelope=Envelope(sender, envelope.recipients), message=message)

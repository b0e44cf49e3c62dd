"""The failure notice: a mail to the account itself about one that was given up."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.core.i18n import gettext as _
from smtpsetup.message.compose import Draft, Mailbox, compose, new_message_id
from smtpsetup.message.field_values import without_controls
from smtpsetup.message.message import Envelope
from smtpsetup.outbox.mail import Mail, NewMail

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError

_LONGEST_SUBJECT = 200  # characters: a mail of the relay or sendmail may have a longer one, and no line can hold it


def report_of(account: Account, mail: Mail, recipients: tuple[str, ...], error: SmtpsetupError) -> NewMail:
    """The notice that says which mail was not delivered, to whom and why."""
    own = Mailbox(account.from_name, parse_address(account.address))
    shown = without_controls(mail.subject)
    shown = shown if len(shown) <= _LONGEST_SUBJECT else f"{shown[:_LONGEST_SUBJECT]}…"
    subject = _("Not delivered: {subject}").format(subject=shown)
    text = _(
        "A mail could not be delivered.\n\nTo: {recipients}\nSubject: {subject}\nMessage-ID: "
        "{message_id}\n\n{reason}\n\n{reply}\n\n"
        "It is kept in the outbox: `smtpsetup outbox show {number}`, `retry {number}` or `drop {number}`.\n"
    ).format(
        recipients=", ".join(recipients),
        subject=shown,
        message_id=mail.message_id,
        reason=error.message,
        reply=error.failure.reply if error.failure and error.failure.reply else "",
        number=mail.id,
    )
    if mail.client:
        text += _("The program {client} handed it over to the relay.\n").format(client=mail.client)
    # so that no automatic answer comes (RFC 3834 section 5)
    draft = Draft(own, to=(own,), subject=subject, text=text, headers=(("Auto-Submitted", "auto-replied"),))
    message_id = new_message_id(own.address.domain)
    message = compose(draft, now=datetime.datetime.now(datetime.UTC).astimezone(), message_id=message_id)
    return NewMail(
        account.name,
        Envelope(own.address.wire, (own.address.wire,)),
        message,
        message_id,
        subject,
        is_report=True,
        config=mail.config,
    )

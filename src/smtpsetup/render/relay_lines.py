"""A line for each thing that happens in a running relay. Without rich: there may be hundreds a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import plain_text

if TYPE_CHECKING:
    from smtpsetup.outbox.mail import Mail, NewMail
    from smtpsetup.sending.send_one import SendResult


def taken(number: int, mail: NewMail) -> str:
    """A mail is in the outbox."""
    text = _("mail {number} from {client}: {sender} to {recipients}, {size} bytes, is in the outbox")
    sender, recipients = mail.envelope.sender or "<>", ", ".join(mail.envelope.recipients)
    return _line(
        text.format(number=number, client=mail.client, sender=sender, recipients=recipients, size=mail.message.size)
    )


def result(mail: Mail, result: SendResult) -> str:
    """A mail was tried."""
    if result.error is None:
        return _line(_("mail {number} is sent: {reply}").format(number=mail.id, reply=result.reply or ""))
    text = _("mail {number} is not sent: {reason} ({code})")
    return _line(text.format(number=mail.id, reason=result.error.reply_or_message, code=result.error.code))


def wrong_login(name: str, address: str, *, is_last: bool) -> str:
    """A login was wrong; `is_last` if the address has to wait now."""
    if is_last:
        return _line(_("too many wrong logins from {address}: it has to wait a minute").format(address=address))
    if not name:
        return _line(_("wrong login from {address}, with a user name that is no client").format(address=address))
    return _line(_("wrong login from {address} as {name}").format(address=address, name=name))


def refused(client: str, reply: str) -> str:
    """A client got this reply instead of 250."""
    text = " ".join(reply.split())
    return _line(_("{client} was refused: {reply}").format(client=client, reply=_(text)))


def refused_tls(address: str, reason: str) -> str:
    """A client began TLS and did not go through with it: mostly it does not trust the certificate."""
    text = _(
        "{address} did not accept the relay's certificate ({reason}): let the program accept it, or switch its check "
        "off"
    )
    return _line(text.format(address=address, reason=reason))


def dropped(number: int) -> str:
    """So many lines could not be written, since nobody read them."""
    return _line(ngettext("{n} line was left out here", "{n} lines were left out here", number).format(n=number))


def trouble(text: str) -> str:
    """Something is wrong that is not about one mail."""
    return _line(text)


def _line(text: str) -> str:
    return plain_text(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

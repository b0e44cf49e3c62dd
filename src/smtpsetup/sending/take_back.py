"""What is done with the outbox before mail is sent from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.sending.send_one import SendResult

if TYPE_CHECKING:
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.sending.flushed import Flushed


def take_back(outbox: Outbox, done: Flushed) -> None:
    """Take back the mails of processes that have ended, and set damaged ones aside. Raises as `flush`."""
    outbox.revive(time.time())
    for mail in outbox.damaged_due(time.time()):
        set_aside(outbox, mail, done)


def set_aside(outbox: Outbox, mail: Mail, done: Flushed) -> None:
    """Keep a damaged mail for a person, and report it."""
    damaged = SmtpsetupError(
        "outbox.damaged",
        _("Mail {number} in the outbox is damaged and is not sent.").format(number=mail.id),
        hints=(
            _(
                "See what is left of it: `smtpsetup outbox show {number}`. Then run `smtpsetup outbox repair` or "
                "`smtpsetup outbox drop {number}`."
            ).format(number=mail.id),
        ),
    )
    outbox.set_aside(mail.id, damaged.message)
    done.failed += 1
    done.errors[f"{mail.account} {mail.id}"] = damaged
    done.add(mail, SendResult(mail.account, mail.message_id, error=damaged))

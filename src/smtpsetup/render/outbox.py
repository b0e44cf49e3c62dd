"""The outbox as people read it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smtpsetup.i18n import gettext as _
from smtpsetup.i18n import ngettext
from smtpsetup.model import plain_text
from smtpsetup.outbox import State
from smtpsetup.render.human import fields, note, prose, say, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.outbox import Mail
    from smtpsetup.workflows.flush import Flushed
    from smtpsetup.workflows.send import SendResult


def mails(listed: list[Mail]) -> None:
    """`outbox list`."""
    if not listed:
        say(_("The outbox is empty."))
        return
    table = Table(box=None, pad_edge=False)
    for title in (_("No."), _("State"), _("Next attempt"), _("To"), _("Subject")):
        table.add_column(title, overflow="fold", header_style="dim")
    for mail in listed:
        others = len(mail.recipients) - 1
        to = mail.recipients[0] if mail.recipients else ""
        more = " " + ngettext("and {n} other", "and {n} others", others).format(n=others) if others else ""
        table.add_row(str(mail.id), _state(mail), _when(mail), Text(plain_text(to + more)), Text(plain_text(mail.subject)))
    show(table)


def mail(one: Mail, header: str) -> None:
    """`outbox show`."""
    rows: list[tuple[str, RenderableType]] = [
        (_("State"), _state(one)),
        (_("Account"), Text(plain_text(one.account))),
        (_("From"), Text(plain_text(one.sender))),
        (_("To"), Text(plain_text(", ".join(one.recipients)))),
        (_("Subject"), Text(plain_text(one.subject))),
        (_("Message-ID"), Text(plain_text(one.message_id))),
        (_("Size"), _("{n} bytes").format(n=one.size)),
        (_("In the outbox since"), _local(one.queued_at)),
        (_("Attempts"), str(one.attempts)),
        (_("Next attempt"), _when(one)),
    ]
    if one.last_reply:
        rows.append((_("Last reply"), Text(_lines(one.last_reply))))
    parts: list[RenderableType] = [fields(rows)]
    if one.state is State.UNKNOWN:
        parts.append(prose(_("The server got the whole mail, but its answer was lost: it may have arrived. Ask the recipient before `retry`.")))
    show(Group(*parts, Text(), Text(_lines(header), style="dim")))


def flushed(done: Flushed) -> None:
    """The end of `outbox flush` at a terminal."""
    if not (done.sent or done.waiting or done.unknown or done.failed or done.errors):
        say(_("Nothing in the outbox is due now."))
        return
    say(_("Sent: {sent}. Still waiting: {waiting}. Perhaps arrived: {unknown}. Given up: {failed}.").format(**counts(done)))


def counts(done: Flushed) -> dict[str, int]:
    """The totals of a flush."""
    return {"sent": done.sent, "waiting": done.waiting, "unknown": done.unknown, "failed": done.failed}


def refused(one: Mail, result: SendResult) -> None:
    """A mail of the outbox that will not arrive."""
    if result.error:
        text = _("Mail {number} to {names} was refused for good: {reason}")
        note(text.format(number=one.id, names=", ".join(one.recipients), reason=result.error.message))


def _lines(text: str) -> str:
    return "\n".join(plain_text(line) for line in text.split("\n"))


def _state(one: Mail) -> str:
    return {
        State.WAITING: _("waiting"),
        State.SENDING: _("being sent"),
        State.UNKNOWN: _("perhaps arrived"),
        State.FAILED: _("given up"),
    }[one.state]


def _when(one: Mail) -> str:
    if one.state is State.SENDING:
        return _("now")
    return _("never, unless you say so") if one.next_attempt is None else _local(one.next_attempt)


def _local(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")

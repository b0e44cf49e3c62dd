"""The outbox, for people."""

from __future__ import annotations

import datetime
import re
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import plain_text
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.render.human import console, fields, note, say, show
from smtpsetup.render.prose import Prose, print_lines, prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.summary import SentMail, Summary
    from smtpsetup.sending.flushed import Flushed
    from smtpsetup.sending.send_one import SendResult

_A_MINUTE, _AN_HOUR = 60, 3600  # seconds


def mails(listed: list[Mail]) -> None:
    """Print the result of `outbox list`."""
    if not listed:
        say(_("The outbox is empty."))
        return
    table = Table(box=None, pad_edge=False)
    for title in (_("No."), _("State"), _("Next attempt"), _("To"), _("Subject")):
        table.add_column(title, overflow="fold", header_style="dim")
    for mail in listed:
        others = len(mail.recipients) - 1
        to = mail.recipients[0] if mail.recipients else ""
        more = " " + ngettext("and {n} other", "and {n} others", others).format(n=others) if others > 0 else ""
        table.add_row(
            str(mail.id), _state(mail), _when(mail), Text(plain_text(to + more)), Text(plain_text(mail.subject))
        )
    show(table)


def sent(listed: list[SentMail]) -> None:
    """Print the result of `outbox list --sent`."""
    if not listed:
        say(_("No sent mail is kept."))
        return
    table = Table(box=None, pad_edge=False)
    for title in (_("No."), _("Sent"), _("To"), _("Subject")):
        table.add_column(title, overflow="fold", header_style="dim")
    for mail in listed:
        to = ", ".join(mail.recipients)
        table.add_row(str(mail.id), _local(mail.sent_at), Text(plain_text(to)), Text(plain_text(mail.subject)))
    show(table)


def summary(found: Summary) -> None:
    """Print the result of `outbox status`: what waits in one line, then what is put off or failed, and why."""
    waiting = found.count("waiting") + found.count("sending")
    parts = [ngettext("{n} mail waits", "{n} mails wait", waiting).format(n=waiting)]
    for state, text in ((MailState.UNKNOWN, _("{n} unknown")), (MailState.FAILED, _("{n} failed"))):
        if n := found.count(state):
            parts.append(text.format(n=n))
    parts.append(ngettext("{n} sent in the last minute", "{n} sent in the last minute", found.per_minute))
    parts.append(ngettext("{n} worker", "{n} workers", found.workers).format(n=found.workers))
    if waiting and found.seconds_left is not None:
        parts.append(_("about {time} left").format(time=_duration(found.seconds_left)))
    say(", ".join(parts).format(n=found.per_minute) + ".")
    for one in found.counts:
        if one.code:
            text = _("{n} {state} because of {code}: `smtpsetup explain {code}`")
            say(text.format(n=one.number, state=_state_name(MailState(one.state)), code=one.code))

    for held in found.held:
        text = _("{host} does not send for {account} until {time}: {reason} ({code})")
        shown = plain_text(held.reply)
        say(
            text.format(
                host=plain_text(held.host), account=held.account, time=_local(held.until), reason=shown, code=held.code
            )
        )


def _duration(seconds: float) -> str:
    """A time in hours, minutes and seconds, roughly."""
    if seconds < _A_MINUTE:
        return _("{n} s").format(n=round(seconds))
    if seconds < _AN_HOUR:
        return _("{n} min").format(n=round(seconds / _A_MINUTE))
    return _("{n} h").format(n=round(seconds / _AN_HOUR))


def mail(one: Mail, header: str) -> None:
    """Print the result of `outbox show`."""
    rows: list[tuple[str, RenderableType | None]] = [
        (_("State"), _state(one)),
        (_("Account"), Text(plain_text(one.account))),
        (_("Client of the relay"), Text(plain_text(one.client)) if one.client else None),
        (_("From"), Text(plain_text(one.sender))),
        (_("To"), Text(plain_text(", ".join(one.recipients)))),
        (_("Subject"), Text(plain_text(one.subject))),
        (_("Message-ID"), Text(plain_text(one.message_id))),
        (_("Size"), _("{n} bytes").format(n=one.size)),
        (_("In the outbox since"), _local(one.queued_at)),
        (_("Attempts"), str(one.attempts)),
        (_("Next attempt"), _when(one)),
        (_("Last reply"), Text(_lines(one.last_reply)) if one.last_reply else None),
    ]
    show(fields(rows))
    if one.state is MailState.UNKNOWN:
        text = _(
            "The server got the whole mail, but its answer was lost: it may have arrived. Ask the recipient before "
            "`retry`."
        )
        show(prose(text))
    show(Text())
    for line in _readable(header):
        print_lines(console(), Prose(line, style="dim"), hang=4)


def flushed(done: Flushed, left: list[Mail], waiting: int | None = None) -> None:
    """Print the result of `outbox flush`, at a terminal. `left` are all mails that are in the outbox now.

    Where there may be too many of them, `waiting` is the number of those that wait.
    """
    if done.sent or done.waiting or done.unknown or done.failed or done.errors:
        if waiting is None:
            waiting = sum(mail.state is MailState.WAITING for mail in left)
        text = _("Sent: {sent}. Still waiting: {waiting}. Perhaps arrived: {unknown}. Given up: {failed}.")
        say(text.format(**{**counts(done), "waiting": waiting}))
        return
    attempts = [mail.next_attempt for mail in left if mail.next_attempt is not None]
    if not attempts:
        say(_("Nothing in the outbox is due now."))
        return
    text = ngettext(
        "Nothing is due now. {n} mail waits until {time}.",
        "Nothing is due now. {n} mails wait, the next one until {time}.",
        len(attempts),
    )
    say(text.format(n=len(attempts), time=_local(min(attempts))))


def counts(done: Flushed) -> dict[str, int]:
    """The totals of a flush, by their keys in JSON."""
    return {"sent": done.sent, "waiting": done.waiting, "unknown": done.unknown, "failed": done.failed}


def refused(one: Mail, result: SendResult) -> None:
    """Print that a mail of the outbox was refused for good."""
    if result.error:
        text = _("Mail {number} to {names} was refused for good: {reason}")
        note(text.format(number=one.id, names=", ".join(one.recipients), reason=result.error.message))


def _readable(header: str) -> list[str]:
    """A header's fields with their encoded words (RFC 2047) decoded, each on one line."""
    return [plain_text(_decoded(field)) for field in re.sub(r"\n(?=[ \t])", "", header).split("\n")]


def _decoded(field: str) -> str:
    try:
        return str(make_header(decode_header(field)))
    except (MessageError, LookupError, UnicodeError):  # shown undecoded
        return field


def _lines(text: str) -> str:
    return "\n".join(plain_text(line) for line in text.split("\n"))


def _state(one: Mail) -> str:
    return _state_name(one.state)


def _state_name(state: MailState) -> str:
    return {
        MailState.WAITING: _("waiting"),
        MailState.SENDING: _("being sent"),
        MailState.UNKNOWN: _("perhaps arrived"),
        MailState.FAILED: _("given up"),
    }[state]


def _when(one: Mail) -> str:
    if one.state is MailState.SENDING:
        return _("now")
    return _("never, unless you say so") if one.next_attempt is None else _local(one.next_attempt)


def _local(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")

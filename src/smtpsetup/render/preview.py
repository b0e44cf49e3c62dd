"""A mail as its reader will see it, for `send --dry-run` at a terminal."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import TYPE_CHECKING

from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.render.human import fields, show

if TYPE_CHECKING:
    from email.message import EmailMessage, MIMEPart

    from rich.console import RenderableType

_KILOBYTE = 1000


def mail(message: bytes) -> None:
    """Print a message: who and what, its text, and the size of what is attached."""
    parsed: EmailMessage = message_from_bytes(message, policy=policy.default)
    text = parsed.get_body(("plain",))
    html = parsed.get_body(("html",))
    rows: list[tuple[str, RenderableType | None]] = [
        (_("From"), _header(parsed, "From")),
        (_("To"), _header(parsed, "To")),
        (_("Copy to"), _header(parsed, "Cc")),
        (_("Answers to"), _header(parsed, "Reply-To")),
        (_("Subject"), _header(parsed, "Subject")),
        (_("HTML version"), _size(html) if html else None),
        *((_("Attached") if part.is_attachment() else _("In the HTML"), _named(part)) for part in _files(parsed)),
    ]
    show(fields(rows))
    show(Text())
    for line in (text.get_content() if text else "").splitlines():
        show(Text(plain_text(line)))


def _header(parsed: EmailMessage, name: str) -> Text | None:
    value = parsed[name]
    return Text(plain_text(str(value))) if value else None


def _files(parsed: EmailMessage) -> list[EmailMessage]:
    """The parts that are files: attachments, and pictures of the HTML."""
    return [part for part in parsed.walk() if not part.is_multipart() and part.get_filename() is not None]


def _named(part: EmailMessage) -> Text:
    return Text(plain_text(f"{part.get_filename()} ({part.get_content_type()}, {_size(part)})"))


def _size(part: MIMEPart) -> str:
    content = part.get_payload(decode=True)
    size = len(content) if isinstance(content, bytes) else 0
    return _("{n} bytes").format(n=size) if size < _KILOBYTE else _("{n} kB").format(n=round(size / _KILOBYTE))

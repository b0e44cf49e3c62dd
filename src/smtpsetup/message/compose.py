"""Composing the bytes of a message from its parts (RFC 5322).

Header fields are written here and not by `email`, which decodes text that looks like an encoded word (RFC 2047): a
subject could then add line breaks, header fields and recipients. Importing `email` would also take a fifth of the
time of a `send` from cron (bench/sending.py): only its header encoder is imported, and only where a header needs it.
`mime` makes the parts.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.address.address_list import entries
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.message import mime
from smtpsetup.message.message import LINE_LIMIT, Message

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from smtpsetup.address.address import Address

# patterns are compiled when they are first used: a plain mail needs none of them
_FIELD_NAME = r"[!-9;-~]+"
_OWN_FIELDS = {"from", "to", "cc", "bcc", "resent-bcc", "subject", "reply-to", "date", "message-id"}
_ONCE = {
    "sender",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "auto-submitted",
}
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_CONTENT_ID = r"[A-Za-z0-9._@+-]+"
_LONGEST_PLAIN_NAME = 200  # characters
_FOLDED_AT = 76  # characters of a header line
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Mailbox(NamedTuple):
    """A name, perhaps empty, and an address."""

    name: str
    address: Address


class Attachment(NamedTuple):
    """An attached file of `size` bytes, opened when it is sent.

    `content_id` is set for one that the HTML part shows (RFC 2392). `charset` is that of a text, where it is known.
    """

    name: str
    content_type: str
    size: int
    open: Callable[[], BinaryIO]
    content_id: str = ""
    charset: str = ""


class Draft(NamedTuple):
    """What a person wants to send."""

    sender: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def recipients(self) -> tuple[str, ...]:
        """The envelope recipients, each once, in their form for the wire."""
        return tuple(dict.fromkeys(mailbox.address.wire for mailbox in (*self.to, *self.cc, *self.bcc)))


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes in a list such as `Åsa <asa@example.se>, bo@example.se`. Raises SmtpsetupError."""
    _refuse_control_characters(text)
    # Outlook and groups end a list with a semicolon
    found = entries(text.replace("\t", " ").rstrip().removesuffix(";"), may_be_empty=False)
    try:
        return tuple(Mailbox(entry.name, parse_address(entry.address)) for entry in found)
    except MalformedAddressError as error:
        if len(found) > 1:
            text = _(
                "A comma separates addresses. In quotation marks it belongs to a name: '\"Doe, Jo\" <jo@example.com>'."
            )
            error.hints = (text, *error.hints)
        raise


def parse_header(text: str) -> tuple[str, str]:
    """A `Name: value` from the command line.

    Raises SmtpsetupError for one that is malformed, or that smtpsetup writes itself.
    """
    _refuse_control_characters(text)
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not re.fullmatch(_FIELD_NAME, name):
        raise SmtpsetupError(
            "config.invalid",
            _("{text} is not a header.").format(text=text),
            hints=(_("Write it as 'Name: value', for example 'X-Order: 4711'."),),
            exit_code=EX_DATAERR,
        )
    if name.lower() in _OWN_FIELDS or name.lower().startswith(("content-", "mime-")):
        raise SmtpsetupError(
            "config.invalid",
            _("The header {name} is written by smtpsetup itself.").format(name=name),
            hints=(_("Use the option for it: --from, --to, --cc, --bcc, --reply-to or --subject."),),
            exit_code=EX_DATAERR,
        )
    return name, value.strip()


def _refuse_control_characters(text: str) -> None:
    """Raise SmtpsetupError for characters that could end a header field, and for bytes that are not text."""
    if text.isprintable():
        return
    if any("\ud800" <= char <= "\udfff" for char in text):  # bytes of the command line that are not UTF-8
        raise SmtpsetupError(
            "config.invalid",
            _("A header is not text in UTF-8."),
            hints=(_("Convert it: `iconv -f ISO-8859-1 -t UTF-8`."),),
            exit_code=EX_DATAERR,
        )
    if any(char != "\t" and (char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029") for char in text):
        raise SmtpsetupError(
            "config.invalid",
            _("There is a line break or another control character in a header."),
            causes=(
                _("A line break there would let a text add headers and recipients of its own (header injection)."),
            ),
            hints=(_("Take the line break out. In a script: `printf %s \"$subject\" | tr '\\n' ' '`."),),
            exit_code=EX_DATAERR,
        )


def compose(draft: Draft, *, now: datetime.datetime, message_id: str) -> Message:
    """The message with CRLF line ends, 7-bit except for addresses that need SMTPUTF8. There is never a Bcc header.

    Raises SmtpsetupError.
    """
    header = header_of(draft, now=now, message_id=message_id)
    content = _content(draft)
    header += f"MIME-Version: 1.0\r\n{content.fields}\r\n"
    return Message(header.encode(), content.content, content.size)


def header_of(draft: Draft, *, now: datetime.datetime, message_id: str) -> str:
    """The header without its MIME fields. Raises SmtpsetupError for what cannot be sent."""
    fields = [
        ("From", _mailbox_list((draft.sender,))),
        ("To", _mailbox_list(draft.to) if draft.to or draft.cc else "undisclosed-recipients:;"),
        ("Cc", _mailbox_list(draft.cc)),
        ("Reply-To", _mailbox_list(draft.reply_to)),
        ("Subject", _unstructured("Subject", draft.subject)),
        ("Date", date(now)),
        ("Message-ID", message_id),
        *((name, _unstructured(name, value)) for name, value in draft.headers),
    ]
    names = [name.lower() for name, _value in draft.headers]
    twice = next((name for name in names if name in _ONCE and names.count(name) > 1), None)
    if twice:
        raise SmtpsetupError(
            "config.invalid",
            _("The header {name} may stand in a message only once.").format(name=twice),
            exit_code=EX_DATAERR,
        )
    return "".join(f"{name}: {value}\r\n" for name, value in fields if value or name == "Subject")


def date(now: datetime.datetime) -> str:
    """A date-time with its zone (RFC 5322 section 3.3)."""
    return f"{_DAYS[now.weekday()]}, {now.day} {_MONTHS[now.month - 1]} {now:%Y %H:%M:%S %z}"


def _unstructured(name: str, value: str, *, is_encoded: bool = False) -> str:
    """As `encoded_words`. Raises SmtpsetupError for control characters, and for a word that no line can hold."""
    _refuse_control_characters(name + value)
    written_value = encoded_words(name, value, is_encoded=is_encoded)
    if max(map(len, written_value.split("\r\n"))) > LINE_LIMIT - len(name) - 2:
        raise SmtpsetupError(
            "config.invalid",
            _("The header {name} has a word that is too long for a line of a mail, which holds {n} characters.").format(
                name=name, n=LINE_LIMIT
            ),
            exit_code=EX_DATAERR,
        )
    return written_value


def encoded_words(name: str, value: str, *, is_encoded: bool = False) -> str:
    """The value of an unstructured field, folded.

    It becomes encoded words (RFC 2047) if it is not plain ASCII or looks like an encoded word, and with `is_encoded`
    always.
    """
    is_plain = value.isascii() and "=?" not in value and not is_encoded
    if is_plain and len(name) + 2 + len(value) <= _FOLDED_AT:
        return value.strip()
    from email.header import Header  # only what is long or not plain pays for it

    return (
        Header(value, "us-ascii" if is_plain else "utf-8", header_name=name, maxlinelen=_FOLDED_AT)
        .encode(linesep="\r\n")
        .strip()
    )


def _mailbox_list(mailboxes: tuple[Mailbox, ...]) -> str:
    return ",\r\n ".join(written(mailbox) for mailbox in mailboxes)


def written(mailbox: Mailbox) -> str:
    """A mailbox as a header field has it (RFC 5322 section 3.4)."""
    name, address = mailbox.name, mailbox.address.wire
    if not name:
        return address
    if not name.isascii() or "=?" in name or len(name) > _LONGEST_PLAIN_NAME:
        return f"{_unstructured('From', name, is_encoded=True)} <{address}>"
    _refuse_control_characters(name)
    if not re.fullmatch(_WORD, name):
        escaped = re.sub(r'(["\\])', r"\\\1", name)
        name = f'"{escaped}"'
    return f"{name} <{address}>"


def attachment(
    path: str, open_file: Callable[[], BinaryIO], size: int, *, content_id: str = "", is_utf8: Callable[[], bool] = bool
) -> Attachment:
    """A file of `size` bytes as an attachment. Raises SmtpsetupError.

    Its content type comes from its name, and is `application/octet-stream` for an unknown one. `is_utf8` is called for
    text files only.
    """
    import mimetypes  # only mail with attachments needs it

    name = os.path.basename(path)
    _refuse_control_characters(name)
    if content_id and not re.fullmatch(_CONTENT_ID, content_id):
        raise SmtpsetupError(
            "config.invalid",
            _("{cid} cannot be the name of a picture in HTML: use letters, digits, dots and hyphens.").format(
                cid=content_id
            ),
            exit_code=EX_DATAERR,
        )
    content_type, encoding = mimetypes.guess_type(name)
    if content_type is None or encoding is not None or content_type.startswith(("message/", "multipart/")):
        content_type = "application/octet-stream"
    return Attachment(
        name,
        content_type,
        size,
        open_file,
        content_id,
        "utf-8" if content_type.startswith("text/") and is_utf8() else "",
    )


def new_message_id(domain: str) -> str:
    """A new, unique Message-ID (RFC 5322 section 3.6.4)."""
    return f"<{os.urandom(16).hex()}@{domain.strip('[]')}>"


def _content(draft: Draft) -> mime.Entity:
    """The MIME part of the message: text, HTML, pictures and attachments."""
    words = draft.text
    if draft.html and not words:
        from smtpsetup.message.html_to_text import text_of  # only HTML mail without a text part needs it

        words = text_of(draft.html)
    entity = mime.text("plain", words)
    if draft.html:
        shown = [mime.text("html", draft.html), *(_file(file) for file in draft.attachments if file.content_id)]
        entity = mime.multipart(
            "alternative", [entity, mime.multipart("related", shown) if len(shown) > 1 else shown[0]]
        )
    attached = [_file(file) for file in draft.attachments if not file.content_id]
    return mime.multipart("mixed", [entity, *attached]) if attached else entity


def _file(file: Attachment) -> mime.Entity:
    return mime.file(
        file.content_type, file.name, file.open, file.size, charset=file.charset, content_id=file.content_id
    )

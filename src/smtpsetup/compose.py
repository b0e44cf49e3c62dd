"""From the parts of a message to its bytes (RFC 5322). Pure but for the clock and the randomness that the caller passes in.

Header fields are written here and not by `email`, which takes a text that looks like an encoded word (RFC 2047) for one, decodes it and so lets
a subject bring line breaks, header fields and recipients of its own. `email` makes the MIME parts.
"""

from __future__ import annotations

import email.policy
import email.utils
import re
import secrets
from dataclasses import dataclass
from email.header import Header
from email.message import EmailMessage, MIMEPart
from typing import TYPE_CHECKING

from smtpsetup import addresses
from smtpsetup.errors import EX_DATAERR, SmtpsetupError
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    import datetime

    from smtpsetup.addresses import Address

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_OWN_FIELDS = {"from", "to", "cc", "bcc", "resent-bcc", "subject", "reply-to", "date", "message-id"}
_ONCE = {"sender", "in-reply-to", "references", "list-unsubscribe", "list-unsubscribe-post", "list-id", "auto-submitted"}
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]+")
_MOST_BEYOND_ASCII = 5  # at most one character in five, or base64 is shorter than quoted-printable


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name, perhaps empty, and an address."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes along. `content_id` is set for one that the HTML part shows (RFC 2392)."""

    name: str
    content_type: str
    data: bytes
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
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
        """Everyone the server is told about, each once, in the form for the envelope."""
        return tuple(dict.fromkeys(mailbox.address.wire for mailbox in (*self.to, *self.cc, *self.bcc)))


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes in a comma-separated list such as `Åsa <asa@example.se>, bo@example.se`. Raises SmtpsetupError.

    Stricter than `email.utils.getaddresses`, which leaves out what it does not understand: nobody is left out here without an error.
    """
    _refuse_control_characters(text)
    return tuple(_mailbox(part) for part in _split_at_commas(text))


def _split_at_commas(text: str) -> list[str]:
    parts, is_quoted, before = [""], False, ""
    for char in text:
        if char == '"' and before != "\\":
            is_quoted = not is_quoted
        if char == "," and not is_quoted:
            parts.append("")
        else:
            parts[-1] += char
        before = char
    return parts


def _mailbox(text: str) -> Mailbox:
    match = re.fullmatch(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^"<>@]*?))\s*<([^<>]*)>\s*', text)
    if not match:
        return Mailbox("", addresses.parse(text))
    quoted, plain, address = match.groups()
    name = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
    return Mailbox(name.strip(), addresses.parse(address))


def parse_header(text: str) -> tuple[str, str]:
    """A `Name: value` from the command line. Raises SmtpsetupError for one that is malformed or smtpsetup's own to write."""
    _refuse_control_characters(text)
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not _FIELD_NAME.fullmatch(name):
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
    """Raise SmtpsetupError for what could break out of a header field, or is no text at all."""
    if any("\ud800" <= char <= "\udfff" for char in text):  # how Python hands on bytes of the command line that are no text
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
            causes=(_("A line break there would let a text add headers and recipients of its own (header injection)."),),
            hints=(_("Take the line break out. In a script: `printf %s \"$subject\" | tr '\\n' ' '`."),),
            exit_code=EX_DATAERR,
        )


def compose(draft: Draft, *, now: datetime.datetime, message_id: str) -> bytes:
    """The message with CRLF line ends, 7-bit clean but for addresses that need SMTPUTF8. There is never a Bcc header. Raises SmtpsetupError."""
    fields = [
        ("From", _mailbox_list((draft.sender,))),
        ("To", _mailbox_list(draft.to) if draft.to or draft.cc else "undisclosed-recipients:;"),
        ("Cc", _mailbox_list(draft.cc)),
        ("Reply-To", _mailbox_list(draft.reply_to)),
        ("Subject", _unstructured("Subject", draft.subject)),
        ("Date", email.utils.format_datetime(now)),
        ("Message-ID", message_id),
        *((name, _unstructured(name, value)) for name, value in draft.headers),
    ]
    names = [name.lower() for name, _value in draft.headers]
    twice = next((name for name in names if name in _ONCE and names.count(name) > 1), None)
    if twice:
        raise SmtpsetupError("config.invalid", _("The header {name} may stand in a message only once.").format(name=twice), exit_code=EX_DATAERR)
    header = "".join(f"{name}: {value}\r\n" for name, value in fields if value or name == "Subject")
    return header.encode() + _content(draft).as_bytes()


def _unstructured(name: str, value: str) -> str:
    """A field's text, literally: what is not plain ASCII, or looks like an encoded word, becomes encoded words (RFC 2047), folded."""
    _refuse_control_characters(name + value)
    is_plain = value.isascii() and "=?" not in value
    return Header(value, "us-ascii" if is_plain else "utf-8", header_name=name, maxlinelen=76).encode(linesep="\r\n").strip()


def _mailbox_list(mailboxes: tuple[Mailbox, ...]) -> str:
    return ",\r\n ".join(_written(mailbox) for mailbox in mailboxes)


def _written(mailbox: Mailbox) -> str:
    """A mailbox as RFC 5322 section 3.4 writes it."""
    name, address = mailbox.name, mailbox.address.wire
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        return f"{_unstructured('From', name)} <{address}>"
    _refuse_control_characters(name)
    if not _WORD.fullmatch(name):
        escaped = re.sub(r'(["\\])', r"\\\1", name)
        name = f'"{escaped}"'
    return f"{name} <{address}>"


def attachment(path: str, data: bytes, *, content_id: str = "") -> Attachment:
    """A file's content as an attachment, its type from its name (`application/octet-stream` where the name does not tell). Raises SmtpsetupError."""
    import mimetypes  # only mail with attachments needs it

    name = path.replace("\\", "/").rpartition("/")[2]
    _refuse_control_characters(name)
    if content_id and not _CONTENT_ID.fullmatch(content_id):
        raise SmtpsetupError(
            "config.invalid",
            _("{cid} cannot be the name of a picture in HTML: use letters, digits, dots and hyphens.").format(cid=content_id),
            exit_code=EX_DATAERR,
        )
    content_type, encoding = mimetypes.guess_type(name)
    if content_type is None or encoding is not None or content_type.startswith(("message/", "multipart/")):
        content_type = "application/octet-stream"
    return Attachment(name.replace("=?", "=_"), content_type, data, content_id)  # `email` would decode a name that holds an encoded word


def new_message_id(domain: str) -> str:
    """A Message-ID that no other message has (RFC 5322 section 3.6.4)."""
    return f"<{secrets.token_hex(16)}@{domain.strip('[]')}>"


def _content(draft: Draft) -> EmailMessage:
    """The MIME part of the message: text, HTML, pictures and attachments."""
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    text = draft.text
    if draft.html and not text:
        from smtpsetup.html_text import text_of  # only HTML mail without a text part needs it

        text = text_of(draft.html)
    message.set_content(_with_final_newline(text), cte=_text_encoding(text))
    if draft.html:
        message.add_alternative(_with_final_newline(draft.html), subtype="html", cte=_text_encoding(draft.html))
        html_part: EmailMessage = message.get_payload()[1]  # type: ignore[index,assignment]  # add_alternative has made it multipart
        for file in draft.attachments:
            if file.content_id:
                main, sub = file.content_type.split("/", 1)
                html_part.add_related(file.data, main, sub, cid=f"<{file.content_id}>", filename=file.name, disposition="inline")
    for file in draft.attachments:
        if not file.content_id:
            main, sub = file.content_type.split("/", 1)
            message.add_attachment(file.data, main, sub, filename=file.name)
            if main == "text" and _is_utf8(file.data):
                last: MIMEPart = list(message.iter_attachments())[-1]
                last.set_param("charset", "utf-8")
    return message


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text_encoding(text: str) -> str | None:
    """Quoted-printable for text in a Latin script, which stays readable as it is, and for control characters; None lets `email` choose."""
    if any(char < " " and char not in "\t\n\r" for char in text):
        return "quoted-printable"
    beyond_ascii = sum(not char.isascii() for char in text)
    return "quoted-printable" if 0 < beyond_ascii * _MOST_BEYOND_ASCII < len(text) else None


def _with_final_newline(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"

"""From the parts of a message to its bytes (RFC 5322). Pure but for the clock and the randomness that the caller passes in."""

from __future__ import annotations

import email.policy
import email.utils
import re
import secrets
from dataclasses import dataclass, field
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from typing import TYPE_CHECKING

from smtpsetup import addresses
from smtpsetup.errors import EX_DATAERR, SmtpsetupError
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    import datetime

    from smtpsetup.addresses import Address

_HEADER_NAME = re.compile(r"[!-9;-~]+")
_LINE_BREAKS = "\0\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # what str.splitlines splits at, and NUL
_OWN_HEADERS = {"from", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding"}


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
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everyone the server is told about, each once, in the form for the envelope."""
        return tuple(dict.fromkeys(mailbox.address.wire for mailbox in (*self.to, *self.cc, *self.bcc)))


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes in a comma-separated list such as `Åsa <asa@example.se>, bo@example.se`. Raises SmtpsetupError.

    Stricter than `email.utils.getaddresses`, which leaves out what it does not understand: nobody is left out here without an error.
    """
    _refuse_line_break(text)
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
    _refuse_line_break(text)
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise SmtpsetupError(
            "config.invalid",
            _("{text} is not a header.").format(text=text),
            hints=(_("Write it as 'Name: value', for example 'X-Order: 4711'."),),
            exit_code=EX_DATAERR,
        )
    if name.lower() in _OWN_HEADERS:
        raise SmtpsetupError(
            "config.invalid",
            _("The header {name} is written by smtpsetup itself.").format(name=name),
            hints=(_("Use the option for it: --from, --to, --cc, --bcc, --reply-to or --subject."),),
            exit_code=EX_DATAERR,
        )
    return name, value.strip()


def _refuse_line_break(text: str) -> None:
    if any(char in _LINE_BREAKS for char in text):
        raise SmtpsetupError(
            "config.invalid",
            _("There is a line break in a header."),
            causes=(_("A line break there would let a text add headers and recipients of its own (header injection)."),),
            hints=(_("Take the line break out. In a script: `printf %s \"$subject\" | tr '\\n' ' '`."),),
            exit_code=EX_DATAERR,
        )
    if any("\ud800" <= char <= "\udfff" for char in text):  # how Python hands on bytes of the command line that are no text
        raise SmtpsetupError(
            "config.invalid",
            _("A header is not text in UTF-8."),
            hints=(_("Convert it: `iconv -f ISO-8859-1 -t UTF-8`."),),
            exit_code=EX_DATAERR,
        )


def compose(draft: Draft, *, now: datetime.datetime, message_id: str) -> bytes:
    """The message with CRLF line ends, 7-bit clean unless an address needs SMTPUTF8. There is never a Bcc header. Raises SmtpsetupError."""
    needs_utf8 = not all(address.isascii() for address in (*draft.recipients, draft.sender.address.wire))
    policy = email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP
    message = EmailMessage(policy=policy.clone(cte_type="7bit"))
    for text in (draft.subject, *(part for header in draft.headers for part in header)):
        _refuse_line_break(text)
    message["From"] = _header_addresses((draft.sender,))
    for name, mailboxes in (("To", draft.to), ("Cc", draft.cc), ("Reply-To", draft.reply_to)):
        if mailboxes:
            message[name] = _header_addresses(mailboxes)
    if not draft.to and not draft.cc:
        message["To"] = "undisclosed-recipients:;"
    message["Subject"] = draft.subject
    message["Date"] = email.utils.format_datetime(now)
    message["Message-ID"] = message_id
    for name, value in draft.headers:
        message[name] = value
    _add_content(message, draft)
    return message.as_bytes()


def attachment(path: str, data: bytes, *, content_id: str = "") -> Attachment:
    """A file's content as an attachment, its type from its name (`application/octet-stream` where the name does not tell). Raises SmtpsetupError."""
    import mimetypes  # noqa: PLC0415  only mail with attachments needs it

    name = path.replace("\\", "/").rpartition("/")[2]
    _refuse_line_break(name)
    _refuse_line_break(content_id)
    content_type, encoding = mimetypes.guess_type(name)
    if content_type is None or encoding is not None or content_type.startswith(("message/", "multipart/")):
        content_type = "application/octet-stream"
    return Attachment(name, content_type, data, content_id)


def new_message_id(domain: str) -> str:
    """A Message-ID that no other message has (RFC 5322 section 3.6.4)."""
    return f"<{secrets.token_hex(16)}@{domain.strip('[]')}>"


def _header_addresses(mailboxes: tuple[Mailbox, ...]) -> tuple[HeaderAddress, ...]:
    for mailbox in mailboxes:
        _refuse_line_break(mailbox.name)
    return tuple(HeaderAddress(mailbox.name, _unquoted(mailbox.address.local), mailbox.address.domain) for mailbox in mailboxes)


def _unquoted(local: str) -> str:
    """A local part as `email` wants it: it puts the quotes on itself where they are needed."""
    return re.sub(r"\\(.)", r"\1", local[1:-1]) if local.startswith('"') else local


def _add_content(message: EmailMessage, draft: Draft) -> None:
    text = draft.text
    if draft.html and not text:
        from smtpsetup.html_text import text_of  # noqa: PLC0415  only HTML mail without a text part needs it

        text = text_of(draft.html)
    message.set_content(_with_final_newline(text))
    if draft.html:
        message.add_alternative(_with_final_newline(draft.html), subtype="html")
        html_part = message.get_payload()[1]  # type: ignore[index]  # add_alternative has made it multipart
        for attachment in draft.attachments:
            if attachment.content_id:
                main, sub = attachment.content_type.split("/", 1)
                html_part.add_related(  # type: ignore[union-attr]
                    attachment.data, main, sub, cid=f"<{attachment.content_id}>", filename=attachment.name, disposition="inline"
                )
    for attachment in draft.attachments:
        if not attachment.content_id:
            main, sub = attachment.content_type.split("/", 1)
            message.add_attachment(attachment.data, main, sub, filename=attachment.name)


def _with_final_newline(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"

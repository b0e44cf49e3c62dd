"""A message as another program wrote it: its header read, and made right for a provider (RFC 5322, RFC 6409 section 8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import addresses
from smtpsetup.compose import Mailbox, date, encoded_words, new_message_id, parse_mailboxes, written
from smtpsetup.errors import SmtpsetupError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

LINE_LIMIT = 998  # bytes without CRLF, RFC 5322 section 2.1.1
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NEVER_SENT = {"bcc", "resent-bcc", "return-path"}
_ADDRESS_FIELDS = {"from", "to", "cc", "reply-to", "sender", "resent-from", "resent-to", "resent-cc", "resent-sender"}
_LOCAL = re.compile(r"([A-Za-z0-9_.-]+)(?:\s+\(([^()]*)\))?")  # as cron writes it: root (Cron Daemon)
_COMMENT = re.compile(r"\(([^()]*)\)")


class Field(NamedTuple):
    """A header field; `value` is unfolded text."""

    name: str
    value: str

    @property
    def key(self) -> str:
        """The name to compare by."""
        return self.name.lower()


class Entry(NamedTuple):
    """One entry of an address field, as far as it can be understood: `address` may be a local name such as `root`."""

    name: str
    address: str


def split(chunks: Iterable[bytes]) -> tuple[tuple[Field, ...], Iterator[bytes]]:
    """The header's fields and the rest, from chunks with CRLF line ends. A message whose first line is no field has no header."""
    rest = iter(chunks)
    buffer = b""
    fields: list[Field] = []
    is_first = True
    while True:
        while b"\r\n" not in buffer and (chunk := next(rest, b"")):
            buffer += chunk
        line, end, after = buffer.partition(b"\r\n")
        if line == b"" and end:
            return tuple(fields), _joined(after, rest)
        if is_first and line.startswith((b"From ", b">From ")):  # what mail programs write in front of a mail in a file
            buffer, is_first = after, False
            continue
        is_first = False
        if line.startswith((b" ", b"\t")) and fields:
            fields[-1] = Field(fields[-1].name, f"{fields[-1].value} {_text(line).strip()}")
        elif match := _FIELD.match(line):
            fields.append(Field(match[1].decode("ascii"), _text(line[match.end() :]).strip()))
        else:
            return tuple(fields), _joined(buffer, rest)
        buffer = after


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return "".join(char if char >= " " and char != "\x7f" else " " for char in text)


def values(fields: Iterable[Field], *keys: str) -> list[str]:
    """The values of the fields of these names."""
    return [field.value for field in fields if field.key in keys]


def entries(value: str) -> list[Entry]:
    """The entries of an address field. More is understood than a person may type: comments, groups and local names."""
    if match := _LOCAL.fullmatch(value.strip()):
        return [Entry((match[2] or "").strip(), match[1])]
    try:
        return [Entry(mailbox.name, mailbox.address.wire) for mailbox in parse_mailboxes(value)]
    except SmtpsetupError:
        pass
    from email.utils import getaddresses  # 5 ms that only such fields pay

    comment = _COMMENT.search(value)
    found = [Entry(name.strip(), address.strip()) for name, address in getaddresses([value]) if address.strip()]
    if len(found) == 1 and comment and not found[0].name:
        return [Entry(comment[1].strip(), found[0].address)]
    return found


def decoded(name: str) -> str:
    """A display name as people read it, its encoded words (RFC 2047) decoded."""
    if "=?" not in name:
        return name
    from email.errors import HeaderParseError
    from email.header import decode_header, make_header

    try:
        return " ".join(str(make_header(decode_header(name))).split())
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return ""


def recipients_in(fields: tuple[Field, ...]) -> list[str]:
    """Whom the header names: the Resent- fields where there are any, else To, Cc and Bcc (RFC 5322 section 3.6.6)."""
    keys = ("resent-to", "resent-cc", "resent-bcc")
    found = values(fields, *keys) or values(fields, "to", "cc", "bcc")
    return [entry.address for value in found for entry in entries(value)]


class Sender(NamedTuple):
    """Who the message is from: what stands in From, and where answers go if that is another address."""

    mailbox: Mailbox
    reply_to: Mailbox | None = None


def completed(fields: tuple[Field, ...], sender: Sender, *, now: datetime.datetime, message_id: str) -> tuple[Field, ...]:
    """The fields that go on the wire: From as it is allowed, what is missing added, Bcc gone."""
    keys = {field.key for field in fields}
    kept = [field for field in fields if field.key not in _NEVER_SENT and field.key != "from"]
    done = [Field("From", written(sender.mailbox)), *kept]
    if sender.reply_to and "reply-to" not in keys:
        done.append(Field("Reply-To", written(sender.reply_to)))
    if "date" not in keys:
        done.append(Field("Date", date(now)))
    if "message-id" not in keys:
        done.append(Field("Message-ID", message_id))
    if not keys & {"to", "cc", "resent-to", "resent-cc"}:
        done.append(Field("To", "undisclosed-recipients:;"))
    if any(key.startswith("resent-") for key in keys):
        done += [] if "resent-date" in keys else [Field("Resent-Date", date(now))]
        done += [] if "resent-message-id" in keys else [Field("Resent-Message-ID", new_message_id(sender.mailbox.address.domain))]
    return tuple(done)


def as_bytes(fields: Iterable[Field]) -> bytes:
    """The header with its empty line: 7-bit, folded, no line too long."""
    return ("".join(f"{field.name}: {_value(field)}\r\n" for field in fields) + "\r\n").encode("utf-8")


def _value(field: Field) -> str:
    if field.value.isascii():
        return _folded(field.name, field.value)
    if field.key in _ADDRESS_FIELDS:
        return ",\r\n ".join(_entry(entry) for entry in entries(field.value))
    return encoded_words(field.name, field.value)


def _entry(entry: Entry) -> str:
    try:
        return written(Mailbox(entry.name, addresses.parse(entry.address)))
    except SmtpsetupError:
        return encoded_words("To", f"{entry.name} {entry.address}".strip())


def _folded(name: str, value: str) -> str:
    """A value in lines of at most 78 characters where it has blanks to break at, and never more than the limit."""
    lines: list[str] = []
    line = ""
    room = 76 - len(name)
    for word in value.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = word, 76
        else:
            line = f"{line} {word}" if line or not lines else word
    lines.append(line)
    cut = (line[start : start + LINE_LIMIT - 100] for line in lines for start in range(0, max(1, len(line)), LINE_LIMIT - 100))
    return "\r\n ".join(part for part in cut if part.strip()).strip()

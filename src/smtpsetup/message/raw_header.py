"""The header of a message that another program wrote, read and corrected (RFC 5322, RFC 6409 section 8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.address.address_list import entries, understood
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.message.compose import Mailbox, date, new_message_id, written
from smtpsetup.message.field_values import ID_FIELDS, display_name, text_in_list, wire_value, without_controls

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator

_LINE_MOST = 2_000_000  # bytes; a longer line cannot belong to a header
_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_NEVER_SENT = {"bcc", "resent-bcc", "return-path", "x-saved-by"}
_SENDERS = {"sender", "resent-from", "resent-sender"}
_ONCE = {
    "from",
    "sender",
    "reply-to",
    "date",
    "message-id",
    "subject",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
}
_JOINED = {"to", "cc"}  # also once, but the values of a second one are added to the first


class Field(NamedTuple):
    """A header field; `value` is unfolded."""

    name: str
    value: str

    @property
    def key(self) -> str:
        """The name in lower case."""
        return self.name.lower()


def split(chunks: Iterable[bytes]) -> tuple[tuple[Field, ...], Iterator[bytes]]:
    """The header's fields and the rest of a message, from chunks with CRLF line ends.

    A message whose first line is not a field has no header. Raises EndlessFieldError for a field with a
    line of more than two million bytes.
    """
    source = _Lines(iter(chunks))
    found: list[tuple[str, list[str]]] = []
    is_first = True
    while (line := source.next()) is not None:
        if source.is_cut and (_FIELD.match(line) or (line.startswith((b" ", b"\t")) and found)):
            raise EndlessFieldError(_fields(found), source.rest(line))
        was_first, is_first = is_first, False
        if was_first and not source.is_cut and line.startswith((b"From ", b">From ")):  # the separator of mbox files
            continue
        if not line:
            break
        if line.startswith((b" ", b"\t")) and found:
            found[-1][1].append(decoded_text(line).strip())
        elif match := _FIELD.match(line):
            found.append((match[1].decode("ascii"), [decoded_text(line[match.end() :]).strip()]))
        else:
            source.take_back(line)
            break
    return _fields(found), source.rest()


def raw_fields(header: bytes) -> list[tuple[Field | None, bytes]]:
    """The fields of a message's header, each with its bytes as they are; None for lines that are no field."""
    found: list[bytes] = []
    for line in header.removesuffix(b"\r\n").splitlines(keepends=True):
        if found and line.startswith((b" ", b"\t")):
            found[-1] += line
        else:
            found.append(line)
    return [(next(iter(split([raw, b"\r\n"])[0]), None), raw) for raw in found]


def _fields(found: list[tuple[str, list[str]]]) -> tuple[Field, ...]:
    return tuple(Field(name, " ".join(part for part in parts if part)) for name, parts in found)


class EndlessFieldError(SmtpsetupError):
    """A header field is too long to be one. `fields` are those before it, `rest` is the field and all that follows."""

    def __init__(self, fields: tuple[Field, ...], rest: Iterator[bytes]) -> None:
        message = _("A field of the mail's header is longer than {n} million bytes.").format(n=_LINE_MOST // 1_000_000)
        super().__init__("config.invalid", message, exit_code=EX_DATAERR)
        self.fields = fields
        self.rest = rest


class _Lines:
    """Lines from chunks, read as they are asked for.

    `is_cut` says that the last line was too long to be read whole, and only its beginning was returned.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = bytearray()
        self._start = 0
        self.is_cut = False

    def next(self) -> bytes | None:
        """The next line without its CRLF, None at the end."""
        searched = self._start
        while (end := self._data.find(b"\r\n", searched)) < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                return self._taken() or None
            del self._data[: self._start]
            self._start = 0
            searched = max(0, len(self._data) - 1)  # a CR may have been the last byte
            self._data += chunk
            if len(self._data) > _LINE_MOST and self._data.find(b"\r\n", searched) < 0:
                self.is_cut = True
                return self._taken()
        line = bytes(self._data[self._start : end])
        self._start = end + 2
        return line

    def _taken(self) -> bytes:
        """Everything that has been read from the chunks."""
        line = bytes(self._data[self._start :])
        self._data.clear()
        self._start = 0
        return line

    def take_back(self, line: bytes) -> None:
        """Put back the line that was read last: `next` returns it again."""
        end = b"\r\n" if self._start else b""  # the last line may have none
        self._data[: self._start] = line + end
        self._start = 0

    def rest(self, line: bytes = b"") -> Iterator[bytes]:
        """`line` and everything that has not been read."""
        if line:
            yield line
        if self._start < len(self._data):
            yield bytes(self._data[self._start :])
        yield from self._chunks


def decoded_text(data: bytes) -> str:
    """Bytes as text: UTF-8, else Windows-1252, with a blank for each control character."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return without_controls(text)


def values(fields: Iterable[Field], *keys: str) -> list[str]:
    """The values of the fields of these names, in order."""
    return [field.value for field in fields if field.key in keys]


def recipients_in(fields: tuple[Field, ...]) -> tuple[list[str], dict[str, SmtpsetupError]]:
    """The recipients that the header names, and the error for each entry that cannot be understood, by its text.

    They are those of the newest block of Resent- fields, else those of To, Cc and Bcc (RFC 5322 section 3.6.6).
    """
    resent: list[Field] = []
    for field in fields:
        is_resent = field.key.startswith("resent-")
        begins_anew = field.key in ("resent-from", "resent-date") and any(
            field.key == earlier.key for earlier in resent
        )
        if resent and (not is_resent or begins_anew):
            break  # what follows is an older block, or the message
        resent += [field] if is_resent else []
    found = values(resent, "resent-to", "resent-cc", "resent-bcc") or values(fields, "to", "cc", "bcc")
    named: list[str] = []
    faults: dict[str, SmtpsetupError] = {}
    for value in found:
        read, wrong = understood(value)
        named += [entry.address for entry in read if entry]
        faults |= wrong
    return named, faults


class Sender(NamedTuple):
    """The mailbox in From, and the one in Reply-To where answers go elsewhere."""

    mailbox: Mailbox
    reply_to: Mailbox | None = None


def normalize_header(
    fields: tuple[Field, ...],
    sender: Sender,
    *,
    now: datetime.datetime,
    message_id: str,
    is_own: Callable[[str], bool] = lambda _address: True,
) -> tuple[Field, ...]:
    """The fields to send: From is the sender, missing fields are added, repeated ones merged, Bcc is removed.

    Sender and the Resent- fields are kept only where `is_own` says that the account may use each address in them.
    """
    kept = _single(
        [
            field
            for field in fields
            if field.key not in _NEVER_SENT
            and field.key != "from"
            and _is_allowed(field, is_own)
            and not (field.key in ID_FIELDS and not wire_value(field.name, field.value))
        ]
    )
    keys = {field.key for field in kept}
    done = [Field("From", _unfolded(sender.mailbox)), *kept]
    if sender.reply_to and "reply-to" not in keys:
        done.append(Field("Reply-To", _unfolded(sender.reply_to)))
    if "date" not in keys:
        done.append(Field("Date", date(now)))
    if "message-id" not in keys:
        done.append(Field("Message-ID", message_id))
    if not keys & {"to", "cc", "resent-to", "resent-cc"}:
        done.append(Field("To", "undisclosed-recipients:;"))
    if any(field.key.startswith("resent-") for field in fields):
        own = (
            ("Resent-From", _unfolded(Mailbox(_resender(fields), sender.mailbox.address))),
            ("Resent-Date", date(now)),
            ("Resent-Message-ID", new_message_id(sender.mailbox.address.domain)),
        )
        done += [Field(name, value) for name, value in own if name.lower() not in keys]
    return tuple(done)


def _resender(fields: tuple[Field, ...]) -> str:
    """The name of whoever resends (RFC 5322 section 3.6.6), from the newest Resent-From; From has the author's."""
    for field in fields:
        if field.key == "resent-from":
            found, _faults = understood(field.value)
            return next((display_name(one.name) for one in found if one), "")
    return ""


def _is_allowed(field: Field, is_own: Callable[[str], bool]) -> bool:
    if field.key not in _SENDERS:
        return True
    try:
        return all(is_own(entry.address) for entry in entries(field.value))
    except SmtpsetupError:
        return False


def _unfolded(mailbox: Mailbox) -> str:
    return written(mailbox).replace("\r\n ", " ")


def _single(fields: list[Field]) -> list[Field]:
    """The fields without repeated and empty ones of those that may occur once; a second To or Cc adds to the first."""
    kept: list[Field] = []
    places: dict[str, int] = {}
    added: dict[str, list[Field]] = {}
    for field in fields:
        if field.key not in _ONCE | _JOINED:
            kept.append(field)
        elif not field.value and field.key != "subject":
            continue
        elif field.key not in places:
            places[field.key] = len(kept)
            kept.append(field)
        elif field.key in _JOINED:
            added.setdefault(field.key, [kept[places[field.key]]]).append(field)
        elif not kept[places[field.key]].value:
            kept[places[field.key]] = field
    for key, several in added.items():
        kept[places[key]] = Field(several[0].name, ", ".join(_whole(field) for field in several))
    return kept


def _whole(field: Field) -> str:
    """A list of addresses to which another can be added: a quote that is open in it would take in entries of that."""
    if not understood(field.value)[1]:
        return field.value
    return text_in_list(field.name, field.value).replace("\r\n ", " ")


def as_bytes(fields: Iterable[Field]) -> bytes:
    """The header with its empty line, folded, and 7-bit but for internationalized addresses."""
    return ("".join(f"{field.name}: {wire_value(field.name, field.value)}\r\n" for field in fields) + "\r\n").encode()

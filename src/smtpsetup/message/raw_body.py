"""The body of a message that another program wrote, in a form that every server accepts."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from smtpsetup.message.message import LINE_LIMIT, Message, is_utf8
from smtpsetup.message.mime import BASE64_CHUNK, base64_lines
from smtpsetup.message.raw_header import Field, as_bytes, values
from smtpsetup.message.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = {"", "7bit", "8bit", "binary"}
_TEXT_FIELDS = ("mime-version", "content-type", "content-transfer-encoding")
_CHARSET = re.compile(r";\s*charset\s*=\s*(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE)


def corrected(fields: tuple[Field, ...], body: Spool) -> Message:
    """The message, with a body that can be sent. Raises OSError where there is no room for what is encoded.

    A text body with non-ASCII characters, NULs or too long lines is encoded. In any other body, too long lines are
    broken and NULs removed.
    """
    is_long, has_nul = _look_at(body)
    kind = next(iter(values(fields, "content-type")), "")
    encoding = next(iter(values(fields, "content-transfer-encoding")), "").strip().lower()
    is_text = not kind or kind.lower().startswith("text/")
    if is_text and encoding in _PLAIN and (is_long or has_nul or not body.is_ascii):
        kept = tuple(field for field in fields if field.key not in _TEXT_FIELDS)
        beyond_ascii = sum(len(chunk) - len(chunk.decode("ascii", "ignore")) for chunk in body.chunks())
        is_mostly_plain = beyond_ascii * 5 < body.size
        name = "quoted-printable" if is_mostly_plain else "base64"
        fields = (
            *kept,
            Field("MIME-Version", "1.0"),
            Field("Content-Type", _with_charset(kind, body)),
            Field("Content-Transfer-Encoding", name),
        )
        body = Spool(_quoted(body) if is_mostly_plain else _base64(body))
    elif is_long or has_nul:
        body = Spool(_broken(body, b"=" if encoding == "quoted-printable" else b""))
    return Message(as_bytes(fields), body.chunks, body.size, body.is_ascii)


def _look_at(body: Spool) -> tuple[bool, bool]:
    """Whether a line is too long, and whether there is a NUL."""
    longest = max((len(line.removesuffix(b"\r\n")) for line in body.lines()), default=0)
    return longest > LINE_LIMIT, any(b"\0" in chunk for chunk in body.chunks())


def _with_charset(kind: str, body: Spool) -> str:
    """The Content-Type, with the charset found where it names none or one that cannot be right."""
    given = _CHARSET.search(kind)
    charset = given[1].strip('"').lower() if given else ""
    if charset and (body.is_ascii or charset not in ("us-ascii", "ascii")):
        return kind
    found = "us-ascii" if body.is_ascii else "utf-8" if is_utf8(body.chunks()) else "windows-1252"
    without = _CHARSET.sub("", kind) if given else kind
    return f'{without or "text/plain"}; charset="{found}"'


def _quoted(body: Spool) -> Iterator[bytes]:
    """The lines in quoted-printable (RFC 2045 section 6.7)."""
    for line in body.lines():
        words = line.removesuffix(b"\r\n")
        end = b"\r\n" if line.endswith(b"\r\n") else b"=\r\n"
        yield binascii.b2a_qp(words, istext=True).replace(b"\n", b"\r\n") + end


def _base64(body: Spool) -> Iterator[bytes]:
    """The text in base64 (RFC 2045 section 6.8)."""
    rest = b""
    for chunk in body.chunks():
        rest += chunk
        whole = len(rest) // BASE64_CHUNK * BASE64_CHUNK
        yield base64_lines(rest[:whole])
        rest = rest[whole:]
    yield base64_lines(rest)


def _broken(body: Spool, mark: bytes) -> Iterator[bytes]:
    """The lines without NULs, long ones broken. `mark` is put where a line was broken (`=` in quoted-printable)."""
    words = b""
    for line in body.lines():
        words += line.removesuffix(b"\r\n").replace(b"\0", b"")
        while len(words) > LINE_LIMIT:
            end = _break(words[: LINE_LIMIT - len(mark)], is_quoted=bool(mark))
            yield words[:end] + mark + b"\r\n"
            words = words[end:]
        if line.endswith(b"\r\n"):  # and not a piece of a line that goes on
            yield words + b"\r\n"
            words = b""
    if words:
        yield words


def _break(words: bytes, *, is_quoted: bool) -> int:
    """Where to break a long line: after a blank near its end, else between characters or encoded characters."""
    if is_quoted:
        equals = words.rfind(b"=", -2)
        return equals if equals >= 0 else len(words)
    blank = words.rfind(b" ", LINE_LIMIT // 2)
    if blank > 0:
        return blank + 1
    end = len(words)
    while end > LINE_LIMIT - 4 and words[end - 1] & 0x80:  # not inside a character of UTF-8
        end -= 1
        if words[end] & 0xC0 == 0xC0:  # noqa: PLR2004  the byte that begins one
            break
    return end

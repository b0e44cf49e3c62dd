"""The body of a message that another program wrote, in a form that every server takes."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from smtpsetup.message import Message
from smtpsetup.raw_mail import LINE_LIMIT, Field, as_bytes, values
from smtpsetup.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = {"", "7bit", "8bit", "binary"}
_TEXT_FIELDS = ("mime-version", "content-type", "content-transfer-encoding")


def made_right(fields: tuple[Field, ...], body: Spool) -> Message:
    """The message. A text that is not plain or has lines beyond the limit becomes quoted-printable; in what has parts, long lines are broken.

    Raises OSError where there is no room for what is encoded.
    """
    is_right, needs_encoding = _look_at(body)
    kind = next(iter(values(fields, "content-type")), "").lower()
    encoding = next(iter(values(fields, "content-transfer-encoding")), "").strip().lower()
    has_parts = kind.startswith(("multipart/", "message/"))
    if needs_encoding and not has_parts and encoding in _PLAIN and (not kind or kind.startswith("text/")):
        charset = "utf-8" if _is_utf8(body) else "cp1252"
        given = next(iter(values(fields, "content-type")), "") or f'text/plain; charset="{charset}"'
        kept = tuple(field for field in fields if field.key not in _TEXT_FIELDS)
        fields = (*kept, Field("MIME-Version", "1.0"), Field("Content-Type", given), Field("Content-Transfer-Encoding", "quoted-printable"))
        body = Spool(_quoted(body))
    elif not is_right:
        body = Spool(_broken(body))
    return Message(as_bytes(fields), body.chunks, body.size, body.is_ascii)


def _look_at(body: Spool) -> tuple[bool, bool]:
    """Whether no line is too long, and whether a text would have to be encoded."""
    longest = max((len(line) - 2 for line in body.lines()), default=0)
    has_nul = any(b"\0" in chunk for chunk in body.chunks())
    return longest <= LINE_LIMIT, longest > LINE_LIMIT or has_nul or not body.is_ascii


def _is_utf8(body: Spool) -> bool:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in body.chunks():
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _quoted(body: Spool) -> Iterator[bytes]:
    """The lines in quoted-printable (RFC 2045 section 6.7)."""
    for line in body.lines():
        end = b"\r\n" if line.endswith(b"\r\n") else b""
        yield binascii.b2a_qp(line.removesuffix(b"\r\n"), istext=True).replace(b"\n", b"\r\n") + end


def _broken(body: Spool) -> Iterator[bytes]:
    """The lines, those that are too long in several."""
    for line in body.lines():
        words = line.removesuffix(b"\r\n")
        while len(words) > LINE_LIMIT:
            yield words[:LINE_LIMIT] + b"\r\n"
            words = words[LINE_LIMIT:]
        yield words + b"\r\n"

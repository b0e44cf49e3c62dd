"""One part of a message that another program wrote, encoded so that every server accepts it."""

from __future__ import annotations

import binascii
import codecs
import re
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.message.message import LINE_LIMIT
from smtpsetup.message.mime import BASE64_CHUNK, base64_lines
from smtpsetup.message.raw_header import Field, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENCODINGS = ("base64", "quoted-printable", "x-")  # any other name means that nothing is encoded
_TOKEN = re.compile(r"[^\s;()]*")
_CHARSET = re.compile(r";\s*charset\s*=\s*(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE)
_MOST_BEYOND_ASCII = 5  # at most one byte in five, or base64 is shorter than quoted-printable


class Facts:
    """What is known of a part once all of its lines have been seen."""

    def __init__(self) -> None:
        self.size = self.beyond_ascii = self.longest = 0
        self.has_nul = False
        self.is_utf8 = True
        self._line = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    def see(self, line: bytes) -> None:
        """The next line with its CRLF, or a piece of a longer one."""
        words = line.removesuffix(b"\r\n")
        self._line += len(words)
        self.longest = max(self.longest, self._line)
        self._line = 0 if line.endswith(b"\r\n") else self._line
        self.size += len(line)
        self.has_nul = self.has_nul or b"\0" in line
        if not line.isascii():
            self.beyond_ascii += len(line) - len(line.decode("ascii", "ignore"))
        if self.is_utf8 and self.beyond_ascii:
            self._decoder = self._decoder or codecs.getincrementaldecoder("utf-8")()
            try:
                self._decoder.decode(line)
            except UnicodeDecodeError:
                self.is_utf8 = False

    @property
    def is_plain(self) -> bool:
        """Whether it can be sent as 7bit (RFC 2045 section 2.7)."""
        return not (self.beyond_ascii or self.has_nul or self.longest > LINE_LIMIT)


def facts_of(lines: Iterable[bytes]) -> Facts:
    """What is in a part."""
    facts = Facts()
    for line in lines:
        facts.see(line)
    return facts


def encoding_of(fields: tuple[Field, ...]) -> str:
    """The content transfer encoding that a part's header names, in lower case and without comments."""
    given = next(iter(values(fields, "content-transfer-encoding")), "").strip()
    found = _TOKEN.match(given)
    return found[0].lower() if found else ""


def kind_of(fields: tuple[Field, ...]) -> str:
    """A part's media type in lower case, `text/plain` where its header names none (RFC 2045 section 5.2)."""
    given = next(iter(values(fields, "content-type")), "")
    kind = re.sub(r"\([^()]*\)", "", given.partition(";")[0])
    return "".join(kind.split()).lower() or "text/plain"


def encoded(
    fields: tuple[Field, ...], facts: Facts, lines: Iterable[bytes], *, is_inside: bool = False
) -> tuple[tuple[Field, ...], Iterator[bytes]]:
    """A part's header and lines in a form that every server takes; as they are where that is possible.

    The last line end of a part that `is_inside` a multipart entity belongs to the boundary (RFC 2046 section 5.1.1).
    Raises SmtpsetupError for NUL in a part that says that it is encoded.
    """
    if facts.is_plain:
        return fields, iter(lines)
    encoding = encoding_of(fields)
    is_composite = kind_of(fields).startswith(("multipart/", "message/"))  # never encoded (RFC 2045 section 6.4)
    if is_composite or encoding.startswith(_ENCODINGS):
        if facts.has_nul:
            raise nul_in(encoding or kind_of(fields))
        return fields, broken(lines, b"=" if encoding == "quoted-printable" else b"")
    is_text = kind_of(fields).startswith("text/")
    is_readable = is_text and not facts.has_nul and facts.beyond_ascii * _MOST_BEYOND_ASCII < facts.size
    kept = tuple(
        field
        for field in fields
        if field.key != "content-transfer-encoding" and not (is_text and field.key == "content-type")
    )
    given = next(iter(values(fields, "content-type")), "")
    kind = (Field("Content-Type", _with_charset(given, facts)),) if is_text else ()
    named = (*kept, *kind, Field("Content-Transfer-Encoding", "quoted-printable" if is_readable else "base64"))
    return named, _quoted(lines) if is_readable else _base64(_shortened(lines) if is_inside else lines)


def nul_in(encoding: str) -> SmtpsetupError:
    """The error for NUL in what cannot be encoded."""
    text = _("A part of the mail holds NUL bytes although it says that it is {encoding}.")
    return SmtpsetupError("config.invalid", text.format(encoding=encoding[:40]), exit_code=EX_DATAERR)


def _with_charset(given: str, facts: Facts) -> str:
    """The Content-Type, with the charset found where it names none or one that cannot be right."""
    match = _CHARSET.search(given)
    charset = match[1].strip('"') if match else ""
    if charset and not (facts.beyond_ascii and _is_ascii(charset)):
        return given
    found = "us-ascii" if not facts.beyond_ascii else "utf-8" if facts.is_utf8 else "windows-1252"
    without = _CHARSET.sub("", given) if match else given
    return f'{without or "text/plain"}; charset="{found}"'


def _is_ascii(charset: str) -> bool:
    """Whether a charset is ASCII by any of its names, such as ANSI_X3.4-1968, which `locale charmap` prints."""
    try:
        return codecs.lookup(charset).name == "ascii"
    except LookupError:
        return False


def _quoted(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in quoted-printable (RFC 2045 section 6.7)."""
    for line in lines:
        words = line.removesuffix(b"\r\n")
        end = b"\r\n" if line.endswith(b"\r\n") else b"=\r\n"
        yield binascii.b2a_qp(words, istext=True).replace(b"\n", b"\r\n") + end


def _base64(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The content in base64 (RFC 2045 section 6.8)."""
    rest: list[bytes] = []
    size = 0
    for line in lines:
        rest.append(line)
        size += len(line)
        if size >= BASE64_CHUNK:
            data = b"".join(rest)
            whole = size // BASE64_CHUNK * BASE64_CHUNK
            yield base64_lines(data[:whole])
            rest, size = [data[whole:]], size - whole
    yield base64_lines(b"".join(rest))


def _shortened(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without the last line end."""
    before = b""
    for line in lines:
        if before:
            yield before
        before = line
    yield before.removesuffix(b"\r\n")


def broken(lines: Iterable[bytes], mark: bytes) -> Iterator[bytes]:
    """The lines, long ones broken; `mark` ends a line that continues (quoted-printable)."""
    words = b""
    for line in lines:
        words += line.removesuffix(b"\r\n")
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
    """Where to break a long line: after a blank near its end, else between characters."""
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

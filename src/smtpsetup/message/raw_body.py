"""The body of a message that another program wrote, in a form that every server accepts.

A body with parts is walked twice, line by line: once to learn what is in each part, once to write it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message import leaf, raw_header
from smtpsetup.message.leaf import Facts, encoded, facts_of, kind_of
from smtpsetup.message.message import LINE_LIMIT, Message
from smtpsetup.message.raw_header import Field, as_bytes, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.message.spool import Spool

_HEADER_LIMIT = 1_000_000  # bytes of a part's header
_MOST_LEVELS = 50  # of parts within parts
# what is signed or encrypted stays as it is, and a digest has messages for parts (RFC 2046 section 5.1.5)
_UNTOUCHED = ("multipart/signed", "multipart/encrypted", "multipart/digest")
_MESSAGES = ("message/rfc822", "message/global")  # they are not encoded, but what is in them can be


def corrected(fields: tuple[Field, ...], body: Spool) -> Message:
    """The message, with a body that can be sent. Raises OSError where there is no room for what is encoded.

    Parts with other than ASCII characters, NULs or lines beyond the limit are encoded, but for signed ones.
    """
    boundary = _boundary(fields)
    facts = facts_of(body.lines())
    if boundary is None:
        fields, lines = encoded(fields, facts, body.lines())
        if not facts.is_plain:
            body = body.like_this(lines)
            fields = fields if values(fields, "mime-version") else (*fields, Field("MIME-Version", "1.0"))
    elif not facts.is_plain:
        body = body.like_this(_written(fields, body))
    return Message(as_bytes(fields), body.chunks, body.size, body.is_ascii)


def _boundary(fields: tuple[Field, ...]) -> bytes | None:
    """The line that begins each part of a multipart entity, None for any other."""
    if not kind_of(fields).startswith("multipart/"):
        return None
    from email.message import Message as Parsed  # only for mails with parts: it reads RFC 2231 and quotes

    parsed = Parsed()
    parsed["Content-Type"] = next(iter(values(fields, "content-type")))
    name = parsed.get_boundary()
    return b"--" + name.encode("utf-8", "surrogateescape") if name else None


class _Is(Enum):
    """What a piece of a body is."""

    BOUNDARY = auto()
    HEADER = auto()  # of an entity that has parts, or is a message
    LEAF_HEADER = auto()
    CONTENT = auto()
    BETWEEN = auto()  # before the first part or after the last one, which no mail reader shows


class _Piece(NamedTuple):
    """A line of a body, or the header of a part with its empty line."""

    kind: _Is
    data: bytes
    is_untouched: bool = False


class _Walk:
    """A body with parts, line by line."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._levels: list[tuple[bytes, bool]] = []  # the boundaries of what is open, and whether that stays as it is
        self._header: list[bytes] | None = None
        self._size = 0
        self._is_in_leaf = False
        self._open(fields)

    def _open(self, fields: tuple[Field, ...]) -> None:
        boundary = _boundary(fields)
        if boundary is not None and len(self._levels) < _MOST_LEVELS:
            self._levels.append((boundary, self._is_untouched or kind_of(fields) in _UNTOUCHED))

    @property
    def _is_untouched(self) -> bool:
        return bool(self._levels) and self._levels[-1][1]

    def pieces(self, lines: Iterable[bytes]) -> Iterator[_Piece]:
        """The pieces of the body, in order."""
        for line in lines:
            if line.startswith(b"--") and self._is_boundary(line.rstrip()):
                yield from self._end_of_header()
                yield self._at_boundary(line)
            elif self._header is None:
                yield _Piece(_Is.CONTENT if self._is_in_leaf else _Is.BETWEEN, line, self._is_untouched)
            else:
                self._header.append(line)
                self._size += len(line)
                if line == b"\r\n" or self._size > _HEADER_LIMIT:
                    yield from self._end_of_header()
        yield from self._end_of_header()

    def _is_boundary(self, line: bytes) -> bool:
        return any(line in (boundary, boundary + b"--") for boundary, _is_untouched in self._levels)

    def _at_boundary(self, line: bytes) -> _Piece:
        marks = [boundary for boundary, _is_untouched in self._levels]
        level = next(place for place, mark in reversed(list(enumerate(marks))) if line.rstrip() in (mark, mark + b"--"))
        is_last = line.rstrip() != marks[level]
        self._levels = self._levels[: level if is_last else level + 1]
        self._header = None if is_last else []
        self._size = 0
        self._is_in_leaf = False
        return _Piece(_Is.BOUNDARY, line)

    def _end_of_header(self) -> Iterator[_Piece]:
        if self._header is None:
            return
        data, self._header = b"".join(self._header), None
        fields, rest = raw_header.split([data])
        kind, behind = kind_of(fields), b"".join(rest)
        if behind:  # a line that is no field ends the header
            data = data[: len(data) - len(behind)] + b"\r\n"
        elif kind in _MESSAGES and not leaf.encoding_of(fields).startswith(("base64", "quoted-printable")):
            self._header, self._size = [], 0  # that of the message in it
        self._is_in_leaf = self._header is None and not kind.startswith("multipart/")
        yield _Piece(_Is.LEAF_HEADER if self._is_in_leaf else _Is.HEADER, data, self._is_untouched)
        for line in behind.splitlines(keepends=True):
            yield _Piece(_Is.CONTENT if self._is_in_leaf else _Is.BETWEEN, line, self._is_untouched)
        self._open(fields)


def _written(fields: tuple[Field, ...], body: Spool) -> Iterator[bytes]:
    """The body again, its parts encoded where they must be."""
    facts = _facts_of_parts(fields, body)
    number = 0
    pieces = _Pieces(_Walk(fields).pieces(body.lines()))
    while (piece := pieces.next()) is not None:
        if piece.is_untouched:
            yield piece.data
        elif piece.kind is _Is.LEAF_HEADER:
            yield from _leaf(piece, facts.get(number), pieces.content())
        elif piece.kind is _Is.HEADER:
            yield _header(raw_header.split([piece.data])[0], piece.data)
        elif piece.kind is _Is.BETWEEN:
            yield _between(piece.data)
        else:
            yield piece.data
        number += piece.kind is _Is.LEAF_HEADER


def _facts_of_parts(fields: tuple[Field, ...], body: Spool) -> dict[int, Facts]:
    """What is in the parts that cannot be sent as they are, by their number."""
    found: dict[int, Facts] = {}
    number, facts = -1, Facts()
    for piece in _Walk(fields).pieces(body.lines()):
        if piece.kind is _Is.LEAF_HEADER:
            number, facts = number + 1, Facts()
        elif piece.kind is _Is.CONTENT:
            facts.see(piece.data)
            if not facts.is_plain:
                found[number] = facts
    return found


def _between(data: bytes) -> bytes:
    """A line that belongs to no part, in lines that can be sent. Raises SmtpsetupError for NUL."""
    if b"\0" in data:
        raise leaf.nul_in("multipart")
    words = data.removesuffix(b"\r\n")
    if len(words) < LINE_LIMIT:
        return data
    most = LINE_LIMIT - 1  # those after the first begin with a blank, so none can be a boundary
    end = b"\r\n" if data.endswith(b"\r\n") else b"\r\n "  # or it is a piece of a line that goes on
    return b"\r\n ".join(words[start : start + most] for start in range(0, len(words), most)) + end


class _Pieces:
    """Pieces, of which one can be looked at before it is taken."""

    def __init__(self, pieces: Iterator[_Piece]) -> None:
        self._pieces = pieces
        self._next = next(pieces, None)

    def next(self) -> _Piece | None:
        """The next piece, None at the end."""
        piece, self._next = self._next, next(self._pieces, None)
        return piece

    def content(self) -> Iterator[bytes]:
        """The lines of the part whose header was taken last."""
        while self._next is not None and self._next.kind is _Is.CONTENT:
            piece = self.next()
            if piece is not None:
                yield piece.data


def _leaf(piece: _Piece, facts: Facts | None, lines: Iterator[bytes]) -> Iterator[bytes]:
    fields = raw_header.split([piece.data])[0]
    if facts is None:
        yield _header(fields, piece.data)
        yield from lines
        return
    fields, content = encoded(fields, facts, lines, is_inside=True)
    yield as_bytes(fields)
    yield from content


def _header(fields: tuple[Field, ...], data: bytes) -> bytes:
    """A part's header, as it came where it can be sent so."""
    is_sendable = data.isascii() and b"\0" not in data and all(len(line) <= LINE_LIMIT for line in data.split(b"\r\n"))
    return data if is_sendable else as_bytes(fields)

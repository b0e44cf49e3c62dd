"""A walk through the parts of a message's body, line by line."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message import leaf, raw_header
from smtpsetup.message.leaf import kind_of
from smtpsetup.message.raw_header import Field, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEADER_LIMIT = 1_000_000  # bytes of a part's header
_MOST_LEVELS = 50  # of parts within parts
# what is signed or encrypted stays as it is, and a digest has messages for parts (RFC 2046 section 5.1.5)
_UNTOUCHED = ("multipart/signed", "multipart/encrypted", "multipart/digest")
_MESSAGES = ("message/rfc822", "message/global")  # they are not encoded, but what is in them can be


def boundary_of(fields: tuple[Field, ...]) -> bytes | None:
    """The line that begins each part of a multipart entity, None for any other."""
    if not kind_of(fields).startswith("multipart/"):
        return None
    from email.message import Message as Parsed  # only for mails with parts: it reads RFC 2231 and quotes

    parsed = Parsed()
    parsed["Content-Type"] = next(iter(values(fields, "content-type")))
    name = parsed.get_boundary()
    return b"--" + name.encode("utf-8", "surrogateescape") if name else None


class PieceKind(Enum):
    """What a piece of a body is."""

    BOUNDARY = auto()
    HEADER = auto()  # of an entity that has parts, or is a message
    LEAF_HEADER = auto()
    CONTENT = auto()
    BETWEEN = auto()  # before the first part or after the last one, which no mail reader shows


class Piece(NamedTuple):
    """A line of a body, or the header of a part with its empty line; `depth` counts the entities that are open."""

    kind: PieceKind
    data: bytes
    is_untouched: bool = False
    depth: int = 0


class Walk:
    """A body with parts, line by line. `position` is the end of the last piece, in bytes from the start of the body."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._levels: list[tuple[bytes, bool]] = []  # the boundaries of what is open, and whether that stays as it is
        self.position = 0
        self._header: list[bytes] | None = None
        self._size = 0
        self._is_in_leaf = False
        self._open(fields)

    def _open(self, fields: tuple[Field, ...]) -> None:
        boundary = boundary_of(fields)
        if boundary is not None and len(self._levels) < _MOST_LEVELS:
            self._levels.append((boundary, self._is_untouched or kind_of(fields) in _UNTOUCHED))

    @property
    def _is_untouched(self) -> bool:
        return bool(self._levels) and self._levels[-1][1]

    def pieces(self, lines: Iterable[bytes]) -> Iterator[Piece]:
        """The pieces of the body, in order."""
        for line in lines:
            if line.startswith(b"--") and self._is_boundary(line.rstrip()):
                yield from self._end_of_header()
                self.position += len(line)
                yield self._at_boundary(line)
            elif self._header is None:
                self.position += len(line)
                yield self._line(line)
            else:
                self._header.append(line)
                self._size += len(line)
                if line == b"\r\n" or self._size > _HEADER_LIMIT:
                    yield from self._end_of_header()
        yield from self._end_of_header()

    def _piece(self, kind: PieceKind, data: bytes) -> Piece:
        return Piece(kind, data, self._is_untouched, len(self._levels))

    def _line(self, line: bytes) -> Piece:
        return self._piece(PieceKind.CONTENT if self._is_in_leaf else PieceKind.BETWEEN, line)

    def _is_boundary(self, line: bytes) -> bool:
        return any(line in (boundary, boundary + b"--") for boundary, _is_untouched in self._levels)

    def _at_boundary(self, line: bytes) -> Piece:
        marks = [boundary for boundary, _is_untouched in self._levels]
        level = next(place for place, mark in reversed(list(enumerate(marks))) if line.rstrip() in (mark, mark + b"--"))
        is_last = line.rstrip() != marks[level]
        self._levels = self._levels[: level if is_last else level + 1]
        self._header = None if is_last else []
        self._size = 0
        self._is_in_leaf = False
        return Piece(PieceKind.BOUNDARY, line, depth=len(self._levels))

    def _end_of_header(self) -> Iterator[Piece]:
        if self._header is None:
            return
        data, self._header = b"".join(self._header), None
        fields, rest = raw_header.split([data])
        kind, behind = kind_of(fields), b"".join(rest)
        self.position += len(data) - len(behind)
        if behind:  # a line that is no field ends the header
            data = data[: len(data) - len(behind)] + b"\r\n"
        elif kind in _MESSAGES and not leaf.encoding_of(fields).startswith(("base64", "quoted-printable")):
            self._header, self._size = [], 0  # that of the message in it
        self._is_in_leaf = self._header is None and not kind.startswith("multipart/")
        yield self._piece(PieceKind.LEAF_HEADER if self._is_in_leaf else PieceKind.HEADER, data)
        for line in behind.splitlines(keepends=True):
            self.position += len(line)
            yield self._line(line)
        self._open(fields)

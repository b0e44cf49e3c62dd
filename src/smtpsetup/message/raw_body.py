"""The body of a message that another program wrote, in a form that every server accepts.

A body with parts is walked twice, line by line: once to learn what is in each part, once to write it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.message import leaf, raw_header
from smtpsetup.message.leaf import Facts, encoded, facts_of
from smtpsetup.message.message import LINE_LIMIT, Message
from smtpsetup.message.mime_walk import Piece, PieceKind, Walk, boundary_of
from smtpsetup.message.raw_header import Field, as_bytes, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.message.spool import Spool


def corrected(fields: tuple[Field, ...], body: Spool) -> Message:
    """The message, with a body that can be sent. Raises OSError where there is no room for what is encoded.

    Parts with other than ASCII characters, NULs or lines beyond the limit are encoded, but for signed ones.
    """
    boundary = boundary_of(fields)
    facts = facts_of(body.lines())
    if boundary is None:
        fields, lines = encoded(fields, facts, body.lines())
        if not facts.is_plain:
            body = body.like_this(lines)
            fields = fields if values(fields, "mime-version") else (*fields, Field("MIME-Version", "1.0"))
    elif not facts.is_plain:
        body = body.like_this(_written(fields, body))
    return Message(as_bytes(fields), body.chunks, body.size, body.is_ascii)


def _written(fields: tuple[Field, ...], body: Spool) -> Iterator[bytes]:
    """The body again, its parts encoded where they must be."""
    facts = _facts_of_parts(fields, body)
    number = 0
    pieces = _Pieces(Walk(fields).pieces(body.lines()))
    while (piece := pieces.next()) is not None:
        if piece.is_untouched:
            yield piece.data
        elif piece.kind is PieceKind.LEAF_HEADER:
            yield from _leaf(piece, facts.get(number), pieces.content())
        elif piece.kind is PieceKind.HEADER:
            yield _header(raw_header.split([piece.data])[0], piece.data)
        elif piece.kind is PieceKind.BETWEEN:
            yield _between(piece.data)
        else:
            yield piece.data
        number += piece.kind is PieceKind.LEAF_HEADER


def _facts_of_parts(fields: tuple[Field, ...], body: Spool) -> dict[int, Facts]:
    """What is in the parts that cannot be sent as they are, by their number."""
    found: dict[int, Facts] = {}
    number, facts = -1, Facts()
    for piece in Walk(fields).pieces(body.lines()):
        if piece.kind is PieceKind.LEAF_HEADER:
            number, facts = number + 1, Facts()
        elif piece.kind is PieceKind.CONTENT:
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

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._next = next(pieces, None)

    def next(self) -> Piece | None:
        """The next piece, None at the end."""
        piece, self._next = self._next, next(self._pieces, None)
        return piece

    def content(self) -> Iterator[bytes]:
        """The lines of the part whose header was taken last."""
        while self._next is not None and self._next.kind is PieceKind.CONTENT:
            piece = self.next()
            if piece is not None:
                yield piece.data


def _leaf(piece: Piece, facts: Facts | None, lines: Iterator[bytes]) -> Iterator[bytes]:
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

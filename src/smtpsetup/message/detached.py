"""A large message taken apart: the message without its large files, and the files, for services that take them apart.

Nothing is in memory whole: each file is decoded from the message while it is read.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message.leaf import encoding_of, kind_of
from smtpsetup.message.mime_walk import Piece, PieceKind, Walk
from smtpsetup.message.raw_header import split, values
from smtpsetup.message.spool import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.message.message import Message
    from smtpsetup.message.raw_header import Field

_NAME_LIMIT = 200  # characters
_LINES_AT_ONCE = 500
_GROUP = 4  # letters of base64 that stand for three bytes
_NO_PART = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n\r\n"


class File(NamedTuple):
    """A file of a message. `size` is in bytes; `content` gives them from the start, and may raise as `Message.body`."""

    name: str
    media_type: str
    content_id: str
    is_inline: bool
    size: int
    content: Callable[[], Iterator[bytes]]


class Detached(NamedTuple):
    """A message without its files, as `header` and `body` of Message, and the files."""

    message: Message
    files: tuple[File, ...]


def detached(message: Message) -> Detached:
    """Take the files out of a message: the parts in base64 that have a name, beside the text of a multipart/mixed.

    A message of another form has no files. Raises as `Message.body`.
    """
    fields, _rest = split([message.header])
    if kind_of(fields) != "multipart/mixed":
        return Detached(message, ())
    heads: list[tuple[Field, ...]] = []
    sizes: list[int] = []
    small = 0
    for number, piece in _numbered(fields, message):
        if number is None:
            small += len(piece.data)
        elif piece.kind is PieceKind.LEAF_HEADER:
            heads.append(split([piece.data])[0])
            sizes.append(0)
        else:
            sizes[-1] += len(piece.data.translate(None, b"\r\n \t"))
    if not heads:
        return Detached(message, ())
    files = tuple(_file(fields, message, number, head) for number, head in enumerate(heads))
    return Detached(message._replace(body=lambda: _without_files(fields, message), body_size=small), files)


def _numbered(fields: tuple[Field, ...], message: Message) -> Iterator[tuple[int | None, Piece]]:
    """The pieces of the body, each with the number of its file; None for what stays.

    The boundary before a file goes with it. Where nothing but files is left, an empty text stands for them.
    """
    number = -1
    is_in_file = has_part = False
    boundary: Piece | None = None
    for piece in Walk(fields).pieces(lines_of(message.body())):
        if piece.kind is PieceKind.BOUNDARY and piece.depth <= 1:
            is_in_file = False
            if piece.depth == 0 and not has_part:
                yield None, Piece(PieceKind.BOUNDARY, piece.data.rstrip().removesuffix(b"--") + b"\r\n")
                yield None, Piece(PieceKind.CONTENT, _NO_PART)
            if piece.depth == 0:
                yield None, piece
            else:
                boundary = piece
            continue
        if piece.kind is PieceKind.LEAF_HEADER and piece.depth == 1 and _is_file(split([piece.data])[0]):
            number += 1
            is_in_file, boundary = True, None
        if boundary is not None:
            yield None, boundary
            boundary, has_part = None, True
        yield number if is_in_file else None, piece


def _is_file(fields: tuple[Field, ...]) -> bool:
    return encoding_of(fields) == "base64" and bool(_name(fields))


def _name(fields: tuple[Field, ...]) -> str:
    from email.message import Message as Parsed  # only for large mails: it reads RFC 2231 and encoded words

    parsed = Parsed()
    for key in ("content-disposition", "content-type"):
        for value in values(fields, key)[:1]:
            parsed[key] = value
    name = parsed.get_filename() or ""
    return "".join(char for char in name if char.isprintable())[:_NAME_LIMIT]


def _file(fields: tuple[Field, ...], message: Message, number: int, head: tuple[Field, ...]) -> File:
    def content() -> Iterator[bytes]:
        pieces = (
            piece.data
            for at, piece in _numbered(fields, message)
            if at == number and piece.kind is not PieceKind.LEAF_HEADER
        )
        return _decoded(pieces)

    disposition = next(iter(values(head, "content-disposition")), "")
    content_id = next(iter(values(head, "content-id")), "").strip().removeprefix("<").removesuffix(">")
    size = sum(len(piece) for piece in content())
    is_inline = disposition.lower().startswith("inline") and bool(content_id)
    return File(_name(head), kind_of(head), content_id, is_inline, size, content)


def _decoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes that base64 stands for. What is no letter of it is left out, as readers do (RFC 2045 section 6.8)."""
    rest = b""
    for lines in _gathered(pieces):
        letters = rest + lines.translate(None, b"\r\n \t")
        whole = len(letters) // _GROUP * _GROUP
        rest = letters[whole:]
        if whole:
            yield binascii.a2b_base64(letters[:whole])
    if rest:
        yield binascii.a2b_base64(rest + b"=" * (-len(rest) % _GROUP))


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, many of them in one: a line of base64 stands for few bytes."""
    held: list[bytes] = []
    for piece in pieces:
        held.append(piece)
        if len(held) == _LINES_AT_ONCE:
            yield b"".join(held)
            held.clear()
    yield b"".join(held)


def _without_files(fields: tuple[Field, ...], message: Message) -> Iterator[bytes]:
    for number, piece in _numbered(fields, message):
        if number is None:
            yield piece.data

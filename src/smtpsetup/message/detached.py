"""A large message taken apart: the message without its large files, and the files, for services that take them apart.

Nothing is in memory whole: each file is decoded from the message while it is read.
"""

from __future__ import annotations

import binascii
import string
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message.leaf import encoding_of, kind_of
from smtpsetup.message.mime_walk import Piece, PieceKind, Walk
from smtpsetup.message.raw_header import split, values
from smtpsetup.message.spool import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smtpsetup.message.message import Message
    from smtpsetup.message.raw_header import Field

_NAME_LIMIT = 200  # characters
_AT_ONCE = 32_768  # bytes of base64
_NO_BASE64 = bytes(set(range(256)).difference(string.ascii_letters.encode(), string.digits.encode(), b"+/="))
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
    found: list[_Found] = []
    small = 0
    walk = Walk(fields)
    for is_file, piece in _sorted(walk, message):
        if not is_file:
            small += len(piece.data)
        elif piece.kind is PieceKind.LEAF_HEADER:
            found.append(_Found(split([piece.data])[0]))
        else:
            found[-1].add(piece.data, walk.position)
    if not found:
        return Detached(message, ())
    files = tuple(_file(message, place) for place in found)
    return Detached(message._replace(body=lambda: _without_files(fields, message), body_size=small), files)


class _Found:
    """A file that was found: its header, and where the body has its base64."""

    def __init__(self, head: tuple[Field, ...]) -> None:
        self.head = head
        self.end = 0  # in bytes from the start of the body
        self.length = 0
        self._letters = 0
        self._is_over = False

    def add(self, line: bytes, end: int) -> None:
        """Add a line that ends there."""
        self.end = end
        self.length += len(line)
        if not self._is_over:
            letters, padding, _behind = line.translate(None, _NO_BASE64).partition(b"=")
            self._letters += len(letters)
            self._is_over = bool(padding)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        whole, left = divmod(self._letters, _GROUP)
        return whole * 3 + max(0, left - 1)


def _sorted(walk: Walk, message: Message) -> Iterator[tuple[bool, Piece]]:
    """The pieces of the body, each with whether it is of a file.

    The boundary before a file goes with it. Where nothing but files is left, an empty text stands for them.
    """
    is_in_file = has_part = False
    boundary: Piece | None = None
    for piece in walk.pieces(lines_of(message.body())):
        if piece.kind is PieceKind.BOUNDARY and piece.depth <= 1:
            is_in_file = False
            if piece.depth == 0 and not has_part:
                yield False, Piece(PieceKind.BOUNDARY, piece.data.rstrip().removesuffix(b"--") + b"\r\n")
                yield False, Piece(PieceKind.CONTENT, _NO_PART)
            if piece.depth == 0:
                yield False, piece
            else:
                boundary = piece
            continue
        if piece.kind is PieceKind.LEAF_HEADER and piece.depth == 1 and _is_file(split([piece.data])[0]):
            is_in_file, boundary = True, None
        if boundary is not None:
            yield False, boundary
            boundary, has_part = None, True
        yield is_in_file, piece


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


def _file(message: Message, found: _Found) -> File:
    def content() -> Iterator[bytes]:
        return _decoded(_between(message.body(), found.end - found.length, found.end))

    head = found.head
    disposition = next(iter(values(head, "content-disposition")), "")
    content_id = next(iter(values(head, "content-id")), "").strip().removeprefix("<").removesuffix(">")
    is_inline = disposition.lower().startswith("inline") and bool(content_id)
    return File(_name(head), kind_of(head), content_id, is_inline, found.size, content)


def _between(chunks: Iterable[bytes], start: int, end: int) -> Iterator[bytes]:
    """What the chunks have from one byte to another, small ones together."""
    at, held, size = 0, [b""], 0
    for chunk in chunks:
        part = chunk[max(0, start - at) : max(0, end - at)]
        at += len(chunk)
        held.append(part)
        size += len(part)
        if size >= _AT_ONCE:
            yield b"".join(held)
            held, size = [], 0
        if at >= end:
            break
    yield b"".join(held)


def _decoded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes that base64 stands for, up to its padding. Other characters are left out (RFC 2045 section 6.8)."""
    rest = b""
    for chunk in chunks:
        found, padding, _behind = chunk.translate(None, _NO_BASE64).partition(b"=")
        letters = rest + found
        whole = len(letters) // _GROUP * _GROUP
        rest = letters[whole:]
        if whole:
            yield binascii.a2b_base64(letters[:whole])
        if padding:
            break
    if len(rest) > 1:
        yield binascii.a2b_base64(rest + b"=" * (_GROUP - len(rest)))


def _without_files(fields: tuple[Field, ...], message: Message) -> Iterator[bytes]:
    for is_file, piece in _sorted(Walk(fields), message):
        if not is_file:
            yield piece.data

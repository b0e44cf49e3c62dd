"""The text of a mail in PostgreSQL: the header and the body as one run of bytes, cut into rows."""

from __future__ import annotations

from binascii import crc32
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message.message import Message
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.postgresql.schema import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from smtpsetup.outbox.postgresql.connection import Connection

_ADD = "INSERT INTO smtpsetup.content VALUES (%s, %s, %s)"
_READ = "SELECT data FROM smtpsetup.content WHERE mail = %s AND part = %s"


def parts(message: Message) -> Generator[bytes]:
    """The message in pieces as they are stored. Raises OSError where a file behind it cannot be read."""
    waiting = bytearray()
    size = 0
    with closing(message.chunks()) as chunks:  # a file or a database behind it is left at once
        for chunk in chunks:
            waiting += chunk
            size += len(chunk)
            while len(waiting) >= PART_BYTES:
                yield bytes(waiting[:PART_BYTES])
                del waiting[:PART_BYTES]
    if size != message.size:
        raise OSError(0, "it changed while it was read")
    if waiting:
        yield bytes(waiting)


def add_parts(db: Connection, number: int, message: Message) -> int:
    """Store a message. Returns its checksum. Raises SharedOutboxError, and OSError as `parts`."""
    checksum = 0
    with closing(parts(message)) as pieces:
        for part, piece in enumerate(pieces):
            db.run(_ADD, (number, part, piece))
            checksum = crc32(piece, checksum)
    return checksum


class Facts(NamedTuple):
    """What a mail's row says of its text: sizes in bytes, and the CRC-32 of the whole."""

    size: int
    header_size: int
    is_ascii: bool
    checksum: int


class Text:
    """The stored text of a mail. `first` is part 0 where that has been read already."""

    def __init__(self, db: Connection, number: int, facts: Facts, first: bytes | None = None) -> None:
        """Raises OutboxDamagedError where the first part is missing."""
        self._db = db
        self._number = number
        self._facts = facts
        self._first = _part(db, number, 0) if first is None else first

    def pieces(self) -> Iterator[bytes]:
        """The text, part by part. Raises OutboxDamagedError where one is missing."""
        yield self._first
        for part in range(1, -(-self._facts.size // PART_BYTES)):
            yield _part(self._db, self._number, part)

    def check(self) -> None:
        """Raise OutboxDamagedError where the text does not match its checksum."""
        checksum = size = 0
        for piece in self.pieces():
            checksum = crc32(piece, checksum)
            size += len(piece)
        if (checksum, size) != (self._facts.checksum, self._facts.size):
            raise OutboxDamagedError(self._db.shown)

    def message(self) -> Message:
        """The text as a message, whose body is read on demand."""
        facts, header = self._facts, b""
        for piece in self.pieces():
            header += piece
            if len(header) >= facts.header_size:
                break
        return Message(header[: facts.header_size], self._body, facts.size - facts.header_size, facts.is_ascii)

    def _body(self) -> Iterator[bytes]:
        skip = self._facts.header_size
        for piece in self.pieces():
            if len(piece) > skip:
                yield piece[skip:]
            skip = max(0, skip - len(piece))


def _part(db: Connection, number: int, part: int) -> bytes:
    found = db.rows(_READ, (number, part))
    if not found:
        raise OutboxDamagedError(db.shown)
    return bytes(found[0][0])

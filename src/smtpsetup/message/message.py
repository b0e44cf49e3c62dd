"""A message as bytes in pieces, so that a large one is never in memory whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

LINE_LIMIT = 998
"""Bytes of a line without its CRLF (RFC 5322 section 2.1.1, RFC 5321 section 4.5.3.1.6)."""


class Message(NamedTuple):
    """A message ready for the wire (RFC 5322): lines end in CRLF and have at most 998 bytes before it.

    `header` ends with the empty line. `body` gives the rest piece by piece, from the start at every call; it may raise
    OSError or SmtpsetupError where a file behind it cannot be read. `body_size` is in bytes; `is_ascii` tells whether
    the body is.
    """

    header: bytes
    body: Callable[[], Iterator[bytes]]
    body_size: int
    is_ascii: bool = True

    @property
    def size(self) -> int:
        """Bytes of the whole message."""
        return len(self.header) + self.body_size

    def chunks(self) -> Generator[bytes]:
        """The whole message, piece by piece."""
        yield self.header
        yield from self.body()


class Envelope(NamedTuple):
    """The sender and the recipients in MAIL and RCPT; domains are A-labels."""

    sender: str
    recipients: tuple[str, ...]


def is_utf8(chunks: Iterable[bytes]) -> bool:
    """Whether the chunks together are UTF-8."""
    import codecs  # most messages are ASCII

    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True

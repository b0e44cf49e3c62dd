"""Reading the message after DATA as it comes, so that a large one is never in memory whole (RFC 5321 section 4.5.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_END = b"\r\n.\r\n"
_LAST_LINE = b".\r\n"
_PIECE = 65_536  # bytes


async def content(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The message up to CRLF, dot, CRLF, in pieces, dots unstuffed.

    Only that sequence ends it, so that a bare LF or CR can smuggle no second message in. Where the client ends the
    connection first, the session is cancelled (`SMTP.eof_received` of aiosmtpd).
    """
    before = b"\r\n"  # the last two bytes of what has come: the message begins at the start of a line
    held: list[bytes] = []
    size = 0
    while True:
        try:
            piece = await reader.readuntil(_LAST_LINE)
        except asyncio.LimitOverrunError as error:
            piece = await reader.read(error.consumed)
        text = before + piece
        is_end = text.endswith(_END)
        before = text[-2:]
        held.append(text.replace(b"\r\n.", b"\r\n")[2:] if not is_end else _last(text))
        size += len(piece)
        if is_end or size >= _PIECE:
            yield b"".join(held)
            held.clear()
            size = 0
        if is_end:
            return


def _last(text: bytes) -> bytes:
    """The last piece, without the line with the dot."""
    return text[: -len(_LAST_LINE)].replace(b"\r\n.", b"\r\n")[2:]

"""Messages for tests and benches."""

from __future__ import annotations

from smtpsetup.message.message import Message


def from_bytes(content: bytes) -> Message:
    """A message from its bytes."""
    header, blank, body = content.partition(b"\r\n\r\n")
    return Message(header + blank, lambda: iter((body,)), len(body), body.isascii())

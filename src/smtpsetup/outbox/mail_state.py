"""The states of a mail in the outbox."""

from __future__ import annotations

from enum import StrEnum


class MailState(StrEnum):
    """The state of a mail in the outbox. UNKNOWN: all of it was sent, and no reply came."""

    WAITING = "waiting"
    SENDING = "sending"
    UNKNOWN = "unknown"
    FAILED = "failed"

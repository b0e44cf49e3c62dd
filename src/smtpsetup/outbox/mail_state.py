"""What a mail in the outbox is at."""

from __future__ import annotations

from enum import StrEnum


class MailState(StrEnum):
    """What a mail in the outbox is at. UNKNOWN: the server got all of it, and its reply was lost."""

    WAITING = "waiting"
    SENDING = "sending"
    UNKNOWN = "unknown"
    FAILED = "failed"

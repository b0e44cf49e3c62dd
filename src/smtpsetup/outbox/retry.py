"""The retry schedule: when a mail that could not be sent is tried again, and when it is given up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.failure import Reply

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 3600.0
GIVE_UP_SECONDS = 5 * 86_400.0  # RFC 5321 section 4.5.4.1: four to five days
LEAST_ATTEMPTS = 20
_DAY = 86_400.0
_LONGEST_ASKED = 2 * _DAY  # seconds that a server can ask for
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY}
_ASKED = (
    re.compile(
        r"\b(?:retry|try|wait|again|after|in|for|later)\D{0,24}?\b(\d{1,6})[ -]*(s|m|h|d)(?:ec|in|our|ay|r|$|\b)",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:retry[- ]after)\W{1,3}(\d{1,6})()", re.IGNORECASE),
)
_A_DAY = re.compile(r"\b(?:tomorrow|daily|per day|in a day|a day|day's|24[- ]?h)", re.IGNORECASE)
_AN_HOUR = re.compile(r"\b(?:hourly|per hour|an hour|1[- ]?h(?:our)?)\b", re.IGNORECASE)


def seconds_until_next(attempts: int, reply: Reply | None = None, code: str = "") -> float:
    """Seconds from a failed attempt to the next: 60, doubling to an hour, and not less than the server asks for.

    `attempts` counts the failed attempts, the last one included. `code` is the error's: a used-up quota (`limit.quota`)
    takes hours to recover.
    """
    usual = min(FIRST_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_SECONDS)
    asked = _asked(reply.text) if reply else None
    if asked is None and code == "limit.quota":
        asked = _AN_HOUR_SECONDS if reply and _AN_HOUR.search(reply.text) else _QUOTA_SECONDS
    return max(usual, asked or 0.0)


_AN_HOUR_SECONDS = 3600.0
_QUOTA_SECONDS = 4 * 3600.0  # a day's quota mostly slides: some of it is back before a day is over


def _asked(text: str) -> float | None:
    """The seconds that a reply asks to wait, None where it names no time."""
    words = " ".join(text.split())
    for pattern in _ASKED:
        match = pattern.search(words)
        if match:
            return min(float(match[1]) * _UNITS[(match[2] or "s").lower()], _LONGEST_ASKED)
    if _A_DAY.search(words):
        return _DAY
    return _AN_HOUR_SECONDS if _AN_HOUR.search(words) else None

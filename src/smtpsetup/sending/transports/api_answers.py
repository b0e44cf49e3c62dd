"""What answers of an API mean: the error's code and message, and the pause that is asked for."""

from __future__ import annotations

import email.utils
import json
import re
import time
from typing import TYPE_CHECKING, Any

from smtpsetup.core.failure import HttpReply
from smtpsetup.core.model import plain_text
from smtpsetup.state.request_limits import LONGEST_PAUSE

if TYPE_CHECKING:
    from smtpsetup.net.http_connection import Response
    from smtpsetup.net.masks import Masks

_TOO_MANY = 429
_ASKS_TO_WAIT = (_TOO_MANY, 503, 504)
_USUAL_PAUSE = 10.0  # seconds, for a 429 that names none
_MESSAGE_LIMIT = 1000  # characters


def document_in(response: Response) -> dict[str, Any] | None:
    """The JSON object of an answer, None where there is none."""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def reply_of(response: Response, masks: Masks) -> HttpReply:
    """An answer as a reply: the error's code and message where the body has them, cleaned and masked."""
    words = _words(document_in(response) or {}) or response.reason
    challenge = response.headers.get("www-authenticate", "")
    if "claims" in challenge:  # Conditional Access: the token must be renewed by a person
        words = f"{words} (insufficient_claims)"
    return HttpReply(response.status, "", (plain_text(masks.applied(words))[:_MESSAGE_LIMIT],))


def _words(document: dict[str, Any]) -> str:
    """The error of Graph (https://learn.microsoft.com/graph/errors) or of Google, as `code: message`."""
    error = document.get("error")
    if not isinstance(error, dict):
        return ""
    entries = (*_entries(error.get("errors")), *_entries(error.get("details")))
    reasons = (error.get("code"), *(entry.get("reason") for entry in entries), error.get("status"))
    named = dict.fromkeys(reason for reason in reasons if isinstance(reason, str) and reason)
    message = error.get("message")
    return ": ".join(part for part in (" ".join(named), message if isinstance(message, str) else "") if part)


def _entries(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def pause_in(response: Response) -> float | None:
    """The seconds to wait before the same request, at most a day; None where the provider asks for no pause.

    Google names the time in the message, and no header.
    """
    if response.status not in _ASKS_TO_WAIT:
        return None
    given = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}", given):
        return min(float(given), LONGEST_PAUSE)
    at = _moment(given) or _moment(_retry_time(response))
    if at is not None:
        return min(max(1.0, at - time.time()), LONGEST_PAUSE)
    return _USUAL_PAUSE if response.status == _TOO_MANY else None


def _retry_time(response: Response) -> str:
    found = re.search(r"Retry after (\d{4}-\d\d-\d\dT[\d:.]+Z)", _words(document_in(response) or {}))
    return found[1] if found else ""


def _moment(text: str) -> float | None:
    """A time of HTTP or of ISO 8601, in seconds since 1970."""
    if not text:
        return None
    import datetime  # for a rare header only

    try:
        if text.endswith("Z") and "T" in text:
            return datetime.datetime.fromisoformat(text).timestamp()
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None

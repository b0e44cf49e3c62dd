"""How a mail is read from SQLite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from smtpsetup.outbox.mail import Mail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.database import IS_SOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

STORED = tuple(name for name in Mail._fields if name != "is_sound")
COLUMNS = ", ".join((*STORED, IS_SOUND))
"""In SQL: the columns that `read_mail` reads."""

_NUMBERS: dict[str, type | tuple[type, ...]] = {
    "id": int,
    "size": int,
    "attempts": int,
    "next_attempt": (int, float, type(None)),
    "queued_at": (int, float),
    "unknowns": int,
    "put_offs": int,
}
# seconds since 1970, and counts
_AT_MOST = {
    "next_attempt": 1e11,
    "queued_at": 1e11,
    "attempts": 10**9,
    "put_offs": 10**9,
    "unknowns": 10**9,
}


def read_mail(row: Sequence[object]) -> Mail:
    """A row of COLUMNS as a Mail. Raises ValueError for values of the wrong type."""
    values: dict[str, Any] = dict(zip((*STORED, "is_sound"), row, strict=True))
    recipients = json.loads(str(values["recipients"]))
    if not isinstance(recipients, list) or not all(isinstance(recipient, str) for recipient in recipients):
        raise ValueError(row)
    if not all(isinstance(values[name], kind) for name, kind in _NUMBERS.items()):
        raise ValueError(row)
    for name, most in _AT_MOST.items():  # the checksum does not cover them
        values[name] = values[name] if values[name] is None or 0 <= values[name] <= most else 0
    values["recipients"] = tuple(recipients)
    values["state"] = MailState(values["state"]) if values["state"] in tuple(MailState) else MailState.FAILED
    for name in ("holds", "is_report", "is_sound"):
        values[name] = bool(values[name])
    return Mail(**values)


def shown_mail(row: Sequence[object]) -> Mail:
    """As `read_mail`; a damaged mail is shown as failed and without recipients, so that others can still be listed."""
    try:
        mail = read_mail(row)
    except ValueError:
        mail = None
    if mail is not None and mail.is_sound:
        return mail
    values = dict(zip((*STORED, "is_sound"), row, strict=True))
    account, sender, subject, message_id = (
        str(values[name]) for name in ("account", "sender", "subject", "message_id")
    )
    number = values["id"] if isinstance(values["id"], int) else 0
    return Mail(
        number, account, sender, (), subject, message_id, 0, MailState.FAILED, 0, None, 0.0, "unreadable", "", 0,
        holds=False, is_report=False, config="", put_offs=0, client="", is_sound=False,
    )  # fmt: skip

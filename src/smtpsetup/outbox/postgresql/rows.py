"""How a mail is written to PostgreSQL and read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpsetup.outbox.mail import Mail
from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
    from collections.abc import Sequence

_LATEST = 1e11  # seconds since 1970
STORED = tuple(name for name in Mail._fields if name != "is_sound")


def columns(table: str = "mail") -> str:
    """In SQL: the columns that `read_mail` reads."""
    return ", ".join(f"{table}.{name}" for name in STORED)


def read_mail(row: Sequence[Any]) -> Mail:
    """A row of these columns as a Mail. What another program has written there is made harmless."""
    values = dict(zip(STORED, row, strict=True))
    values["recipients"] = tuple(one for one in values["recipients"] or () if isinstance(one, str))
    values["state"] = MailState(values["state"]) if values["state"] in tuple(MailState) else MailState.FAILED
    for name in ("next_attempt", "queued_at"):
        if values[name] is not None and not 0 <= values[name] <= _LATEST:
            values[name] = 0.0
    return Mail(**values, is_sound=True)

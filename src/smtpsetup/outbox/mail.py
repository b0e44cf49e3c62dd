"""What a mail in the outbox is, and what it is read from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.outbox.database import IS_SOUND
from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpsetup.message.message import Envelope, Message


class Mail(NamedTuple):
    """One mail of the outbox. Times are seconds since 1970; `next_attempt` is None where none is planned.

    `holds` says that it is not sent again by itself once its outcome is unknown; `unknowns` counts how often it was.
    `attempts` counts the failed attempts, `put_offs` those of them that did not get as far as a server, for want of a
    password or an account. `is_sound` is whether all of this is as it was written.
    """

    id: int
    account: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    size: int
    state: MailState
    attempts: int
    next_attempt: float | None
    queued_at: float
    last_reply: str
    last_code: str
    unknowns: int
    holds: bool
    is_report: bool
    config: str
    put_offs: int
    is_sound: bool

    @property
    def is_held(self) -> bool:
        """Whether it is not sent again by itself once its outcome is unknown: it `holds`, or was unknown before."""
        return self.holds or self.unknowns > 0


class NewMail(NamedTuple):
    """A mail to put into the outbox. `next_attempt` None means that it waits for a person.

    `config` is the file that has its account, `""` for the usual one. `lease` is that of the process which sends it
    now; its state is SENDING then.
    """

    account: str
    envelope: Envelope
    message: Message
    message_id: str
    subject: str
    state: MailState = MailState.WAITING
    attempts: int = 0
    next_attempt: float | None = 0.0
    last_reply: str = ""
    last_code: str = ""
    holds: bool = False
    is_report: bool = False
    config: str = ""
    lease: str | None = None


STORED = tuple(name for name in Mail._fields if name != "is_sound")
COLUMNS = ", ".join((*STORED, IS_SOUND))
"""In SQL: what a Mail is read from."""

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
    """A row of COLUMNS as a Mail. Raises ValueError for one that makes no sense."""
    values: dict[str, Any] = dict(zip((*STORED, "is_sound"), row, strict=True))
    recipients = json.loads(str(values["recipients"]))
    if not isinstance(recipients, list) or not all(isinstance(recipient, str) for recipient in recipients):
        raise ValueError(row)
    if not all(isinstance(values[name], kind) for name, kind in _NUMBERS.items()):
        raise ValueError(row)
    for name, most in _AT_MOST.items():  # of which no checksum tells
        values[name] = values[name] if values[name] is None or 0 <= values[name] <= most else 0
    values["recipients"] = tuple(recipients)
    values["state"] = MailState(values["state"]) if values["state"] in tuple(MailState) else MailState.FAILED
    for name in ("holds", "is_report", "is_sound"):
        values[name] = bool(values[name])
    return Mail(**values)


def shown_mail(row: Sequence[object]) -> Mail:
    """As `read_mail`; one that is damaged is shown as failed and to nobody, so that it is in no other mail's way."""
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
        holds=False, is_report=False, config="", put_offs=0, is_sound=False,
    )  # fmt: skip

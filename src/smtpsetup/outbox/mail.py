"""A mail in the outbox, and how it is read from the database."""

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

    `attempts` counts the failed attempts, and `put_offs` those of them that an error of the account caused, such as a
    missing password or a refused login. `unknowns` counts the attempts whose outcome is unknown; with `holds`, the mail
    is not sent again automatically after one. `is_report` marks a failure notice. `client` is the name of the relay's
    client that handed it over, or `""`. `is_sound` is false where the checksum shows damage.
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
    client: str
    is_sound: bool

    @property
    def is_held(self) -> bool:
        """Whether it is not sent again by itself once its outcome is unknown: it `holds`, or was unknown before."""
        return self.holds or self.unknowns > 0


class NewMail(NamedTuple):
    """A mail to put into the outbox. `next_attempt` None means that only a person sends it again.

    `config` is the configuration file that has its account, `""` for the usual one. `lease` is that of the process
    which sends the mail now; its state is SENDING then. `client` is that of Mail.
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
    client: str = ""


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

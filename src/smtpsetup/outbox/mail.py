"""A mail in the outbox, and a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
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
    which sends the mail now; its state is SENDING then. `client` is that of Mail. `queued_at` is when the mail was
    taken from the user, 0 for now: with the Message-ID it tells one mail from all others.
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
    queued_at: float = 0.0


def as_text(text: str) -> str:
    """`text` as databases take it: PostgreSQL stores no NUL characters, and neither it nor SQLite a surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()

"""What a flush of the outbox has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.sending.send_one import SendResult


@dataclass
class Flushed:
    """The counts and results of a flush.

    `is_crowded` says that other machines had all connections that the provider allows for an account.

    `errors` has the reason why an account's mail was not tried, by the account's name, and an entry for each damaged
    mail. `results` has each mail's number and result, unless it `forgets` them, as in a run without an end. `on_result`
    is called for each mail as soon as it has a result.
    """

    on_result: Callable[[Mail, SendResult], None] | None = None
    forgets: bool = False
    sent: int = 0
    waiting: int = 0
    unknown: int = 0
    failed: int = 0
    is_crowded: bool = False
    errors: dict[str, SmtpsetupError] = field(default_factory=dict)
    results: list[tuple[int, SendResult]] = field(default_factory=list)

    def count(self, state: MailState) -> None:
        """Count a mail that was not sent."""
        self.waiting += state is MailState.WAITING
        self.unknown += state is MailState.UNKNOWN
        self.failed += state is MailState.FAILED

    def add(self, mail: Mail, result: SendResult) -> None:
        """Record the result of a mail."""
        if not self.forgets:
            self.results.append((mail.id, result))
        if self.on_result:
            self.on_result(mail, result)

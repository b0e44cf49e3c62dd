"""What every outbox can do, whatever database it is in: SQLite on this machine, or PostgreSQL for several machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.message.message import Message
    from smtpsetup.outbox.disposition import Disposition, Postponement
    from smtpsetup.outbox.mail import Mail, NewMail
    from smtpsetup.outbox.mail_state import MailState
    from smtpsetup.outbox.summary import Summary
    from smtpsetup.state.request_limits import Limits, RequestLimits


class Outbox(ABC):
    """An open outbox.

    Every method may raise OSError, and OutboxDamagedError for what is on the disk of this machine. Each change is one
    transaction. Times are in seconds since 1970. A `config` is the path of the configuration that has the account, `""`
    for the usual one. What is done with a mail that was taken is done under the lease with which it was taken.
    """

    directory: str
    """The state directory of this machine."""
    is_shared = False
    """Whether other machines send from it, too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Make all changes of a block one transaction; a nested block is a part of the outer one."""

    @abstractmethod
    def lease(self) -> AbstractContextManager[str]:
        """A new lease, held until the end of the block, of the process or of the connection to the database."""

    def is_wanted_alone(self) -> bool:
        """Whether another process, such as a repair, waits until nobody has it open."""
        return False

    @abstractmethod
    def set_durability(self, *, is_durable: bool) -> None:
        """Choose whether a change survives a power cut, or only the end of the process.

        Without it, a power cut can undo the last changes, so that a mail is sent twice, but no mail is lost.
        """

    def be_frugal(self) -> None:  # noqa: B027  only SQLite has something to do
        """Use as little disk space as possible from now on: for a full disk of this machine."""

    def tidy(self) -> None:  # noqa: B027  only SQLite has something to do
        """Free the disk space of mail that was removed."""

    # mails

    @abstractmethod
    def add(self, mail: NewMail, *, once: bool = False) -> int:
        """Add a mail. Returns its number.

        With `once`, a mail with the same Message-ID, account and recipients is not added again: its number is returned.
        """

    @abstractmethod
    def mails(self, state: MailState | None = None) -> list[Mail]:
        """Every mail, or those in one state, oldest first."""

    @abstractmethod
    def mail(self, number: int) -> Mail | None:
        """The mail of that number."""

    @abstractmethod
    def message(self, number: int, *, is_checked: bool = True) -> Message:
        """The message of a mail; its body is read on demand.

        Raises OutboxDamagedError where the content is missing or, with `is_checked`, does not match its checksum.
        """

    @abstractmethod
    def is_sound(self, mail: Mail) -> bool:
        """Whether a mail and its content match their checksums."""

    @abstractmethod
    def summary(self, accounts: Iterable[str]) -> Summary:
        """What it holds. `accounts` are those whose sent mail is counted on one machine."""

    @abstractmethod
    def has_waiting(self) -> bool:
        """Whether there is a mail that is tried again automatically."""

    @abstractmethod
    def count_waiting(self, account: str) -> int:
        """The number of an account's mails that wait."""

    @abstractmethod
    def waiting_since(self, account: str, config: str, before: float) -> list[Mail]:
        """The waiting mails of an account that were put there before that time."""

    @abstractmethod
    def drop(self, number: int) -> bool:
        """Remove a mail unless it is being sent. Returns whether it was removed."""

    @abstractmethod
    def retry(self, number: int, now: float) -> None:
        """Make a mail due now, as if it were new, unless it is being sent."""

    # when

    @abstractmethod
    def accounts_due(self, now: float) -> list[tuple[str, str]]:
        """The accounts that have due mail, each with the path of its configuration."""

    @abstractmethod
    def next_attempt(self, now: float) -> float | None:
        """When the next mail that is not due yet will be; None where none is planned."""

    @abstractmethod
    def make_due(self, now: float) -> None:
        """Make all mails due that wait for a later time. What only a person sends again still waits for that."""

    @abstractmethod
    def bring_forward(self, account: str, config: str, now: float, code: str) -> None:
        """Make an account's mails due that wait because of an error of this code: it has been mended."""

    @abstractmethod
    def put_off(self, account: str, config: str, now: float, postponement: Postponement) -> None:
        """Let all of an account's due mails wait."""

    def works(self, account: str, config: str) -> None:  # noqa: B027  of a shared outbox only
        """Note that this machine can send for an account."""

    def failures(self, account: str, config: str) -> int:  # noqa: ARG002  as above
        """How often in a row this machine could not send for an account, where its mails do not count that."""
        return 0

    @abstractmethod
    def damaged_due(self, now: float) -> list[Mail]:
        """The damaged mails that are due or have no valid state: their recipients or account cannot be trusted."""

    @abstractmethod
    def revive(self, now: float) -> int:
        """Take back the mails of processes that have ended. Returns how many there were.

        One that the server may have becomes UNKNOWN. What was planned days ahead, with a wrong clock, is due now.
        """

    # sending

    @abstractmethod
    def take(self, account: str, config: str, lease: str, now: float, limit: int) -> list[Mail]:
        """Take due mails of an account under a lease, so that no other process sends them."""

    @abstractmethod
    def mark_possibly_delivered(self, number: int, *, is_possible: bool = True) -> None:
        """Note that the server may have a mail from now on or, without `is_possible`, that it has refused it."""

    @abstractmethod
    def keep_for(self, number: int, recipients: Sequence[str]) -> None:
        """Keep a mail for these recipients only: the server has accepted it for all others."""

    @abstractmethod
    def remove(self, number: int) -> None:
        """Remove a mail that was sent."""

    @abstractmethod
    def settle(self, number: int, dispositions: Sequence[Disposition]) -> list[int]:
        """Replace a mail that was tried by what is left of it, a mail for each disposition. Returns their numbers.

        The first one keeps the number. Where nothing is left, the mail is removed.
        """

    @abstractmethod
    def put_back(self, number: int, disposition: Disposition) -> None:
        """Record a failed attempt: the mail gets its new state, and the recipients who have not got it."""

    @abstractmethod
    def postpone(self, number: int, error: SmtpsetupError, until: float) -> MailState | None:
        """Let a mail wait that was being sent when its run broke; UNKNOWN if the server may have it.

        Returns the state, None where the mail has been sent.
        """

    @abstractmethod
    def give_back(self, number: int) -> None:
        """Let a mail wait again that was taken and not tried. If the server may have it, it becomes UNKNOWN."""

    @abstractmethod
    def set_aside(self, number: int, reply: str) -> None:
        """Mark a damaged mail as failed, so that only a person sends it."""

    # what belongs to an account

    @abstractmethod
    def record_sent(self, account: str, recipients: int) -> None:
        """Count a message that was sent to that many recipients."""

    @abstractmethod
    def sent_last_day(self, account: str) -> tuple[int, int]:
        """How many messages and recipients an account had in the last 24 hours."""

    def counting(self, account: str) -> AbstractContextManager[None]:  # noqa: ARG002  of a shared outbox only
        """Keep other machines from counting and taking an account's mail within the block."""
        return nullcontext()

    def taken_by_others(self, account: str) -> tuple[int, int]:  # noqa: ARG002  as above
        """How many messages and recipients of an account other processes are sending."""
        return 0, 0

    def pace(self, account: str) -> Callable[[float], float] | None:  # noqa: ARG002  of a shared outbox only
        """What gives the turn for the next message of an account, counted over all machines; None on one machine.

        It takes the pause between messages, and returns for how long to wait, both in seconds.
        """
        return None

    @property
    def request_limits(self) -> Callable[[str, Limits], RequestLimits] | None:
        """What gives the limits of a mailbox that all machines keep together; None on one machine."""
        return None

    def connection(self, account: str, most: int | None) -> AbstractContextManager[bool]:  # noqa: ARG002  as above
        """One of the connections that the provider allows at a time, over all machines, for as long as the block lasts.

        Yields whether there was one.
        """
        return nullcontext(enter_result=True)

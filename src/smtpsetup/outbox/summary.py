"""What an outbox holds, counted."""

from __future__ import annotations

from typing import NamedTuple

from smtpsetup.outbox.disposition import is_of_account


class Waiting(NamedTuple):
    """How many mails are in a state because of an error of that code, `""` for none."""

    state: str
    code: str
    number: int


class Held(NamedTuple):
    """Why a machine does not send an account's mail until then (seconds since 1970); other machines may."""

    host: str
    account: str
    code: str
    reply: str
    until: float


class SentMail(NamedTuple):
    """A mail that was sent, without its text. Times are in seconds since 1970."""

    id: int
    account: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    queued_at: float
    sent_at: float


class Summary(NamedTuple):
    """The mails of an outbox by state and error, the time of the oldest (seconds since 1970), what was sent lately.

    `per_minute` is the number of mails that were sent in the last minute, `workers` that of processes that send, or
    would. `held` has the machines that cannot send for an account now.
    """

    counts: tuple[Waiting, ...]
    oldest: float | None
    per_minute: int
    workers: int
    held: tuple[Held, ...] = ()

    def count(self, state: str) -> int:
        """How many mails are in a state."""
        return sum(one.number for one in self.counts if one.state == state)

    @property
    def seconds_left(self) -> float | None:
        """How long the waiting mail takes at the rate of the last minute, without that of accounts which cannot send.

        None where nothing was sent, or there is no other mail.
        """
        put_off = sum(one.number for one in self.counts if one.state == "waiting" and is_of_account(one.code))
        left = self.count("waiting") - put_off
        return left / self.per_minute * 60 if self.per_minute and (left or not put_off) else None

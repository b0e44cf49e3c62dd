"""What becomes of a mail that was not sent, and when it is tried again.

One decision for the first attempt and for every later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.model import Stage
from smtpsetup.outbox import retry
from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.outbox.mail import Mail

LOST = "data.lost-before-reply"
"""The code of a mail that the server may have: all of it was sent, and the answer did not come."""


class Disposition(NamedTuple):
    """What becomes of a mail that was not sent to some of its recipients, and why.

    `next_attempt` is in seconds since 1970, None for never by itself.
    """

    recipients: tuple[str, ...]
    error: SmtpsetupError
    state: MailState
    next_attempt: float | None


def dispositions(
    unsent: Mapping[str, SmtpsetupError], *, attempts: int, is_held: bool, now: float, is_over: bool = False
) -> list[Disposition]:
    """What becomes of a mail for those who have not got it, by their addresses.

    One entry for each state that a part of it comes to.

    `attempts` failed, this one included. One that may have arrived is sent once more, unless `is_held`. `is_over` says
    that what has been waiting has waited for long enough.
    """
    shares: dict[MailState, dict[str, SmtpsetupError]] = {
        MailState.UNKNOWN: {},
        MailState.WAITING: {},
        MailState.FAILED: {},
    }
    for address, error in unsent.items():
        state = state_after(error)
        shares[MailState.FAILED if is_over and state is MailState.WAITING else state][address] = error
    return [
        Disposition(
            tuple(share),
            error := next(iter(share.values())),
            state,
            _next_attempt(state, error, attempts, is_held=is_held, now=now),
        )
        for state, share in shares.items()
        if share
    ]


def state_after(error: SmtpsetupError) -> MailState:
    """What a mail is at after it was not sent for this reason."""
    return MailState.UNKNOWN if error.code == LOST else MailState.WAITING if waits(error) else MailState.FAILED


def _next_attempt(state: MailState, error: SmtpsetupError, attempts: int, *, is_held: bool, now: float) -> float | None:
    if state is MailState.FAILED or (state is MailState.UNKNOWN and is_held):
        return None
    return now + seconds_until_next(attempts, error)


def seconds_until_next(attempts: int, error: SmtpsetupError) -> float:
    """The pause in seconds after so many failed attempts, and what the server said."""
    return retry.seconds_until_next(attempts, error.failure.reply if error.failure else None, error.code)


class Postponement(NamedTuple):
    """Why all due mails of an account wait, and for how long.

    `seconds` gives the pause in seconds after so many failed attempts. `is_attempt` and `is_put_off` say whether it
    counts in `attempts` and `put_offs` of Mail.
    """

    error: SmtpsetupError
    seconds: Callable[[int], float]
    is_attempt: bool
    is_put_off: bool


def postponement(error: SmtpsetupError, pause: float | None = None) -> Postponement:
    """What all due mails of an account wait for. A `pause` in seconds that the provider asked for is no attempt."""
    if pause is not None:
        return Postponement(error, lambda _attempts: pause, is_attempt=False, is_put_off=False)
    return Postponement(
        error,
        lambda attempts: seconds_until_next(attempts, error),
        is_attempt=True,
        is_put_off=not is_server_unreachable(error),
    )


def waits(error: SmtpsetupError) -> bool:
    """Whether a mail that is kept is tried again by itself.

    After what passes, and after what is wrong with the account and not with the mail.
    """
    return error.exit_code == EX_TEMPFAIL or concerns_account(error)


def concerns_account(error: SmtpsetupError) -> bool:
    """Whether it would have stopped every mail of the account: a password, a certificate, a setting."""
    if error.failure:
        return error.failure.stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA)
    return error.code.startswith(("secret.", "auth.", "tls.", "config.")) and error.code != "config.address-malformed"


def is_server_unreachable(error: SmtpsetupError) -> bool:
    """Whether what stopped every mail of the account was the way to the server, or the server.

    Then each of them has been tried.
    """
    return error.failure is not None and concerns_account(error) and error.exit_code == EX_TEMPFAIL


def is_given_up(mail: Mail, now: float) -> bool:
    """Whether a mail has been tried for long enough.

    One that waited in a machine that was off, or behind others, has not been tried.
    """
    return now - mail.queued_at > retry.GIVE_UP_SECONDS and mail.attempts - mail.put_offs + 1 >= retry.LEAST_ATTEMPTS


def said(error: SmtpsetupError | None) -> str:
    """The server's own words, else the error's: what the outbox shows as the last reply."""
    if error is None:
        return ""
    return str(error.failure.reply) if error.failure and error.failure.reply else error.message

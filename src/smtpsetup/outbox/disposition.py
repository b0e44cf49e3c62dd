"""The state of a mail after a failed attempt, and when it is tried again: one decision for first and later attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.model import Stage
from smtpsetup.outbox.mail_state import MailState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.outbox.mail import Mail

LOST = "data.lost-before-reply"
"""The error code of a mail that may have arrived: all of it was sent, and no reply came."""


class Disposition(NamedTuple):
    """The state that a mail gets for some of its recipients, and the error that led to it.

    `next_attempt` is in seconds since 1970, None where only a person sends it again.
    """

    recipients: tuple[str, ...]
    error: SmtpsetupError
    state: MailState
    next_attempt: float | None


def dispositions(
    unsent: Mapping[str, SmtpsetupError], *, attempts: int, is_held: bool, now: float, is_over: bool = False
) -> list[Disposition]:
    """The dispositions of a mail after a failed attempt, one for each state.

    `unsent` has the error of each recipient who has not got it. `attempts` counts the failed attempts, this one
    included. A mail that may have arrived is sent once more, unless `is_held`. With `is_over`, a mail that
    would wait fails.
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


def waiting(fate: Disposition, attempts: int, now: float) -> Disposition:
    """A disposition in which the mail waits in place of failing, after so many failed attempts."""
    if fate.state is not MailState.FAILED:
        return fate
    return fate._replace(state=MailState.WAITING, next_attempt=now + seconds_until_next(attempts, fate.error))


def state_after(error: SmtpsetupError) -> MailState:
    """The state of a mail that was not sent because of this error."""
    return MailState.UNKNOWN if error.code == LOST else MailState.WAITING if waits(error) else MailState.FAILED


def _next_attempt(state: MailState, error: SmtpsetupError, attempts: int, *, is_held: bool, now: float) -> float | None:
    if state is MailState.FAILED or (state is MailState.UNKNOWN and is_held):
        return None
    return now + seconds_until_next(attempts, error)


def seconds_until_next(attempts: int, error: SmtpsetupError) -> float:
    """The pause in seconds after so many failed attempts, longer where the server's reply asks for it."""
    from smtpsetup.outbox import retry  # its regular expressions cost a successful send 1 ms

    failure = error.failure
    usual = retry.seconds_until_next(attempts, failure.reply if failure else None, error.code)
    return max(usual, failure.retry_after if failure else 0.0)


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
    """Whether a mail is tried again automatically: after a temporary error, or one of the account."""
    return error.exit_code == EX_TEMPFAIL or concerns_account(error)


def concerns_account(error: SmtpsetupError) -> bool:
    """Whether the error is about the account (password, certificate, setting) and would stop each of its mails."""
    if error.failure:
        return error.failure.stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA)
    return is_of_account(error.code)


def is_of_account(code: str) -> bool:
    """Whether an error code is about an account (password, certificate, setting), and not about one mail."""
    return code.startswith(("secret.", "auth.", "tls.", "config.")) and code != "config.address-malformed"


def is_server_unreachable(error: SmtpsetupError) -> bool:
    """Whether the error stops each mail of the account because its server cannot be reached or does not work.

    That counts as an attempt for each of them.
    """
    return error.failure is not None and concerns_account(error) and error.exit_code == EX_TEMPFAIL


def is_given_up(mail: Mail, now: float) -> bool:
    """Whether a mail is old enough, and has been tried often enough, to be given up.

    Both are required: a mail may be old because the machine was off.
    """
    from smtpsetup.outbox import retry  # as above

    return now - mail.queued_at > retry.GIVE_UP_SECONDS and mail.attempts - mail.put_offs + 1 >= retry.LEAST_ATTEMPTS

"""One mail, sent now or kept in the outbox: accepted and lost is not among what can become of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import paths
from smtpsetup.core.errors import EX_TEMPFAIL, EX_TERMINATED, SmtpsetupError, is_termination, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Log, Queue
from smtpsetup.message.message import Envelope
from smtpsetup.outbox import disposition
from smtpsetup.outbox.disposition import LOST, said
from smtpsetup.sending.rescue import not_kept
from smtpsetup.sending.send_one import SendResult, send
from smtpsetup.state import mail_log, usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.providers.table import Provider
    from smtpsetup.smtp.transaction import Delivery


class Policy(NamedTuple):
    """What becomes of a mail that cannot be sent now. `hold_unknown` keeps one that may have arrived from being sent again by itself.

    `keep_refused` keeps a mail that is refused for good, too, for callers that throw theirs away. `config` is the configuration that was
    named, if one was: later, too, the mail is sent with the account of that file.
    """

    queue: Queue = Queue.ON_FAILURE
    hold_unknown: bool = False
    keep_refused: bool = False
    config: str = ""


def post(  # noqa: PLR0913  what sending depends on, all keywords
    account: Account,
    delivery: Delivery,
    *,
    subject: str,
    policy: Policy,
    read_secret: Callable[[], Secret],
    find_provider: Callable[[], Provider | None],
    trace: Callable[[str], None] | None = None,
    log: Log = Log.FILE,
) -> SendResult:
    """Send a mail, or keep it; a line in the log either way.

    Raises SmtpsetupError where it could be neither sent nor kept, with the file that it was saved to.
    """
    if policy.queue is Queue.ALWAYS:
        from smtpsetup.state import termination  # as below

        termination.ignore_termination()  # it is safe in a moment, and whoever asked to end it would not know that
        queued = keep(account.name, delivery, subject=subject, policy=policy, error=None)
        result = SendResult(account.name, delivery.message_id, (), (), None, None, queued)
        note(log, paths.state_dir(), account, delivery, result)
        return result
    result, is_terminated = _tried(account, delivery, read_secret, find_provider, trace)
    directory = paths.state_dir()
    if result.accepted:
        usage.record(directory, account.name, len(result.accepted))
    try:
        kept = kept_if_due(result, delivery, subject, policy)
    except SmtpsetupError as not_kept_either:
        note(log, directory, account, delivery, result._replace(error=not_kept_either))
        raise
    note(log, directory, account, delivery, kept, result.error)
    return kept._replace(error=_terminated(kept)) if is_terminated else kept


def _tried(
    account: Account,
    delivery: Delivery,
    read_secret: Callable[[], Secret],
    find_provider: Callable[[], Provider | None],
    trace: Callable[[str], None] | None,
) -> tuple[SendResult, bool]:
    """What a first attempt came to, and whether SIGTERM or SIGHUP has ended it. Nothing ends the process once it is over: what is left is quick."""
    from smtpsetup.state import termination  # smtpsetup-sendmail has its own way

    told: list[str] = []
    refused: list[str] = []
    watched = delivery._replace(
        before_dot=lambda: told.append("dot"),
        accepted=lambda: told.append("accepted"),
        not_accepted=lambda: told.append("refused"),
        accepted_without=refused.extend,
    )
    try:
        secret = None if account.auth is Auth.NONE else read_secret()
        result = send(account, secret, watched, find_provider=find_provider, trace=trace)
        termination.ignore_termination()
    except SmtpsetupError as error:
        termination.ignore_termination()
        return SendResult(account.name, delivery.message_id, (), (), None, error), False
    except KeyboardInterrupt as ended:
        if not is_termination(ended):
            raise
        is_taken = bool(refused) or told[-1:] == ["accepted"]
        accepted = tuple(one for one in delivery.envelope.recipients if is_taken and one not in refused)
        if is_taken and not refused:
            return SendResult(account.name, delivery.message_id, accepted, (), None, None), True
        code = LOST if told[-1:] == ["dot"] and not refused else "connection.lost"
        after_the_dot = _(
            "smtpsetup was stopped by SIGTERM or SIGHUP after the whole mail had been sent, but before the server had answered:"
            " the mail may have arrived."
        )
        before_it = _("smtpsetup was stopped by SIGTERM or SIGHUP before the mail had been sent.")
        text = after_the_dot if code == LOST else before_it
        ended_early = SmtpsetupError(code, text, exit_code=EX_TEMPFAIL)
        return SendResult(account.name, delivery.message_id, accepted, (), None, ended_early), True
    return result, False


def _terminated(kept: SendResult) -> SmtpsetupError:
    """What a person is told of a mail whose sending was ended from outside."""
    if kept.accepted and kept.postponed_by is None:
        text = _("smtpsetup was stopped by SIGTERM or SIGHUP, but the mail had already been sent.")
    elif kept.outbox_id is None:
        told = kept.error.message if kept.error else ""
        text = f"{told} " + _("The mail is not kept in the outbox, because queue is set to never.")
    else:
        told = kept.postponed_by.message if kept.postponed_by else ""
        text = f"{told} " + _("The mail is in the outbox as number {number}: `smtpsetup outbox list`.").format(number=kept.outbox_id)
    code = LOST if kept.postponed_by and kept.postponed_by.code == LOST else "connection.lost"
    return SmtpsetupError(code, text, exit_code=EX_TERMINATED)


def note(  # noqa: PLR0913, PLR0917  what a line of the log says
    log: Log, directory: str | None, account: Account, delivery: Delivery, result: SendResult, error: SmtpsetupError | None = None
) -> None:
    """One line on what became of a mail in the log.

    `error` is why it is not sent, where the result has none because it is kept.
    """
    error = result.error or error
    facts = {
        "account": account.name,
        "server": account.server,
        "from": delivery.envelope.sender,
        "recipients": ",".join(delivery.envelope.recipients),
        "size": delivery.message.size,
        "message_id": delivery.message_id,
        "reply": said(error) if error else str(result.reply or ""),
        "error": error.code if error else "",
        "outbox": result.outbox_id or "",
        "exitcode": result.error.exit_code if result.error else 0,
    }
    mail_log.note(log, directory, {name: value for name, value in facts.items() if value != ""})


def kept_if_due(  # noqa: PLR0913  as `keep`
    result: SendResult, delivery: Delivery, subject: str, policy: Policy, *, once: bool = False, is_tried: bool = True
) -> SendResult:
    """The result, once whatever of the mail should be kept is in the outbox. `once` and `is_tried` are those of `keep`."""
    if result.error is None:
        return result
    left = unsent(result, delivery.envelope.recipients)
    later = {address: error for address, error in left.items() if error.exit_code == EX_TEMPFAIL}
    for_good = {address: error for address, error in left.items() if address not in later}
    kept: list[int] = []
    if policy.queue is not Queue.NEVER:
        for is_lost in (True, False):  # who may have got it, and who has not
            share = {address: error for address, error in later.items() if (error.code == LOST) == is_lost}
            if share:
                kept.append(_keep_share(result.account, delivery, subject, policy, share, once=once, is_tried=is_tried))
    if policy.keep_refused and for_good:
        kept.append(_keep_share(result.account, delivery, subject, policy, for_good, once=once, is_tried=is_tried))
    error: SmtpsetupError | None = result.error
    if later and policy.queue is not Queue.NEVER:
        error = refusal(result.error, for_good)
    return result._replace(outbox_id=kept[0] if kept else None, error=error, postponed_by=result.error if kept else None)


def refusal(error: SmtpsetupError, for_good: dict[str, SmtpsetupError]) -> SmtpsetupError | None:
    """What is left to tell when the rest waits in the outbox: that somebody was refused for good."""
    if not for_good:
        return None
    return error if error.exit_code != EX_TEMPFAIL else next(iter(for_good.values()))


def unsent(result: SendResult, recipients: tuple[str, ...]) -> dict[str, SmtpsetupError]:
    """Who has not got a mail, each with the reason: their own, else that of the whole mail."""
    if result.error is None:
        return {}
    own = {entry.address: entry.error for entry in result.refused}
    return {address: own.get(address, result.error) for address in recipients if address not in result.accepted}


def _keep_share(  # noqa: PLR0913  as `keep`
    account: str, delivery: Delivery, subject: str, policy: Policy, share: dict[str, SmtpsetupError], *, once: bool, is_tried: bool
) -> int:
    error = next(iter(share.values()))
    return keep(account, delivery, subject=subject, policy=policy, error=error, recipients=tuple(share), once=once, is_tried=is_tried)


def keep(  # noqa: PLR0913  what the outbox notes of a mail
    account: str,
    delivery: Delivery,
    *,
    subject: str,
    policy: Policy,
    error: SmtpsetupError | None,
    recipients: tuple[str, ...] = (),
    once: bool = False,
    is_tried: bool = True,
) -> int:
    """Put a mail into the outbox, on the disk when this returns; its number there. `error` is why it is not sent.

    `is_tried` is whether it was tried, and not only in a run that came to an end before its turn.

    Raises SmtpsetupError (exit code 74) where that cannot be done; then the mail is in a file that the error names.
    """
    from smtpsetup.outbox import NewMail, Outbox, OutboxDamagedError, State  # SQLite costs 4 ms, and most mail is sent at once

    state = State.WAITING if error is None else disposition.state_after(error)
    next_attempt = 0.0 if error is None else disposition.next_attempt(state, error, attempts=1, is_held=policy.hold_unknown, now=time.time())
    mail = NewMail(
        account,
        Envelope(delivery.envelope.sender, recipients or delivery.envelope.recipients),
        delivery.message,
        delivery.message_id,
        subject,
        state,
        int(error is not None and is_tried),
        next_attempt,
        last_reply=said(error),
        last_code=error.code if error else "",
        holds=policy.hold_unknown,
        config=policy.config,
    )
    directory = paths.state_dir()
    if directory is None:
        raise not_kept(mail.message, mail.envelope, _("it is not known where your files are: HOME is not set"), error)
    try:
        with Outbox(directory) as outbox:
            return outbox.add(mail, once=once)
    except OutboxDamagedError as damaged:
        reason = _("the outbox {path} is damaged").format(path=damaged.path)
        hints = (_("Save what can be read of it: `smtpsetup outbox repair`."),)
        raise not_kept(mail.message, mail.envelope, reason, error, hints, "outbox.damaged") from damaged
    except OSError as failed:
        raise not_kept(mail.message, mail.envelope, f"{failed.filename or directory}: {reason_of(failed)}", error) from failed

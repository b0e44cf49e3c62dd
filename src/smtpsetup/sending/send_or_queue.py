"""Sending one mail now, or keeping it in the outbox: a mail that was accepted from the user is never lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import paths
from smtpsetup.config.outbox_settings import ON_THIS_MACHINE, OutboxSettings
from smtpsetup.core.errors import (
    InterruptedAfterTheDotError,
    InterruptedUnkeptError,
    SmtpsetupError,
    is_termination,
    reason_of,
)
from smtpsetup.core.exit_codes import EX_TEMPFAIL, EX_TERMINATED
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Queue
from smtpsetup.message.message import Envelope
from smtpsetup.sending.send_one import SendResult, send
from smtpsetup.state import mail_log, usage

if TYPE_CHECKING:
    from smtpsetup.message.delivery import Delivery
    from smtpsetup.outbox.disposition import Disposition
    from smtpsetup.outbox.mail import NewMail
    from smtpsetup.sending.context import Context


class Policy(NamedTuple):
    """What is done with a mail that cannot be sent now.

    `hold_unknown` keeps one that may have arrived from being sent again by itself. `keep_refused` keeps a mail that is
    refused for good, too, for callers that keep no copy. With `keep_once`, one that is in the outbox already is
    not put there again. With `has_fallback`, one that the account cannot send for good waits there for another account.
    `config` is the path of the configuration that was named, `""` for the usual one: the outbox
    sends the mail with the account of that file. `outbox` is where the mail is kept.
    """

    queue: Queue = Queue.ON_FAILURE
    hold_unknown: bool = False
    keep_refused: bool = False
    keep_once: bool = False
    config: str = ""
    has_fallback: bool = False
    outbox: OutboxSettings = ON_THIS_MACHINE


class Kept(NamedTuple):
    """A mail's number in the outbox; `away` is why that is the outbox of this machine, and not the shared one."""

    number: int
    away: SmtpsetupError | None = None


def send_or_queue(context: Context, delivery: Delivery, policy: Policy) -> SendResult:
    """Send a mail or keep it, and log the result.

    Raises NotKeptError where it can be neither sent nor kept.
    """
    account, directory = context.account, paths.state_dir()
    if policy.queue is Queue.ALWAYS:
        from smtpsetup.state import termination  # as below

        termination.ignore_termination()  # the caller could not tell whether the mail had been kept
        number, away = keep(account.name, delivery, policy, None)
        result = SendResult(account.name, delivery.message_id, outbox_id=number, away=away)
        log_result(context, directory, delivery, result)
        return result
    result, is_terminated = _tried(context, delivery)
    if result.accepted:
        usage.record(directory, account.name, len(result.accepted))
    try:
        kept = kept_by_policy(result, delivery, policy)
    except SmtpsetupError as not_kept_either:
        log_result(context, directory, delivery, result._replace(error=not_kept_either))
        raise
    log_result(context, directory, delivery, kept, result.error)
    return kept._replace(error=_terminated(kept)) if is_terminated else kept


def _tried(context: Context, delivery: Delivery) -> tuple[SendResult, bool]:
    """The result of the first attempt, and whether SIGTERM or SIGHUP has ended it.

    After it, these signals are ignored: what is left is quick.
    """
    from smtpsetup.state import termination  # smtpsetup-sendmail handles signals otherwise

    account = context.account
    noted: list[str] = []
    refused: list[str] = []
    watched = delivery._replace(
        before_dot=lambda: noted.append("dot"),
        accepted=lambda: noted.append("accepted"),
        not_accepted=lambda: noted.append("refused"),
        accepted_without=refused.extend,
    )
    try:
        result = send(context, context.secret(), watched)
        termination.ignore_termination()
    except SmtpsetupError as error:
        termination.ignore_termination()
        return SendResult(account.name, delivery.message_id, error=error), False
    except KeyboardInterrupt as ended:
        if not is_termination(ended):
            if isinstance(ended, InterruptedAfterTheDotError):
                raise
            raise InterruptedUnkeptError from ended
        is_taken = bool(refused) or noted[-1:] == ["accepted"]
        accepted = tuple(one for one in delivery.envelope.recipients if is_taken and one not in refused)
        early = None if is_taken and not refused else _ended_early(is_unknown=noted[-1:] == ["dot"] and not refused)
        return SendResult(account.name, delivery.message_id, accepted, error=early), True
    return result, False


def _ended_early(*, is_unknown: bool) -> SmtpsetupError:
    """The error for an attempt that a signal has ended. With `is_unknown`, the mail may have arrived."""
    if is_unknown:
        text = _(
            "smtpsetup was stopped by SIGTERM or SIGHUP after the whole mail had been sent, but before the server had "
            "answered:"
            " the mail may have arrived."
        )
        from smtpsetup.outbox.disposition import LOST  # only for attempts that failed

        return SmtpsetupError(LOST, text, exit_code=EX_TEMPFAIL)
    text = _("smtpsetup was stopped by SIGTERM or SIGHUP before the mail had been sent.")
    return SmtpsetupError("connection.lost", text, exit_code=EX_TEMPFAIL)


def _terminated(kept: SendResult) -> SmtpsetupError:
    """The error that tells where a mail is whose attempt a signal has ended."""
    if kept.accepted and kept.postponed_by is None:
        text = _("smtpsetup was stopped by SIGTERM or SIGHUP, but the mail had already been sent.")
    elif kept.outbox_id is None:
        told = kept.error.message if kept.error else ""
        text = f"{told} " + _("The mail is not kept in the outbox, because queue is set to never.")
    else:
        told = kept.postponed_by.message if kept.postponed_by else ""
        text = f"{told} " + _("The mail is in the outbox as number {number}: `smtpsetup outbox list`.").format(
            number=kept.outbox_id
        )
    from smtpsetup.outbox.disposition import LOST  # as above

    code = LOST if kept.postponed_by and kept.postponed_by.code == LOST else "connection.lost"
    return SmtpsetupError(code, text, exit_code=EX_TERMINATED)


def log_result(  # noqa: PLR0913  what a line of the log has
    context: Context,
    directory: str | None,
    delivery: Delivery,
    result: SendResult,
    error: SmtpsetupError | None = None,
    *,
    client: str = "",
) -> None:
    """Log the result of a mail in one line.

    `error` is why it was not sent, where the result has no error because the mail is kept. `client` is that of Mail.
    """
    account = context.account
    error = result.error or error
    facts = {
        "account": account.name,
        "client": client,
        "server": account.server,
        "from": delivery.envelope.sender,
        "recipients": ",".join(delivery.envelope.recipients),
        "size": delivery.message.size,
        "message_id": delivery.message_id,
        "reply": error.reply_or_message if error else str(result.reply or ""),
        "error": error.code if error else "",
        "outbox": result.outbox_id or "",
        "kept_here": result.away.code if result.away else "",
        "exitcode": result.error.exit_code if result.error else 0,
    }
    mail_log.append_line(context.log, directory, {name: value for name, value in facts.items() if value != ""})


def kept_by_policy(result: SendResult, delivery: Delivery, policy: Policy, *, is_tried: bool = True) -> SendResult:
    """Put what is left of a mail into the outbox, as the policy says. Returns the result after that.

    `is_tried` is that of `keep`.
    """
    if result.error is None:
        return result
    result_error = result.error
    fates, told = left_of(result, delivery, policy)
    kept = [keep(result.account, delivery, policy, fate, is_tried=is_tried) for fate in fates]
    result = result._replace(error=told)
    if not kept:
        return result
    return result._replace(outbox_id=kept[0].number, postponed_by=result_error, away=kept[0].away)


def left_of(result: SendResult, delivery: Delivery, policy: Policy) -> tuple[list[Disposition], SmtpsetupError | None]:
    """What to keep of a mail after its first attempt, and the error to report: that of a permanent refusal, or None.

    With the queue `never`, temporary errors are reported, too.
    """
    from smtpsetup.outbox import disposition  # as above

    left = unsent(result, delivery.envelope.recipients)
    later = {address: error for address, error in left.items() if is_sent_later(error, policy)}
    for_good = {address: error for address, error in left.items() if address not in later}
    if policy.queue is Queue.NEVER:
        later = {}
    kept = {**later, **(for_good if policy.keep_refused else {})}
    fates = disposition.dispositions(kept, attempts=1, is_held=policy.hold_unknown, now=time.time())
    if not later or (result.error and not is_sent_later(result.error, policy) and for_good):
        return fates, result.error
    return fates, next(iter(for_good.values()), None)


def is_sent_later(error: SmtpsetupError, policy: Policy) -> bool:
    """Whether a mail waits after this error, to be sent by this account or by another one."""
    from smtpsetup.outbox.disposition import concerns_account  # only for what was not sent

    return error.exit_code == EX_TEMPFAIL or (policy.has_fallback and concerns_account(error))


def unsent(result: SendResult, recipients: tuple[str, ...]) -> dict[str, SmtpsetupError]:
    """The recipients who have not got a mail, each with its own error or that of the whole mail."""
    if result.error is None:
        return {}
    own = {entry.address: entry.error for entry in result.refused}
    return {address: own.get(address, result.error) for address in recipients if address not in result.accepted}


def keep(account: str, delivery: Delivery, policy: Policy, fate: Disposition | None, *, is_tried: bool = True) -> Kept:
    """Put a mail into the outbox. Returns where it is, once it is on the disk.

    `fate` is None for a mail that has not been tried and is due at once. `is_tried` is false for one whose turn had not
    come when its run ended: that is not counted as an attempt.

    Raises NotKeptError (exit code 74) where the outbox cannot take it; then the mail is in a file that the error names.
    """
    from smtpsetup.outbox.errors import OutboxDamagedError  # SQLite costs 4 ms, and most mail is sent at once
    from smtpsetup.outbox.opening import kept_in

    mail = new_mail(account, delivery, policy, fate)
    mail = mail if is_tried else mail._replace(attempts=0)
    directory = paths.state_dir()
    code = "outbox.unavailable"
    hints: tuple[str, ...] = ()
    try:
        if directory is not None:
            number, away = kept_in(policy.outbox, directory, lambda outbox: outbox.add(mail, once=policy.keep_once))
            return Kept(number, away.explained() if away else None)
        reason = _("it is not known where your files are: HOME is not set")
    except OutboxDamagedError as damaged:
        code, reason = "outbox.damaged", _("the outbox {path} is damaged").format(path=damaged.path)
        hints = (_("Save what can be read of it: `smtpsetup outbox repair`."),)
    except OSError as failed:
        reason = f"{failed.filename or directory}: {reason_of(failed)}"
    from smtpsetup.sending import rescue  # as above

    path = rescue.saved(mail.message, mail.envelope)
    raise rescue.NotKeptError(code, reason, path, cause=fate.error if fate else None, hints=hints)


def new_mail(account: str, delivery: Delivery, policy: Policy, fate: Disposition | None) -> NewMail:
    """A mail as the outbox takes it, after its first attempt, or before it where `fate` is None."""
    from smtpsetup.outbox.mail import NewMail  # loads SQLite, as above

    envelope = delivery.envelope
    mail = NewMail(
        account,
        envelope,
        delivery.message,
        delivery.message_id,
        delivery.subject,
        holds=policy.hold_unknown,
        config=policy.config,
        queued_at=time.time(),
    )
    if fate is None:
        return mail
    return mail._replace(
        envelope=Envelope(envelope.sender, fate.recipients),
        state=fate.state,
        attempts=1,
        next_attempt=fate.next_attempt,
        last_reply=fate.error.reply_or_message,
        last_code=fate.error.code,
    )

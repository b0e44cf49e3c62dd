"""One mail, sent now or kept in the outbox: accepted and lost is not among what can become of it."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import mail_log, paths, sent
from smtpsetup.errors import EX_IOERR, EX_TEMPFAIL, SmtpsetupError, reason_of
from smtpsetup.i18n import gettext as _
from smtpsetup.message import Envelope
from smtpsetup.model import Auth, Log, Queue, Stage
from smtpsetup.workflows.send import SendResult, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.account import Account
    from smtpsetup.message import Message
    from smtpsetup.model import Secret
    from smtpsetup.providers import Provider
    from smtpsetup.transport.submit import Delivery

_LOST = "data.lost-before-reply"


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
        queued = keep(account.name, delivery, subject=subject, policy=policy, error=None)
        result = SendResult(account.name, delivery.message_id, (), (), None, None, queued)
        note(log, paths.state_dir(), account, delivery, result)
        return result
    try:
        secret = None if account.auth is Auth.NONE else read_secret()
        result = send(account, secret, delivery, find_provider=find_provider, trace=trace)
    except SmtpsetupError as error:
        result = SendResult(account.name, delivery.message_id, (), (), None, error)
    directory = paths.state_dir()
    if result.accepted:
        sent.record(directory, account.name, len(result.accepted))
    try:
        kept = kept_if_due(result, delivery, subject, policy)
    except SmtpsetupError as not_kept_either:
        note(log, directory, account, delivery, result._replace(error=not_kept_either))
        raise
    note(log, directory, account, delivery, kept, result.error)
    return kept


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


def kept_if_due(result: SendResult, delivery: Delivery, subject: str, policy: Policy, *, once: bool = False) -> SendResult:
    """The result, once whatever of the mail should be kept is in the outbox. With `once` the same mail is kept once, however often it is tried."""
    if result.error is None:
        return result
    left = unsent(result, delivery.envelope.recipients)
    later = {address: error for address, error in left.items() if error.exit_code == EX_TEMPFAIL}
    for_good = {address: error for address, error in left.items() if address not in later}
    kept: list[int] = []
    if policy.queue is not Queue.NEVER:
        for is_lost in (True, False):  # who may have got it, and who has not
            share = {address: error for address, error in later.items() if (error.code == _LOST) == is_lost}
            if share:
                kept.append(_keep_share(result.account, delivery, subject, policy, share, once=once))
    if policy.keep_refused and for_good:
        kept.append(_keep_share(result.account, delivery, subject, policy, for_good, once=once))
    error: SmtpsetupError | None = result.error
    if later and policy.queue is not Queue.NEVER:
        error = _refusal(result.error, for_good)
    return result._replace(outbox_id=kept[0] if kept else None, error=error, postponed_by=result.error if kept else None)


def _refusal(error: SmtpsetupError, for_good: dict[str, SmtpsetupError]) -> SmtpsetupError | None:
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
    account: str, delivery: Delivery, subject: str, policy: Policy, share: dict[str, SmtpsetupError], *, once: bool
) -> int:
    return keep(account, delivery, subject=subject, policy=policy, error=next(iter(share.values())), recipients=tuple(share), once=once)


def keep(  # noqa: PLR0913  what the outbox notes of a mail
    account: str,
    delivery: Delivery,
    *,
    subject: str,
    policy: Policy,
    error: SmtpsetupError | None,
    recipients: tuple[str, ...] = (),
    once: bool = False,
) -> int:
    """Put a mail into the outbox, on the disk when this returns; its number there. `error` is why it is not sent.

    Raises SmtpsetupError (exit code 74) where that cannot be done; then the mail is in a file that the error names.
    """
    from smtpsetup.back_off import seconds_until_next  # SQLite costs 4 ms, and most mail is sent at once
    from smtpsetup.outbox import NewMail, Outbox, OutboxDamagedError, State

    state, attempts, next_attempt = State.WAITING, 0, 0.0
    reply = error.failure.reply if error and error.failure else None
    if error is not None:
        attempts, next_attempt = 1, time.time() + seconds_until_next(1, reply, error.code)
        state = State.UNKNOWN if error.code == _LOST else State.WAITING if waits(error) else State.FAILED
    is_held = state is State.FAILED or (state is State.UNKNOWN and policy.hold_unknown)
    mail = NewMail(
        account,
        Envelope(delivery.envelope.sender, recipients or delivery.envelope.recipients),
        delivery.message,
        delivery.message_id,
        subject,
        state,
        attempts,
        None if is_held else next_attempt,
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
        raise not_kept(mail.message, mail.envelope, reason, error, hints=(_("Save what can be read of it: `smtpsetup outbox repair`."),)) from damaged
    except OSError as failed:
        raise not_kept(mail.message, mail.envelope, f"{failed.filename or directory}: {reason_of(failed)}", error) from failed


def waits(error: SmtpsetupError) -> bool:
    """Whether a mail that is kept is tried again by itself: after what passes, and after what is wrong with the account and not with the mail."""
    return error.exit_code == EX_TEMPFAIL or concerns_account(error)


def concerns_account(error: SmtpsetupError) -> bool:
    """Whether it would have stopped every mail of the account: a password, a certificate, a setting."""
    if error.failure:
        return error.failure.stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA)
    return error.code.startswith(("secret.", "auth.", "tls.", "config.")) and error.code != "config.address-malformed"


def said(error: SmtpsetupError | None) -> str:
    """The server's own words, else the error's: what the outbox shows as the last reply."""
    if error is None:
        return ""
    return str(error.failure.reply) if error.failure and error.failure.reply else error.message


def not_kept(message: Message, envelope: Envelope, reason: str, cause: SmtpsetupError | None, hints: tuple[str, ...] = ()) -> SmtpsetupError:
    """The error for a mail that could be neither sent nor kept: it is saved to a file first, wherever there is room."""
    path = saved(message, envelope)
    told = _("The mail was not sent, and it could not be kept in the outbox: {reason}.").format(reason=reason)
    causes = (cause.message,) if cause else ()
    if path is None:
        hints = (*hints, _("It is not saved anywhere else either: send it again once there is room."))
    else:
        told = f"{told} " + _("It is saved in {path}.").format(path=path)
        hints = (*hints, _("Send it from there later: `smtpsetup-sendmail -t -i < {path}`.").format(path=shlex.quote(path)))
    return SmtpsetupError("config.invalid", told, causes=causes, hints=hints, exit_code=EX_IOERR)


def _resent(envelope: Envelope) -> bytes:
    """Fields that say to whom a saved mail goes, and that nobody gets to see."""
    sender = f"Resent-From: {envelope.sender}\r\n" if envelope.sender else ""
    return (sender + (f"Resent-Bcc: {', '.join(envelope.recipients)}\r\n" if envelope.recipients else "")).encode()


def saved(message: Message, envelope: Envelope) -> str | None:
    """The path of a file of its own with the mail, its recipients as Resent-Bcc; None where no disk has room."""
    import tempfile  # only where all else failed

    for directory in (paths.state_dir(), os.path.expanduser("~"), os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108  mkstemp makes a file that nobody else can open
        if not directory:
            continue
        path = ""
        try:
            handle, path = tempfile.mkstemp(prefix="smtpsetup-unsent-", suffix=".eml", dir=directory)
            with os.fdopen(handle, "wb") as file:
                file.write(_resent(envelope))
                for chunk in message.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if path:
                os.unlink(path)
        else:
            return path
    return None

"""Sending what waits in the outbox."""

from __future__ import annotations

import functools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Log
from smtpsetup.message.message import Envelope
from smtpsetup.outbox import Mail, NewMail, Outbox, OutboxDamagedError, State, disposition
from smtpsetup.outbox.disposition import said
from smtpsetup.sending.send_many import Run, deliver
from smtpsetup.sending.send_one import SendResult
from smtpsetup.sending.send_or_queue import note, unsent
from smtpsetup.smtp.transaction import Delivery
from smtpsetup.state import locks, mail_log, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.message.message import Message
    from smtpsetup.providers.table import Provider

_AT_ONCE = 20  # mails that one process takes from the others


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a flush gets what it needs for an account; each may raise SmtpsetupError, which then holds the account's mail back.

    `log` is where a line on each mail goes.
    """

    account: Callable[[str, str], Account]
    secret: Callable[[Account], Secret]
    provider: Callable[[Account], Provider | None]
    log: Log = Log.NONE


@dataclass
class Flushed:
    """What became of the mails that were due. `errors` are those that concern a person, by account; `results` each mail's number and result."""

    sent: int = 0
    waiting: int = 0
    unknown: int = 0
    failed: int = 0
    errors: dict[str, SmtpsetupError] = field(default_factory=dict)
    results: list[tuple[int, SendResult]] = field(default_factory=list)


def flush(
    outbox: Outbox,
    sources: Sources,
    *,
    on_result: Callable[[Mail, SendResult], None] | None = None,
    trace: Callable[[str], None] | None = None,
) -> Flushed:
    """Send every mail that is due. Raises OutboxDamagedError or OSError."""
    done = Flushed()
    outbox.revive(time.time())
    for mail in outbox.damaged_due(time.time()):
        _set_aside(outbox, mail, done, on_result)
    with locks.held(outbox.directory) as lease:
        for name, config in outbox.accounts_due(time.time()):
            _flush_account(outbox, name, config, lease, sources, done, on_result, trace)
    if done.sent:
        outbox.tidy()
    return done


def _flush_account(  # noqa: PLR0913, PLR0917  the parts of one flush
    outbox: Outbox,
    name: str,
    config: str,
    lease: str,
    sources: Sources,
    done: Flushed,
    on_result: Callable[[Mail, SendResult], None] | None,
    trace: Callable[[str], None] | None,
) -> None:
    now = time.time()
    try:
        account = sources.account(name, config)
        provider = sources.provider(account)
        _respect_limits(outbox, account, provider)
        secret = None if account.auth is Auth.NONE else sources.secret(account)
    except SmtpsetupError as error:
        _put_off(outbox, name, config, now, error, pause=disposition.seconds_until_next(1, error) if error.code.startswith("limit.") else None)
        _note_stop(sources.log, outbox, name, error)
        done.errors[name] = error
        return
    batch = _Batch(outbox, account, config, lease, now, done, on_result, sources.log)
    limits = provider.limits if provider else {}
    per_minute = limits.get("messages_per_minute")
    run = Run(
        account,
        secret,
        batch.finish,
        lambda: provider,
        seconds_between=60.0 / per_minute if isinstance(per_minute, int) else 0.0,
        trace=trace,
    )
    stopped_by = deliver(run, batch.deliveries())
    if stopped_by is None:
        return
    batch.give_back(stopped_by, [delivery.key for delivery in run.suspects])
    if disposition.concerns_account(stopped_by):
        _put_off(outbox, name, config, now, stopped_by)
        if disposition.is_server_unreachable(stopped_by):
            batch.give_up_the_old(stopped_by)
    elif stopped_by.code.startswith("limit."):
        _put_off(outbox, name, config, now, stopped_by, pause=disposition.seconds_until_next(batch.most_attempts, stopped_by))
    _note_stop(sources.log, outbox, name, stopped_by)
    done.errors[name] = stopped_by


def _note_stop(log: Log, outbox: Outbox, account: str, error: SmtpsetupError) -> None:
    """One line for all the mails of an account that could not be tried."""
    waiting = sum(mail.account == account for mail in outbox.mails(State.WAITING))
    mail_log.note(
        log, outbox.directory, {"account": account, "waiting": waiting, "reply": said(error), "error": error.code, "exitcode": error.exit_code}
    )


def _put_off(  # noqa: PLR0913, PLR0917  what the outbox notes of an attempt
    outbox: Outbox, name: str, config: str, now: float, error: SmtpsetupError, pause: float | None = None
) -> None:
    """Let what is due of an account wait. With a `pause` in seconds, which the provider asked for, none of it counts as tried."""

    def delay(attempts: int) -> float:
        return disposition.seconds_until_next(attempts, error) if pause is None else pause

    is_attempt = pause is None
    is_put_off = is_attempt and not disposition.is_server_unreachable(error)
    outbox.put_off(name, config, delay, now=now, reply=said(error), code=error.code, is_attempt=is_attempt, is_put_off=is_put_off)


def _respect_limits(outbox: Outbox, account: Account, provider: Provider | None) -> None:
    """Raise SmtpsetupError where the provider's daily limit is reached already: asking it would only make it angry."""
    messages, recipients = usage.last_day(outbox.directory, account.name)
    for key, n in (("messages_per_day", messages), ("recipients_per_day", recipients)):
        limit = provider.limits.get(key) if provider else None
        if isinstance(limit, int) and n >= limit and provider:
            raise SmtpsetupError(
                "limit.quota",
                _("{provider} allows {limit} mails or recipients in 24 hours, and there were {n}.").format(provider=provider.name, limit=limit, n=n),
                hints=(_("Nothing is to be done: the rest is sent when some of those are a day old."),),
            )


class _Batch:
    """The due mails of one account, on their way and back."""

    def __init__(  # noqa: PLR0913, PLR0917  the parts of one flush
        self,
        outbox: Outbox,
        account: Account,
        config: str,
        lease: str,
        now: float,
        done: Flushed,
        on_result: Callable[[Mail, SendResult], None] | None,
        log: Log,
    ) -> None:
        self._outbox = outbox
        self._account = account
        self._config = config
        self._lease = lease
        self._now = now
        self._done = done
        self._on_result = on_result
        self._log = log
        self._taken: dict[int, Mail] = {}
        self.most_attempts = 1  # of the mails that were tried

    def deliveries(self) -> Iterator[Delivery]:
        """The mails that are due, taken from the outbox a few at a time, so that other processes have their share."""
        while mails := self._outbox.take(self._account.name, self._config, self._lease, self._now, _AT_ONCE):
            self._taken.update((mail.id, mail) for mail in mails)
            for mail in mails:
                message = self._message(mail)
                if message is None:
                    continue
                yield Delivery(
                    Envelope(mail.sender, mail.recipients),
                    message,
                    mail.message_id,
                    mail,
                    functools.partial(self._outbox.mark_dotted, mail.id),
                    functools.partial(self._outbox.remove, mail.id),
                    functools.partial(self._outbox.mark_dotted, mail.id, is_dotted=False),
                    functools.partial(self._outbox.keep_for, mail.id),
                )

    def give_up_the_old(self, error: SmtpsetupError) -> None:
        """Give up what has been tried for days, and nothing came of it."""
        for mail in self._outbox.mails(State.WAITING):
            if (mail.account, mail.config) == (self._account.name, self._config) and disposition.is_given_up(mail, self._now):
                self._keep(mail, dict.fromkeys(mail.recipients, error), is_over=True)

    def give_back(self, error: SmtpsetupError, suspects: list[object]) -> None:
        """Give back what was taken and has no result: as it was, but for those that a connection ended with, which make room for the others."""
        for mail in list(self._taken.values()):
            if any(mail is suspect for suspect in suspects):
                self._put_back(mail, State.WAITING, error)
            else:
                self._outbox.give_back(mail.id)
                self._done.waiting += 1
        self._taken.clear()

    def finish(self, delivery: Delivery, result: SendResult) -> None:
        """Note what became of a mail."""
        mail: Mail = delivery.key  # type: ignore[assignment]  # `deliveries` has put it there
        error = result.error
        if result.accepted:
            usage.record(self._outbox.directory, self._account.name, len(result.accepted))
        if error is None:
            self._taken.pop(mail.id, None)  # it is removed already, by `accepted`
            self._done.sent += 1
        else:
            self.most_attempts = max(self.most_attempts, mail.attempts + 1)
            self._keep(mail, unsent(result, mail.recipients))
        note(self._log, self._outbox.directory, self._account, delivery, result._replace(outbox_id=mail.id))
        self._done.results.append((mail.id, result))
        if self._on_result:
            self._on_result(mail, result)

    def _keep(self, mail: Mail, left: dict[str, SmtpsetupError], *, is_over: bool = False) -> None:
        """Keep a mail for those who have not got it, each kind of outcome as a mail of its own. All of it happens, or nothing."""
        shares: dict[State, dict[str, SmtpsetupError]] = {}
        for address, error in left.items():
            state = disposition.state_after(error)
            if state is State.WAITING and (is_over or disposition.is_given_up(mail, time.time())):
                state = State.FAILED
            shares.setdefault(state, {})[address] = error
        with self._outbox.together():
            for number, (state, share) in enumerate(shares.items()):
                error = next(iter(share.values()))
                if number:
                    self._outbox.add(self._copy(mail, state, tuple(share), error))
                else:
                    self._outbox.narrow(mail.id, tuple(share))
                    self._put_back(mail, state, error)
                if state is State.FAILED:
                    self._report(mail, tuple(share), error)

    def _copy(self, mail: Mail, state: State, recipients: tuple[str, ...], error: SmtpsetupError) -> NewMail:
        self._count(state)
        message, next_attempt = self._outbox.message(mail.id), self._next(mail, state, error)
        return NewMail(
            mail.account,
            Envelope(mail.sender, recipients),
            message,
            mail.message_id,
            mail.subject,
            state,
            mail.attempts + 1,
            next_attempt,
            said(error),
            error.code,
            holds=mail.holds,
            is_report=mail.is_report,
            config=mail.config,
        )

    def _put_back(self, mail: Mail, state: State, error: SmtpsetupError) -> None:
        self._taken.pop(mail.id, None)
        self._count(state)
        self._outbox.put_back(mail.id, state=state, next_attempt=self._next(mail, state, error), reply=said(error), code=error.code)

    def _count(self, state: State) -> None:
        self._done.waiting += state is State.WAITING
        self._done.unknown += state is State.UNKNOWN
        self._done.failed += state is State.FAILED

    def _message(self, mail: Mail) -> Message | None:
        """The message of a mail; None for one that is not what it was, which is set aside so that it is in nobody's way."""
        with suppress(OutboxDamagedError):
            if mail.is_sound:
                return self._outbox.message(mail.id)
        self._taken.pop(mail.id, None)
        _set_aside(self._outbox, mail, self._done, self._on_result)
        return None

    def _next(self, mail: Mail, state: State, error: SmtpsetupError) -> float | None:
        is_held = mail.holds or mail.unknowns > 0
        return disposition.next_attempt(state, error, attempts=mail.attempts + 1, is_held=is_held, now=time.time())

    def _report(self, mail: Mail, recipients: tuple[str, ...], error: SmtpsetupError) -> None:
        """Tell the account's own address of a mail that will not arrive, where the account asks for it; never of a report."""
        if self._account.report_failures and not mail.is_report:
            from smtpsetup.sending.failure_notice import report_of  # only for what failed

            self._outbox.add(report_of(self._account, mail, recipients, error))


def _set_aside(outbox: Outbox, mail: Mail, done: Flushed, on_result: Callable[[Mail, SendResult], None] | None) -> None:
    """Keep a damaged mail for a person, and tell them."""
    damaged = SmtpsetupError(
        "outbox.damaged",
        _("Mail {number} in the outbox is damaged and is not sent.").format(number=mail.id),
        hints=(
            _(
                "See what is left of it: `smtpsetup outbox show {number}`. Then run `smtpsetup outbox repair` or `smtpsetup outbox drop {number}`."
            ).format(number=mail.id),
        ),
    )
    outbox.set_aside(mail.id, damaged.message)
    done.failed += 1
    done.errors[f"{mail.account} {mail.id}"] = damaged
    done.results.append((mail.id, SendResult(mail.account, mail.message_id, (), (), None, damaged)))
    if on_result:
        on_result(mail, done.results[-1][1])

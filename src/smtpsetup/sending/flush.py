"""Sending what waits in the outbox.

`flush` goes through the accounts that have mail due. For each, `AccountFlush.run` opens it or lets its mail wait
(`_held_back`). `_send` gives the mails to `send_many.deliver`, which takes them a few at a time (`_deliveries`) and
reports the result of each (`_finished`, `_keep`). Where the run stops early, what was not tried goes on waiting
(`_stopped`).
"""

from __future__ import annotations

import functools
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.model import Log
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.outbox import disposition
from smtpsetup.outbox.disposition import Disposition
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.sending.daily_limit import has_daily_limit, left_of_daily_limit, respect_daily_limit
from smtpsetup.sending.fallback import is_for_fallback, sent_by
from smtpsetup.sending.flushed import Flushed
from smtpsetup.sending.send_many import Deliveries, Run, deliver
from smtpsetup.sending.send_or_queue import log_result, unsent
from smtpsetup.sending.take_back import set_aside, take_back
from smtpsetup.state import mail_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.message.message import Message
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_one import SendResult

    OpenContext = Callable[[str, str], Context]
    """The context of an account by its name and its configuration, `""` for the usual one.

    Raises SmtpsetupError.
    """

_AT_ONCE = 20  # mails that a process takes at a time: others can send the rest


def flush(
    outbox: Outbox,
    open_context: OpenContext,
    *,
    log: Log = Log.NONE,
    on_result: Callable[[Mail, SendResult], None] | None = None,
) -> Flushed:
    """Send every mail that is due. `log` is for accounts that cannot be opened.

    Raises OutboxDamagedError or OSError.
    """
    done = Flushed(on_result)
    take_back(outbox, done)
    broken: Exception | None = None
    with outbox.lease() as lease:
        for name, config in outbox.accounts_due(time.time()):
            try:
                AccountFlush(outbox, name, config, lease, done).run(open_context, log)
            except Exception as error:
                if _is_of_the_machine(error):
                    raise
                broken = broken or error  # raised below: what one account runs into holds up no other
    if done.sent:
        outbox.tidy()
    if broken is not None:
        raise broken
    return done


class AccountFlush:
    """Sending the due mails of one account.

    `config` is the path of the configuration that has the account, `""` for the usual one. `wait_for_more` waits for
    further mail while the connection is open; it returns whether there is some.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what a flush of all accounts has for each of them
        self,
        outbox: Outbox,
        name: str,
        config: str,
        lease: str,
        done: Flushed,
        wait_for_more: Callable[[], bool] = bool,
    ) -> None:
        self._outbox = outbox
        self._name = name
        self._config = config
        self._lease = lease
        self._done = done
        self._now = time.time()
        self._wait_for_more = wait_for_more
        self._provider: Provider | None = None
        self._run: Run | None = None
        self._is_stopped = False
        self._context: Context | None = None
        self._open_context: OpenContext | None = None
        self._substitute: Account | None = None  # that sends in place of the mails' own
        self._is_fallback_broken = False
        self._counted: set[int] = set()  # what a substitute has sent or put back
        self._taken: dict[int, Mail] = {}  # from the outbox, without a result
        self._most_attempts = 1  # of any mail that was tried
        self._is_proved = False  # a mail was sent

    def run(self, open_context: OpenContext, log: Log) -> None:
        """Send the mails, or let them wait with the reason. Raises OutboxDamagedError, OSError."""
        try:
            self._send_due(open_context, log)
        except Exception as bug:
            if not _is_of_the_machine(bug):
                self._pass_over(bug)
            raise

    def _send_due(self, open_context: OpenContext, log: Log) -> None:
        try:
            context = self._context = self._with_limits(open_context(self._name, self._config))
            log = context.log
            secret = self._opened(context)
        except SmtpsetupError as error:
            if not self._sent_by_fallback(error, open_context):
                self._held_back(error, log)
            return
        self._open_context = open_context
        self._send(context, secret)

    def _with_limits(self, context: Context) -> Context:
        return context._replace(request_limits=self._outbox.request_limits)

    def _opened(self, context: Context) -> Secret | None:
        """What an account logs in with, if it may send now. Raises SmtpsetupError."""
        self._provider = context.find_provider()
        respect_daily_limit(self._outbox, context.account.name, self._provider)
        return context.secret()

    def _sent_by_fallback(self, error: SmtpsetupError, open_context: OpenContext) -> bool:
        """Send the due mails with another account, where this one cannot send for good. Returns whether one could.

        A mail that may have arrived is not among them.
        """
        own = self._context
        if own is None or self._substitute is not None or not is_for_fallback(own.account, error):
            return False
        for name in own.account.fallback:
            try:
                other = self._with_limits(open_context(name, self._config))
                secret = self._opened(other)
            except SmtpsetupError:
                continue  # the next one; why the account itself cannot send is told below
            self._substitute = other.account
            self._send(other, secret)
            if not self._is_fallback_broken:
                self._note_stop(error, own.log)
                return True
            self._is_fallback_broken = False
        self._substitute = None
        return False

    def stop(self) -> None:
        """Begin no further mail; the run ends once the replies to those that are being sent have come."""
        self._is_stopped = True
        if self._run:
            self._run.stop.set()

    def _pass_over(self, bug: Exception) -> None:
        """Let the mail wait that was being sent when a bug ended the run, and give back the others.

        Raises OutboxDamagedError, OSError.
        """
        error = SmtpsetupError("internal.bug", f"{type(bug).__name__}: {bug}")
        suspects = [suspect.key for suspect in self._run.suspects] if self._run else []  # they go last
        in_turn = sorted(self._taken.values(), key=lambda mail: any(mail is suspect for suspect in suspects))
        for mail in in_turn[:1]:
            self._taken.pop(mail.id)
            pause = disposition.seconds_until_next(mail.attempts + 1, error)
            state = self._outbox.postpone(mail.id, error, time.time() + pause)
            self._done.sent += state is None
            if state:
                self._done.count(state)
        self._done.waiting += len(self._give_back())

    def _held_back(self, error: SmtpsetupError, log: Log) -> None:
        """Let all due mails wait: the account cannot send now."""
        self._put_off(error, pause=disposition.seconds_until_next(1, error) if error.is_limit else None)
        self._done.waiting += self._note_stop(error, log)

    def _send(self, context: Context, secret: Secret | None) -> None:
        name = context.account.name
        connections = self._provider.limit("connections") if self._provider else None
        with self._outbox.connection(name, connections) as is_allowed:
            if not is_allowed:  # other machines have all of them: they send the rest
                self._done.is_crowded = True
                return
            stopped_by, suspects = self._delivered(context, secret)
        if stopped_by is not None and self._substitute and disposition.concerns_account(stopped_by):
            self._is_fallback_broken = True
            self._give_back()  # to the next one
        elif stopped_by is not None:
            self._stopped(context, stopped_by, suspects)
        else:  # the run may have been stopped
            self._done.waiting += len(self._give_back())

    def _delivered(self, context: Context, secret: Secret | None) -> tuple[SmtpsetupError | None, Sequence[Delivery]]:
        """Send the due mails. Returns what stopped that, and the mails that may have caused it."""
        per_minute = self._provider.limit("messages_per_minute") if self._provider else None
        run = self._run = Run(
            context,
            secret,
            functools.partial(self._finished, context),
            seconds_between=60.0 / per_minute if per_minute else 0.0,
            pace=self._outbox.pace(context.account.name),
            wait_for_more=self._has_more,
        )
        if self._is_stopped:
            run.stop.set()
        return deliver(run, Deliveries(self._next_deliveries)), run.suspects

    def _has_more(self) -> bool:
        """Wait for more mail to be due. Returns whether it may be sent over the same connection."""
        if not self._wait_for_more():
            return False
        self._now = time.time()
        try:
            sender = self._substitute.name if self._substitute else self._name
            respect_daily_limit(self._outbox, sender, self._provider)
        except SmtpsetupError:
            return False  # the next run lets the mail wait
        return True

    def _next_deliveries(self) -> Iterator[Delivery]:
        """The due mails, taken from the outbox a few at a time, so that other processes can send some, too."""
        while mails := self._next_mails():
            self._taken.update((mail.id, mail) for mail in mails)
            for mail in mails:
                if self._substitute and mail.unknowns:
                    self._put_back_unknown(mail)
                    continue
                message = self._message(mail)
                if message is not None:
                    delivery = self._delivery(mail, message)
                    yield sent_by(delivery, self._substitute) if self._substitute else delivery

    def _next_mails(self) -> list[Mail]:
        """Due mails, no more than the provider takes today yet."""
        sender = self._substitute.name if self._substitute else self._name
        taken = len(self._taken), sum(len(mail.recipients) for mail in self._taken.values())
        with self._outbox.counting(sender) if has_daily_limit(self._provider) else nullcontext():
            most = min(_AT_ONCE, left_of_daily_limit(self._outbox, sender, self._provider, taken))
            return self._outbox.take(self._name, self._config, self._lease, self._now, most) if most else []

    def _put_back_unknown(self, mail: Mail) -> None:
        """Let a mail wait that may have arrived: the other account would send it once more."""
        self._taken.pop(mail.id, None)
        unsent_for_now = SmtpsetupError(disposition.LOST, mail.last_reply, exit_code=EX_TEMPFAIL)
        pause = disposition.seconds_until_next(mail.attempts + 1, unsent_for_now)
        fate = Disposition(mail.recipients, unsent_for_now, MailState.WAITING, time.time() + pause)
        self._outbox.put_back(mail.id, fate)
        self._counted.add(mail.id)
        self._done.waiting += 1

    def _message(self, mail: Mail) -> Message | None:
        """The message of a mail; None for a damaged mail, which is set aside."""
        with suppress(OutboxDamagedError):
            if mail.is_sound:
                return self._outbox.message(mail.id)
        self._taken.pop(mail.id, None)
        set_aside(self._outbox, mail, self._done)
        return None

    def _delivery(self, mail: Mail, message: Message) -> Delivery:
        """A mail as a delivery, which notes in the outbox whether the server may have or has accepted it."""
        return Delivery(
            Envelope(mail.sender, mail.recipients),
            message,
            mail.message_id,
            mail.subject,
            mail,
            before_dot=functools.partial(self._outbox.mark_possibly_delivered, mail.id),
            accepted=functools.partial(self._outbox.remove, mail.id),
            not_accepted=functools.partial(self._outbox.mark_possibly_delivered, mail.id, is_possible=False),
            accepted_without=functools.partial(self._outbox.keep_for, mail.id),
        )

    def _finished(self, context: Context, delivery: Delivery, result: SendResult) -> None:
        """Record the result of a mail, which has left the outbox already or is kept for the rest of its recipients."""
        mail: Mail = delivery.key  # type: ignore[assignment]  # `_delivery` has put it there
        if self._substitute:
            self._counted.add(mail.id)
        if result.accepted:
            self._outbox.record_sent(context.account.name, len(result.accepted))
        if result.error is None:
            self._taken.pop(mail.id, None)
            self._done.sent += 1
            if not self._is_proved and not self._substitute:
                self._is_proved = True
                self._outbox.works(self._name, self._config)
        else:
            self._most_attempts = max(self._most_attempts, mail.attempts + 1)
            self._keep(context, mail, unsent(result, mail.recipients))
        numbered = result._replace(outbox_id=mail.id)
        log_result(context, self._outbox.directory, delivery, numbered, client=mail.client)
        self._done.add(mail, result)

    def _keep(self, context: Context, mail: Mail, left: dict[str, SmtpsetupError], *, is_over: bool = False) -> None:
        """Keep a mail for the recipients who have not got it, in one transaction."""
        now = time.time()
        is_over = is_over or disposition.is_given_up(mail, now)
        fates = disposition.dispositions(
            left, attempts=mail.attempts + 1, is_held=mail.is_held, now=now, is_over=is_over
        )
        if self._substitute and not is_over:  # what another server refuses waits for the mail's own account
            fates = [disposition.waiting(fate, mail.attempts + 1, now) for fate in fates]
        with self._outbox.transaction():
            is_ours = self._outbox.settle(mail.id, fates)  # otherwise another machine tells what becomes of it
            for fate in fates if is_ours else ():
                if fate.state is MailState.FAILED and _is_told(context, mail):
                    from smtpsetup.sending.failure_notice import report_of  # only for what failed

                    self._outbox.add(report_of(context.account, mail, fate.recipients, fate.error))
        self._taken.pop(mail.id, None)
        for fate in fates if is_ours else ():
            self._done.count(fate.state)

    def _give_back(self) -> set[int]:
        """Give back what was taken and has no result. Returns the numbers of these mails."""
        given_back = set(self._taken)
        for number in given_back:
            self._outbox.give_back(number)
        self._taken.clear()
        return given_back

    def _stopped(self, context: Context, error: SmtpsetupError, suspects: Sequence[Delivery]) -> None:
        """Give back what was taken and not tried; mails that may have ended a connection wait until later."""
        for mail in list(self._taken.values()):
            if any(mail is suspect.key for suspect in suspects):  # so that the others go first
                pause = disposition.seconds_until_next(mail.attempts + 1, error)
                fate = Disposition(mail.recipients, error, MailState.WAITING, time.time() + pause)
                self._outbox.put_back(mail.id, fate)
                del self._taken[mail.id]
                self._done.waiting += 1
        given_back = self._give_back()
        if self._open_context is not None and self._sent_by_fallback(error, self._open_context):
            return
        self._done.waiting += len(given_back - self._counted)
        if disposition.concerns_account(error):
            self._put_off(error)
            if disposition.is_server_unreachable(error):
                self._give_up_the_old(context, error)
        elif error.is_limit:
            self._put_off(error, pause=disposition.seconds_until_next(self._most_attempts, error))
        self._note_stop(error, context.log)

    def _put_off(self, error: SmtpsetupError, pause: float | None = None) -> None:
        postponement = disposition.postponement(error, pause)
        self._outbox.put_off(self._name, self._config, self._now, postponement)

    def _give_up_the_old(self, context: Context, error: SmtpsetupError) -> None:
        """Give up mails that have been tried for days."""
        from smtpsetup.outbox.retry import GIVE_UP_SECONDS  # its regular expressions cost a successful run 1 ms

        failures = self._outbox.failures(self._name, self._config)
        for mail in self._outbox.waiting_since(self._name, self._config, self._now - GIVE_UP_SECONDS):
            if disposition.is_given_up(mail._replace(attempts=mail.attempts + failures), self._now):
                self._keep(context, mail, dict.fromkeys(mail.recipients, error), is_over=True)

    def _note_stop(self, error: SmtpsetupError, log: Log) -> int:
        """Report why the account's mail could not be tried, in one line of the log. Returns how many mails wait."""
        self._done.errors[self._name] = error
        waiting = self._outbox.count_waiting(self._name)
        facts = {
            "account": self._name,
            "waiting": waiting,
            "reply": error.reply_or_message,
            "error": error.code,
            "exitcode": error.exit_code,
        }
        mail_log.append_line(log, self._outbox.directory, facts)
        return waiting


def _is_of_the_machine(error: Exception) -> bool:
    """Whether an error stops the mail of every account, such as a full disk, or a database that is away."""
    return isinstance(error, OutboxDamagedError | OSError) or getattr(error, "code", "").startswith("outbox.")


def _is_told(context: Context, mail: Mail) -> bool:
    """Whether a failure of the mail is told by a mail: a program that uses the relay learns of it in no other way."""
    return (context.account.report_failures or bool(mail.client)) and not mail.is_report

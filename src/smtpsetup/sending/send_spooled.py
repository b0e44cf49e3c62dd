"""A mail that is on the disk before anything else is tried, as every trusted sendmail has it: what ends the program then costs no mail.

It is committed to the outbox as one that is being sent, and taken out when the server has said yes. Whoever finds the lease of a process that is gone
sends it, or knows that it may have arrived.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import paths
from smtpsetup.core.errors import EX_TEMPFAIL, SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Log, Queue
from smtpsetup.message.message import Envelope
from smtpsetup.outbox import NewMail, Outbox, OutboxDamagedError, State, disposition
from smtpsetup.outbox.disposition import said
from smtpsetup.sending import rescue
from smtpsetup.sending.send_one import SendResult, send
from smtpsetup.sending.send_or_queue import keep, note, post, refusal, unsent
from smtpsetup.state import locks, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.providers.table import Provider
    from smtpsetup.sending.send_or_queue import Policy
    from smtpsetup.smtp.transaction import Delivery


class Sending(NamedTuple):
    """What sending a mail depends on."""

    account: Account
    policy: Policy
    read_secret: Callable[[], Secret]
    find_provider: Callable[[], Provider | None]
    trace: Callable[[str], None] | None
    log: Log


class Submitted(NamedTuple):
    """What became of a mail: the result for those it could be sent to, None where there was nobody, and what is kept for the others, by number.

    `not_kept` are errors of what could be neither sent nor kept, each with the file that it is in.
    `is_waiting` is whether the outbox has mail now that must be tried again; `is_noted` whether it knows of a mail that the server has taken.
    """

    result: SendResult | None
    unreachable: dict[str, int]
    not_kept: tuple[SmtpsetupError, ...]
    is_waiting: bool
    is_noted: bool = True


def submit(sending: Sending, delivery: Delivery, subject: str, unreachable: Mapping[str, SmtpsetupError]) -> Submitted:
    """Keep a mail, send it, and forget it once the server has it. `unreachable` are recipients that cannot be sent to, each with the reason.

    Raises KeptError.
    """
    directory = paths.state_dir()
    if directory is None:
        return _without_outbox(sending, delivery, subject, unreachable)
    with ExitStack() as stack:
        try:
            outbox = stack.enter_context(Outbox(directory))
            lease = stack.enter_context(locks.held(directory))
            spooled = _Spooled(outbox, sending, delivery, subject)
            numbers = spooled.commit(lease, unreachable)
        except (OSError, OutboxDamagedError):
            stack.close()
            return _without_outbox(sending, delivery, subject, unreachable)
        try:
            outbox.be_durable(is_durable=False)  # what is still to be noted can be lost to a power cut: then it is sent twice at most
            result = spooled.send() if delivery.envelope.recipients else None
        except Exception as error:
            raise KeptError(is_sent=spooled.is_sent) from error
        return Submitted(result, numbers, (), _is_waiting(outbox), is_noted=spooled.is_noted)


class KeptError(Exception):
    """Something went wrong that nobody has thought of, after the mail was in the outbox: it `is_sent` already, or the next flush sends it."""

    def __init__(self, *, is_sent: bool) -> None:
        super().__init__()
        self.is_sent = is_sent


def _is_waiting(outbox: Outbox) -> bool:
    try:
        return outbox.has_waiting()
    except (OSError, OutboxDamagedError):
        return False


class _Spooled:
    """A mail in the outbox that this process sends."""

    def __init__(self, outbox: Outbox, sending: Sending, delivery: Delivery, subject: str) -> None:
        self._outbox = outbox
        self._sending = sending
        self._delivery = delivery
        self._subject = subject
        self._number = 0
        self.is_sent = False
        self.is_noted = True

    def commit(self, lease: str, unreachable: Mapping[str, SmtpsetupError]) -> dict[str, int]:
        """Have the mail on the disk, all of it or nothing; the numbers of its copies for those that it cannot be sent to."""
        is_sent_now = self._sending.policy.queue is not Queue.ALWAYS
        with self._outbox.together():
            if self._delivery.envelope.recipients:
                state = State.SENDING if is_sent_now else State.WAITING
                self._number = self._outbox.add(self._mail(self._delivery.envelope.recipients, state, lease=lease if is_sent_now else None))
            return {
                recipient: self._outbox.add(self._mail((recipient,), disposition.state_after(error), error=error))
                for recipient, error in unreachable.items()
            }

    def _mail(self, recipients: tuple[str, ...], state: State, *, error: SmtpsetupError | None = None, lease: str | None = None) -> NewMail:
        """The mail for these recipients; `error` is why they have not got it."""
        account, policy, delivery = self._sending.account, self._sending.policy, self._delivery
        next_attempt = 0.0 if error is None else self._next(state, error)
        return NewMail(
            account.name,
            Envelope(delivery.envelope.sender, recipients),
            delivery.message,
            delivery.message_id,
            self._subject,
            state,
            int(error is not None),
            next_attempt,
            last_reply=said(error),
            last_code=error.code if error else "",
            holds=policy.hold_unknown,
            config=policy.config,
            lease=lease,
        )

    def _next(self, state: State, error: SmtpsetupError) -> float | None:
        return disposition.next_attempt(state, error, attempts=1, is_held=self._sending.policy.hold_unknown, now=time.time())

    def send(self) -> SendResult:
        """Send it now, unless it is to wait; what is not sent stays in the outbox as what it is then."""
        account, directory = self._sending.account, self._outbox.directory
        if self._sending.policy.queue is Queue.ALWAYS:
            result = SendResult(account.name, self._delivery.message_id, (), (), None, None, self._number)
            note(self._sending.log, directory, account, self._delivery, result)
            return result
        result = self._tried()
        if result.accepted:
            usage.record(directory, account.name, len(result.accepted))
        kept = self._settled(result)
        note(self._sending.log, directory, account, self._delivery, kept, result.error)
        return kept

    def _tried(self) -> SendResult:
        account = self._sending.account
        delivery = self._delivery._replace(
            before_dot=lambda: self._mark_dotted(is_dotted=True),
            accepted=self._remove,
            not_accepted=lambda: self._mark_dotted(is_dotted=False),
            accepted_without=self._keep_for,
        )
        try:
            secret = None if account.auth is Auth.NONE else self._sending.read_secret()
            return send(account, secret, delivery, find_provider=self._sending.find_provider, trace=self._sending.trace)
        except SmtpsetupError as error:
            return SendResult(account.name, delivery.message_id, (), (), None, error)

    def _mark_dotted(self, *, is_dotted: bool) -> None:
        try:
            self._outbox.mark_dotted(self._number, is_dotted=is_dotted)
        except OutboxDamagedError as error:
            raise OSError(0, _("the outbox is damaged"), error.path) from error

    def _keep_for(self, recipients: tuple[str, ...]) -> None:
        try:
            self._outbox.keep_for(self._number, recipients)
        except (OSError, OutboxDamagedError):
            self.is_noted = False

    def _remove(self) -> None:
        self.is_sent = True
        try:
            self._outbox.remove(self._number)
        except (OSError, OutboxDamagedError):
            self.is_noted = False

    def _settled(self, result: SendResult) -> SendResult:
        """The result, once the outbox says what is left of the mail. A share for each kind of outcome, all of them or nothing."""
        if self.is_sent or result.error is None:
            return result
        shares = self._shares(result)
        try:
            with self._outbox.together():
                numbers = [self._keep(place, state, share) for place, (state, share) in enumerate(shares.items())]
                if not shares:
                    self._outbox.remove(self._number)
        except (OSError, OutboxDamagedError):
            numbers = [self._number]  # as it was committed: the next flush finds that nobody holds its lease
        left = unsent(result, self._delivery.envelope.recipients)
        later = {address: error for address, error in left.items() if error.exit_code == EX_TEMPFAIL}
        error: SmtpsetupError | None = result.error
        if later and self._sending.policy.queue is not Queue.NEVER:
            error = refusal(result.error, {address: error for address, error in left.items() if address not in later})
        return result._replace(outbox_id=numbers[0] if numbers else None, error=error, postponed_by=result.error if numbers else None)

    def _shares(self, result: SendResult) -> dict[State, dict[str, SmtpsetupError]]:
        """Who has not got it, by what becomes of it. With the queue `never`, what passes is left to the caller to try again."""
        shares: dict[State, dict[str, SmtpsetupError]] = {}
        for address, error in unsent(result, self._delivery.envelope.recipients).items():
            if error.exit_code != EX_TEMPFAIL or self._sending.policy.queue is not Queue.NEVER:
                shares.setdefault(disposition.state_after(error), {})[address] = error
        return shares

    def _keep(self, place: int, state: State, share: dict[str, SmtpsetupError]) -> int:
        error = next(iter(share.values()))
        if place:
            return self._outbox.add(self._mail(tuple(share), state, error=error))
        self._outbox.narrow(self._number, tuple(share))
        self._outbox.put_back(self._number, state=state, next_attempt=self._next(state, error), reply=said(error), code=error.code)
        return self._number


def _without_outbox(sending: Sending, delivery: Delivery, subject: str, unreachable: Mapping[str, SmtpsetupError]) -> Submitted:
    """Send a mail that the outbox cannot take: it is in a file of its own meanwhile, wherever there is room."""
    path = rescue.saved(delivery.message, Envelope(delivery.envelope.sender, (*delivery.envelope.recipients, *unreachable)))
    not_kept: list[SmtpsetupError] = []
    result: SendResult | None = None
    numbers: dict[str, int] = {}
    try:
        if delivery.envelope.recipients:
            result = post(
                sending.account,
                delivery,
                subject=subject,
                policy=sending.policy,
                read_secret=sending.read_secret,
                find_provider=sending.find_provider,
                trace=sending.trace,
                log=sending.log,
            )
    except SmtpsetupError as error:
        not_kept.append(error)
    if unreachable:
        names, first = tuple(unreachable), next(iter(unreachable.values()))
        try:
            number = keep(sending.account.name, delivery, subject=subject, policy=sending.policy, error=first, recipients=names)
            numbers = dict.fromkeys(names, number)
        except SmtpsetupError as error:
            not_kept += [first, error]
    if path is not None:
        if any(isinstance(error, rescue.NotKeptError) and error.path is None for error in not_kept):  # there was room for one file
            not_kept = [error.saved_in(path) if isinstance(error, rescue.NotKeptError) and error.path is None else error for error in not_kept]
        else:  # it is sent, or kept, or in a file that an error names
            with suppress(OSError):
                os.unlink(path)
    return Submitted(result, numbers, tuple(not_kept), is_waiting=bool(result and result.outbox_id))

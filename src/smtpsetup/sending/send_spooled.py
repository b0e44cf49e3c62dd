"""Sending a mail that is committed to the outbox first, so that it survives the end of the process.

It is in the outbox in the state SENDING, under the lease of this process, until the server has accepted it. After the
end of the process, `Outbox.revive` finds the lease of a dead process: the mail is sent again, or may have arrived.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Queue
from smtpsetup.message.message import Envelope
from smtpsetup.outbox import disposition
from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.opening import opened
from smtpsetup.sending import rescue
from smtpsetup.sending.send_one import SendResult, send
from smtpsetup.sending.send_or_queue import keep, left_of, log_result, new_mail, send_or_queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpsetup.message.delivery import Delivery
    from smtpsetup.outbox.disposition import Disposition
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_or_queue import Policy


class Submitted(NamedTuple):
    """What became of a mail. `result` is None where it has no recipient that it could be sent to.

    `unreachable` has the outbox number of the copy for each of the other recipients. `not_kept` are the errors for what
    could be neither sent nor kept. `is_waiting` says that the outbox has mail to be tried again; `is_noted` is false
    where the server has accepted the mail and the outbox could not be told.
    """

    result: SendResult | None
    unreachable: dict[str, int]
    not_kept: tuple[SmtpsetupError, ...]
    is_waiting: bool
    is_noted: bool = True


def submit(
    context: Context, delivery: Delivery, policy: Policy, unreachable: Mapping[str, SmtpsetupError]
) -> Submitted:
    """Commit a mail to the outbox, send it, and remove it once the server has accepted it.

    `unreachable` are recipients without a usable address, each with the error. Raises KeptError.
    """
    directory = paths.state_dir()
    if directory is None:
        return _without_outbox(context, delivery, policy, unreachable)
    with ExitStack() as stack:
        committed = _committed(stack, directory, context, delivery, policy, unreachable)
        if committed is None:
            return _without_outbox(context, delivery, policy, unreachable)
        outbox, spooled, numbers = committed
        try:
            # a power cut may undo later notes, so that the mail is sent twice, but it does not lose the mail
            outbox.set_durability(is_durable=False)
            result = spooled.send() if delivery.envelope.recipients else None
        except Exception as error:
            raise KeptError(is_sent=spooled.is_sent) from error
        return Submitted(result, numbers, (), _is_waiting(outbox), is_noted=spooled.is_noted)


def _committed(  # noqa: PLR0913, PLR0917  what `submit` has
    stack: ExitStack,
    directory: str,
    context: Context,
    delivery: Delivery,
    policy: Policy,
    unreachable: Mapping[str, SmtpsetupError],
) -> tuple[Outbox, _Spooled, dict[str, int]] | None:
    """The open outbox that has the mail now, and the numbers of the copies for `unreachable`; None where none takes it.

    While a shared outbox is away, it is that of this machine.
    """
    away: SharedOutboxError | None = None
    queued_at = time.time()
    for settings in dict.fromkeys((policy.outbox, policy.outbox.on_this_machine)):
        is_begun = False
        with ExitStack() as opening:
            try:
                outbox = opening.enter_context(opened(settings, directory))
                lease = opening.enter_context(outbox.lease())
                spooled = _Spooled(outbox, context, delivery, policy, away, queued_at)
                is_begun = True
                numbers = spooled.commit(lease, unreachable)
            except SharedOutboxError as error:
                away = error
                if is_begun:  # it may be there all the same: then only handing it on tells that it is one mail
                    policy = policy._replace(queue=Queue.ALWAYS)
                continue
            except (OSError, OutboxDamagedError):
                return None
            stack.enter_context(opening.pop_all())
            return outbox, spooled, numbers
    return None


class KeptError(Exception):
    """An unexpected error after the mail was put into the outbox. Unless it `is_sent`, a flush sends it."""

    def __init__(self, *, is_sent: bool) -> None:
        super().__init__()
        self.is_sent = is_sent


def _is_waiting(outbox: Outbox) -> bool:
    if outbox.is_shared:  # workers send from it, on this machine or another
        return False
    try:
        return outbox.has_waiting()
    except (OSError, OutboxDamagedError):
        return False


class _Spooled:
    """A mail in the outbox that this process is sending."""

    def __init__(  # noqa: PLR0913, PLR0917  what `submit` has
        self,
        outbox: Outbox,
        context: Context,
        delivery: Delivery,
        policy: Policy,
        away: SharedOutboxError | None,
        queued_at: float,
    ) -> None:
        self._queued_at = queued_at
        self._outbox = outbox
        self._away = away.explained() if away else None
        self._context = context
        self._delivery = delivery
        self._policy = policy
        self._number = 0
        self.is_sent = False
        self.is_noted = True

    def commit(self, lease: str, unreachable: Mapping[str, SmtpsetupError]) -> dict[str, int]:
        """Commit the mail to the disk. Returns the numbers of its copies for the unreachable recipients."""
        account = self._context.account.name
        with self._outbox.transaction():
            if self._delivery.envelope.recipients:
                mail = new_mail(account, self._delivery, self._policy, None)._replace(queued_at=self._queued_at)
                is_sent_now = self._policy.queue is not Queue.ALWAYS
                self._number = self._outbox.add(
                    mail._replace(state=MailState.SENDING, lease=lease) if is_sent_now else mail
                )
            return {
                recipient: self._outbox.add(
                    new_mail(account, self._delivery, self._policy, fate)._replace(queued_at=self._queued_at)
                )
                for recipient, error in unreachable.items()
                for fate in self._fates({recipient: error})
            }

    def _fates(self, unsent: Mapping[str, SmtpsetupError]) -> list[Disposition]:
        return disposition.dispositions(unsent, attempts=1, is_held=self._policy.hold_unknown, now=time.time())

    def send(self) -> SendResult:
        """Send the mail now, unless it is to wait; the outbox keeps what is not sent."""
        account, directory = self._context.account, self._outbox.directory
        if self._policy.queue is Queue.ALWAYS:
            result = SendResult(account.name, self._delivery.message_id, outbox_id=self._number, away=self._away)
            log_result(self._context, directory, self._delivery, result)
            return result
        result = self._tried()
        if result.accepted:
            with suppress(OSError):  # as of the files that count it on one machine
                self._outbox.record_sent(account.name, len(result.accepted))
        kept = self._settled(result)
        log_result(self._context, directory, self._delivery, kept, result.error)
        return kept

    def _tried(self) -> SendResult:
        delivery = self._delivery._replace(
            before_dot=lambda: self._mark_possibly_delivered(is_possible=True),
            accepted=self._remove,
            not_accepted=lambda: self._mark_possibly_delivered(is_possible=False),
            accepted_without=self._keep_for,
        )
        try:
            return send(self._context, self._context.secret(), delivery)
        except SmtpsetupError as error:
            return SendResult(self._context.account.name, delivery.message_id, error=error)

    def _mark_possibly_delivered(self, *, is_possible: bool) -> None:
        try:
            self._outbox.mark_possibly_delivered(self._number, is_possible=is_possible)
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
        """The result, after the outbox keeps what is left of the mail."""
        if self.is_sent or result.error is None:
            return result
        fates, told = left_of(result, self._delivery, self._policy)
        try:
            numbers = self._outbox.settle(self._number, fates)
        except (OSError, OutboxDamagedError):
            numbers = [self._number]  # as committed: the next flush revives it
        return result._replace(
            outbox_id=numbers[0] if numbers else None,
            error=told,
            postponed_by=result.error if numbers else None,
            away=self._away if numbers else None,
        )


def _without_outbox(
    context: Context, delivery: Delivery, policy: Policy, unreachable: Mapping[str, SmtpsetupError]
) -> Submitted:
    """Send a mail that the outbox cannot take, saved to a file meanwhile."""
    path = rescue.saved(
        delivery.message, Envelope(delivery.envelope.sender, (*delivery.envelope.recipients, *unreachable))
    )
    not_kept: list[SmtpsetupError] = []
    result: SendResult | None = None
    numbers: dict[str, int] = {}
    try:
        if delivery.envelope.recipients:
            result = send_or_queue(context, delivery, policy)
    except SmtpsetupError as error:
        not_kept.append(error)
    if unreachable:
        first = next(iter(unreachable.values()))
        try:
            for fate in disposition.dispositions(unreachable, attempts=1, is_held=policy.hold_unknown, now=time.time()):
                numbers |= dict.fromkeys(fate.recipients, keep(context.account.name, delivery, policy, fate).number)
        except SmtpsetupError as error:
            not_kept += [first, error]
    if path is not None:
        unsaved = [error for error in not_kept if isinstance(error, rescue.NotKeptError) and error.path is None]
        if unsaved:  # the disk had room for one file only, and this is it
            not_kept = [error.saved_in(path) if error in unsaved else error for error in not_kept]
        else:
            with suppress(OSError):
                os.unlink(path)
    return Submitted(result, numbers, tuple(not_kept), is_waiting=bool(result and result.outbox_id))

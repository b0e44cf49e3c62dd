"""Sending many mails in a run that can be stopped and continued.

No mail is lost, and none that the server has accepted is sent again.
"""

from __future__ import annotations

import datetime
import functools
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Queue
from smtpsetup.message.compose import header_of
from smtpsetup.message.message import Envelope
from smtpsetup.outbox.disposition import LOST, concerns_account, is_server_unreachable
from smtpsetup.sending.batch_input import Item, LineError
from smtpsetup.sending.drafts import delivery_of, draft_of
from smtpsetup.sending.send_many import Run, deliver
from smtpsetup.sending.send_one import SendResult
from smtpsetup.sending.send_or_queue import Policy, is_sent_later, keep, kept_by_policy, log_result, unsent
from smtpsetup.state import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.message.delivery import Delivery
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.sending.context import Context
    from smtpsetup.state.batch_journal import BatchJournal

_CONNECTION_LOST = "connection.lost"
_MOST_ERRORS = 10  # lines that are listed


class Totals:
    """The counts of a run. `before` is what earlier runs had sent, `error` what stopped the run."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.sent = self.queued = self.failed = self.unknown = self.before = 0
        self.error: SmtpsetupError | None = None

    @property
    def are_complete(self) -> bool:
        """Whether every mail was sent or kept. As long as one was not, no further run sends the others again."""
        return self.left == self.failed == self.unknown == 0

    @property
    def left(self) -> int:
        """Mails that were not tried."""
        return self.total - self.sent - self.queued - self.failed - self.unknown - self.before


def usable_items(account: Account, items: Iterable[Item | LineError]) -> list[Item]:
    """The items, once all have been checked. Raises as `checked_items`."""
    return list(checked_items(account, items))


def checked_items(account: Account, items: Iterable[Item | LineError]) -> Iterator[Item]:
    """The items, once the files and the header of each have been checked.

    Raises SmtpsetupError that lists the lines which cannot be used.
    """
    now = datetime.datetime.now(datetime.UTC)
    wrong: list[LineError] = []
    for item in items:
        fault = item if isinstance(item, LineError) else _fault(account, item, now)
        if fault:
            wrong.append(fault)
        elif isinstance(item, Item):
            yield item
        if len(wrong) >= _MOST_ERRORS:
            break
    if wrong:
        raise _wrong_lines(wrong)


def _fault(account: Account, item: Item, now: datetime.datetime) -> LineError | None:
    try:
        header_of(draft_of(account, item.parts), now=now, message_id="<checked>")
    except SmtpsetupError as error:
        return LineError(item.line, error.message, cause=error)
    return None


def _wrong_lines(wrong: list[LineError]) -> SmtpsetupError:
    """One error for all lines, with the exit code and the hints of the first."""
    first = wrong[0]
    hints = (*first.hints, _("Nothing was sent. Correct the lines and run the command again."))
    if len(wrong) == 1:
        first.hints = hints
        return first
    messages = tuple(error.message for error in wrong)
    message = (
        _("Some lines cannot be used.")
        if len(wrong) < _MOST_ERRORS
        else _("Many lines cannot be used; these are the first.")
    )
    return SmtpsetupError("config.invalid", message, causes=messages, hints=hints, exit_code=first.exit_code)


class Batch:
    """One run over many mails."""

    def __init__(  # noqa: PLR0913  what a run needs
        self,
        context: Context,
        journal: BatchJournal,
        policy: Policy,
        *,
        total: int,
        on_result: Callable[[Item, SendResult], None],
        outbox: Outbox | None = None,
    ) -> None:
        """`outbox` is a shared one, which counts what is sent."""
        self._outbox = outbox
        self.totals = Totals(total)
        self._context = context
        self._account = context.account
        self._directory = paths.state_dir()
        self._journal = journal
        self._policy = policy._replace(keep_once=True)
        self._on_result = on_result
        self._begun: dict[str, Delivery] = {}  # by its item's key, until it has a result

    def send(self, run: Run, items: Iterable[Item], stopped_by: SmtpsetupError | None = None) -> Totals:
        """Send what has not been sent. `stopped_by` is an error that is known to prevent sending now."""
        # mails that ended a connection in an earlier run come last
        deliveries = self._deliveries(sorted(items, key=lambda item: self._journal.has_broken(item.key)))
        if self._policy.queue is Queue.ALWAYS:
            for delivery in deliveries:
                self._journal.mark_possibly_delivered(_item(delivery).key)
                kept = keep(self._account.name, delivery, self._policy, None)
                result = SendResult(self._account.name, delivery.message_id, outbox_id=kept.number, away=kept.away)
                self.finish(delivery, result)
        else:
            stopped_by = stopped_by or deliver(run, deliveries)
            if stopped_by and not concerns_account(stopped_by):
                self._mark_broken(run.suspects)
            self.totals.error = self._kept(stopped_by, deliveries)
        if self.totals.are_complete:
            self._journal.mark_ended()
        return self.totals

    def _mark_broken(self, suspects: Iterable[Delivery]) -> None:
        for delivery in suspects:
            if _item(delivery).key in self._begun:
                self._journal.mark_broken(_item(delivery).key)

    def _kept(self, error: SmtpsetupError | None, deliveries: Iterator[Delivery]) -> SmtpsetupError | None:
        """Put what is left into the outbox after a temporary error. Returns the error where that is not done.

        It is not done for a provider's limit, which a flush of the outbox would only reach again.
        """
        if (
            error is None
            or error.is_limit
            or self._policy.queue is Queue.NEVER
            or not is_sent_later(error, self._policy)
        ):
            return error
        is_tried = is_server_unreachable(error)
        for delivery in (*self._begun.values(), *deliveries):
            self.finish(delivery, SendResult(self._account.name, delivery.message_id, error=error), is_tried=is_tried)
        return None

    def _deliveries(self, items: Iterable[Item]) -> Iterator[Delivery]:
        for item in items:
            if self._journal.is_done(item.key):
                self.totals.before += 1
                continue
            delivery = self._delivery(item)
            if delivery is None:
                continue
            if self._policy.hold_unknown and self._journal.is_unknown(item.key):
                self._report(item, SendResult(self._account.name, delivery.message_id, error=perhaps_arrived()))
                continue
            self._begun[item.key] = delivery
            yield delivery

    def _delivery(self, item: Item) -> Delivery | None:
        """The mail as a delivery; None, with the error as its result, where its files have changed since the check."""
        try:
            draft = draft_of(self._account, item.parts)
            message_id = self._journal.message_id(item.key, draft.sender.address.domain)
            delivery = delivery_of(draft, message_id=message_id, key=item)
        except SmtpsetupError as error:
            self._report(item, SendResult(self._account.name, "", error=error))
            return None
        left = self._journal.left(item.key)
        if left:
            delivery = delivery._replace(envelope=Envelope(delivery.envelope.sender, left))
        return delivery._replace(
            before_dot=functools.partial(self._journal.mark_possibly_delivered, item.key, _several(delivery)),
            accepted=functools.partial(self._journal.mark_done, item.key),
            not_accepted=functools.partial(self._journal.mark_not_sent, item.key),
            accepted_without=functools.partial(self._journal.mark_partly_done, item.key),
        )

    def _report(self, item: Item, result: SendResult) -> None:
        self._begun.pop(item.key, None)
        self._count(result)
        self._on_result(item, result)

    def finish(self, delivery: Delivery, result: SendResult, *, is_tried: bool = True) -> None:
        """Record a result: in the journal first, which prevents a second sending."""
        item, error = _item(delivery), result.error
        if error is not None and not (self._policy.hold_unknown and error.code == LOST):
            result = kept_by_policy(result, delivery, self._policy, is_tried=is_tried)
        self._note(item, result, is_partly_done=bool(result.accepted and unsent(result, delivery.envelope.recipients)))
        if result.accepted:
            self._count_sent(len(result.accepted))
        log_result(self._context, self._directory, delivery, result, error)
        self._report(item, result)

    def _count_sent(self, recipients: int) -> None:
        if self._outbox is None:
            usage.record(self._directory, self._account.name, recipients)
            return
        with suppress(OSError):  # a count must not end the run
            self._outbox.record_sent(self._account.name, recipients)

    def _note(self, item: Item, result: SendResult, *, is_partly_done: bool) -> None:
        """Note in the journal what the delivery's own callbacks have not noted."""
        if result.outbox_id is not None or (result.accepted and not is_partly_done):
            if not self._journal.is_done(item.key):
                self._journal.mark_done(item.key)
        elif is_partly_done or result.error is None or result.error.code == LOST:
            return
        elif result.error.code == _CONNECTION_LOST:
            self._journal.mark_broken(item.key)
        else:
            self._journal.mark_not_sent(item.key)

    def _count(self, result: SendResult) -> None:
        if result.error and result.error.code == LOST:
            self.totals.unknown += 1
        elif result.error:
            self.totals.failed += 1
        elif result.outbox_id is not None:
            self.totals.queued += 1
        else:
            self.totals.sent += 1


def _several(delivery: Delivery) -> tuple[str, ...]:
    """The recipients where there are several, so that some may be accepted and others refused."""
    return delivery.envelope.recipients if len(delivery.envelope.recipients) > 1 else ()


def _item(delivery: Delivery) -> Item:
    item: Item = delivery.key  # type: ignore[assignment]  # `_deliveries` has put it there
    return item


def perhaps_arrived() -> SmtpsetupError:
    """The error of a mail whose answer was lost in an earlier run."""
    return SmtpsetupError(
        LOST,
        _("It may have arrived in an earlier run, whose answer was lost."),
        hints=(_("Ask the recipient. To send it again: `--on-unknown resend`."),),
        exit_code=EX_TEMPFAIL,
    )

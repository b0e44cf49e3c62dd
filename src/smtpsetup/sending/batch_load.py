"""Loading many mails into a shared outbox, from which workers send them; a run can be stopped and continued."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.message import Envelope
from smtpsetup.outbox.postgresql import batches
from smtpsetup.outbox.postgresql.batches import Loaded
from smtpsetup.sending.batch import Totals, perhaps_arrived
from smtpsetup.sending.drafts import delivery_of, draft_of
from smtpsetup.sending.send_one import SendResult
from smtpsetup.sending.send_or_queue import log_result, new_mail
from smtpsetup.state.batch_journal import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smtpsetup.message.delivery import Delivery
    from smtpsetup.outbox.postgresql.batches import SharedJournal
    from smtpsetup.sending.batch_input import Item
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_or_queue import Policy

_AT_ONCE = 1000  # mails in one transaction
_MOST_BYTES = 16_000_000  # of the texts in one transaction


class BatchLoad:
    """One run that loads mails. `on_result` gets each mail that is in the outbox, and each that cannot be used."""

    def __init__(
        self,
        context: Context,
        journal: SharedJournal,
        policy: Policy,
        *,
        total: int,
        on_result: Callable[[Item, SendResult], None],
    ) -> None:
        self.totals = Totals(total)
        self._context = context
        self._journal = journal
        self._policy = policy
        self._on_result = on_result

    def load(self, items: Iterable[Item], on_known: Callable[[], None]) -> Totals:
        """Load what an earlier run has not loaded; `on_known` is called for each that it has.

        Raises SharedOutboxError; what was loaded before stays.
        """
        waiting: list[tuple[Item, Delivery]] = []
        size = 0
        for item, left in self._unknown(items, on_known):
            delivery = self._delivery(item, left)
            if delivery is None:
                continue
            waiting.append((item, delivery))
            size += delivery.message.size
            if len(waiting) == _AT_ONCE or size > _MOST_BYTES:
                self._commit(waiting)
                waiting, size = [], 0
        if waiting:
            self._commit(waiting)
        if self.totals.left == 0 and not self.totals.failed:
            self._journal.mark_ended()
        return self.totals

    def _unknown(self, items: Iterable[Item], on_known: Callable[[], None]) -> Iterator[tuple[Item, tuple[str, ...]]]:
        """The items that are to be loaded, each with the recipients who are left of it, `()` for all."""
        rest = iter(items)
        while some := list(islice(rest, _AT_ONCE)):
            found = batches.states(self._journal, [item.key for item in some])
            for item in some:
                state, left = found.get(item.key, ("", ()))
                if state == State.DONE:
                    self.totals.before += 1
                    on_known()
                elif state == State.DOTTED and self._policy.hold_unknown:
                    self.totals.unknown += 1
                    self._on_result(item, SendResult(self._context.account.name, "", error=perhaps_arrived()))
                else:
                    yield item, left

    def _delivery(self, item: Item, left: tuple[str, ...]) -> Delivery | None:
        """The mail; None, with the error as its result, where its files have changed since the check."""
        try:
            draft = draft_of(self._context.account, item.parts)
            message_id = self._journal.message_id(item.key, draft.sender.address.domain)
            delivery = delivery_of(draft, message_id=message_id, key=item)
        except SmtpsetupError as error:
            self.totals.failed += 1
            self._on_result(item, SendResult(self._context.account.name, "", error=error))
            return None
        return delivery._replace(envelope=Envelope(delivery.envelope.sender, left)) if left else delivery

    def _commit(self, waiting: list[tuple[Item, Delivery]]) -> None:
        account = self._context.account.name
        mails = [Loaded(item.key, new_mail(account, delivery, self._policy, None)) for item, delivery in waiting]
        numbers = batches.load(self._journal, mails)
        directory = paths.state_dir()
        for number, (item, delivery) in zip(numbers, waiting, strict=True):
            result = SendResult(account, delivery.message_id, outbox_id=number)
            self.totals.queued += 1
            log_result(self._context, directory, delivery, result)
            self._on_result(item, result)

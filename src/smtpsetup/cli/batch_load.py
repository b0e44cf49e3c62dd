"""`smtpsetup send --batch` and `--merge` into a shared outbox, from which workers send the mails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smtpsetup.cli import views
from smtpsetup.cli.batch import busy_explained, finish, journal_directory, progress, result_reporter
from smtpsetup.cli.state import tell
from smtpsetup.core.i18n import gettext as _
from smtpsetup.outbox.postgresql.batches import SharedJournal
from smtpsetup.sending.batch import checked_items
from smtpsetup.sending.batch_load import BatchLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.cli.batch import BatchOptions
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.sending.batch_input import Item, LineError
    from smtpsetup.sending.send_or_queue import Policy


def load_many(
    state: State,
    account: Account,
    policy: Policy,
    options: BatchOptions,
    source: tuple[Callable[[], Iterator[Item | LineError]], str],
) -> None:
    """Check every mail, then load them; nothing is kept in memory, so that there may be a million.

    `source` reads the mails from their start, and has their identity. Raises SmtpsetupError.
    """
    read, identity = source
    total = sum(1 for _item in checked_items(account, read()))
    started = time.monotonic()
    failures: list[SmtpsetupError] = []
    with (
        busy_explained(),
        SharedJournal(policy.outbox, journal_directory(), identity, reads_states=False) as journal,
        progress(state, total, 0) as bar,
    ):
        if options.restart:
            journal.restart()
        load = BatchLoad(
            state.context(account), journal, policy, total=total, on_result=result_reporter(state, bar, failures)
        )
        try:
            totals = load.load(checked_items(account, read()), bar.count_mail if bar else lambda: None)
        except KeyboardInterrupt:
            views.batch.interrupted(load.totals, bar)
            raise
    if totals.before:
        tell(
            _(
                "{n} of these {total} mails were put into the outbox by an earlier run, and are not put there again. "
                "To send everything anew: --restart."
            ).format(n=totals.before, total=total)
        )
    finish(state, totals, failures, time.monotonic() - started)

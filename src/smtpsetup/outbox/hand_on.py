"""Mail that this machine kept while the shared outbox was away, handed on to it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.outbox.sqlite.database import file_in
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.state import usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.postgresql.store import PostgresqlOutbox

_AT_ONCE = 500  # mails, so that a worker does not seem to stand still
_ANSWER_SECONDS = 20.0  # while others are locked out, who wait for a minute at most


class HandedOn(NamedTuple):
    """How many mails were moved, and why one could not be, None where all could."""

    moved: int
    fault: SharedOutboxError | OSError | OutboxDamagedError | None = None


def hand_on(directory: str, shared: PostgresqlOutbox, accounts: Iterable[str] = ()) -> HandedOn:
    """Move mail of the outbox in the state directory to a shared one: a part of it, where there is much.

    What a living process is sending stays, and so does a damaged mail, and one that the database does not take. A crash
    between the two commits moves a mail once: the shared outbox knows it by its origin. What these accounts have sent
    without the outbox is counted there from now on. Raises SharedOutboxError where the database has gone.
    """
    try:
        _count_there(directory, shared, accounts)
        return _move(directory, shared) if os.path.exists(file_in(directory)) else HandedOn(0)
    except SharedOutboxError:
        raise
    except (OSError, OutboxDamagedError) as fault:  # of this machine, which must not stop what is in the shared outbox
        return HandedOn(0, fault)


def _count_there(directory: str, shared: PostgresqlOutbox, accounts: Iterable[str]) -> None:
    for account in accounts:
        with usage.taken(directory, account) as sent:
            if sent:
                shared.record_earlier(account, sent)


def _move(directory: str, shared: PostgresqlOutbox) -> HandedOn:
    moved = 0
    fault: SharedOutboxError | None = None
    with SqliteOutbox(directory) as local:
        local.revive(time.time())
        for mail in local.mails()[:_AT_ONCE]:
            try:
                moved += _moved(local, mail.id, shared)
            except SharedOutboxError as error:
                if shared.database.is_broken:
                    raise
                fault = fault or error
    return HandedOn(moved, fault)


def _moved(local: SqliteOutbox, number: int, shared: PostgresqlOutbox) -> bool:
    """Move one mail, unless it is being sent or damaged. Others are locked out meanwhile."""
    with local.transaction(), shared.database.answered_within(_ANSWER_SECONDS):
        mail = local.mail(number)
        if mail is None or mail.state not in ("waiting", "unknown", "failed") or not local.is_sound(mail):
            return False
        shared.adopt(mail, local.message(number), _origin(shared.host, mail))
        return local.drop(number)


def _origin(host: str, mail: Mail) -> str:
    """What no other mail has: the machine, its number there and, should those begin anew, its moment and Message-ID."""
    return f"{host}/{mail.id}/{mail.queued_at!r}/{mail.message_id}"


def count_here(directory: str) -> int:
    """How many mails wait on this machine to be handed on. Raises OSError, OutboxDamagedError."""
    if not os.path.exists(file_in(directory)):
        return 0
    with SqliteOutbox(directory) as local:
        return len(local.mails())

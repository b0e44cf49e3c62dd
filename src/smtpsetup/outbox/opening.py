"""Opening the outbox that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from smtpsetup.outbox.errors import SharedOutboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.store import Outbox


_T = TypeVar("_T")


def opened(settings: OutboxSettings, directory: str, *, is_durable: bool = True) -> Outbox:
    """The outbox, open. `directory` is the state directory; `is_durable` is that of `Outbox.set_durability`.

    Raises OSError, OutboxDamagedError.
    """
    if settings.is_shared:
        from smtpsetup.outbox.postgresql.store import PostgresqlOutbox  # psycopg costs 100 ms

        return PostgresqlOutbox(settings, directory, is_durable=is_durable)
    from smtpsetup.outbox.sqlite.store import SqliteOutbox

    return SqliteOutbox(directory, is_durable=is_durable)


def kept_in(
    settings: OutboxSettings, directory: str, keep: Callable[[Outbox], _T]
) -> tuple[_T, SharedOutboxError | None]:
    """What `keep` returns, which puts mail into the outbox, and None.

    While a shared outbox is away, the mail is put into that of this machine, to be handed on later (`hand_on`), and
    the second value is why. Raises OSError, OutboxDamagedError.
    """
    away = None
    try:
        with opened(settings, directory) as outbox:
            return keep(outbox), None
    except SharedOutboxError as error:
        away = error
    with opened(settings.on_this_machine, directory) as outbox:
        return keep(outbox), away

"""Saving what can be read of a damaged outbox."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.message import Message
from smtpsetup.outbox.database import REPAIRED, OutboxDamagedError, file_in, lock
from smtpsetup.outbox.store import COLUMNS, Outbox, mail_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.outbox.store import Mail


class Repaired(NamedTuple):
    """What a repair came to: how many mails were saved and lost (None: nobody can tell), and where the damaged file is now."""

    saved: int
    lost: int | None
    damaged_file: str


def repair(directory: str) -> Repaired:
    """Save what can be read of a damaged outbox into a new one. A repair that was killed is brought to its end. Raises OSError."""
    import shutil  # only here

    path = file_in(directory)
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    handle = lock(path, is_shared=False)
    try:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy2(path + suffix, aside + suffix)
        if os.path.exists(path + REPAIRED):
            with closing(sqlite3.connect(path + REPAIRED)) as db:
                saved, lost = int(db.execute("SELECT count(*) FROM mail").fetchone()[0]), None
        else:
            saved, lost = _rebuilt(path, aside)
        for suffix in ("-wal", "-shm"):  # they belong to the damaged file, and would be taken for the new one's
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        os.replace(path + REPAIRED, path)
    finally:
        os.close(handle)
    return Repaired(saved, lost, aside)


def _rebuilt(path: str, damaged: str) -> tuple[int, int | None]:
    """A new outbox with what can be read of a damaged one, complete when it bears its name; how many mails were saved and lost."""
    saved, lost = 0, 0
    building = os.path.join(os.path.dirname(path), f".repairing-{os.urandom(6).hex()}")
    with Outbox(building) as outbox:
        numbers = 0
        for mail, message in _readable(damaged):
            numbers += 1
            if mail is not None and message is not None and _is_restored(outbox, mail, message):
                saved += 1
            else:
                lost += 1
        outbox.compact()
    os.replace(file_in(building), path + REPAIRED)
    for name in os.listdir(building):
        os.unlink(os.path.join(building, name))
    os.rmdir(building)
    return saved, lost if numbers else None


def _is_restored(outbox: Outbox, mail: Mail, message: Message) -> bool:
    try:
        outbox.restore(mail, message)
    except OutboxDamagedError:
        return False  # what was read makes no sense
    return True


def _readable(path: str) -> Iterator[tuple[Mail | None, Message | None]]:
    """The mails of a damaged outbox, each read on its own; None for one that is lost."""
    with closing(sqlite3.connect(path)) as db:
        for number in _numbers(db):
            try:
                row = db.execute(f"SELECT {COLUMNS}, is_ascii FROM mail WHERE id = ?", (number,)).fetchone()
                content = db.execute("SELECT header, body FROM content WHERE id = ?", (number,)).fetchone()
                mail, body = mail_in(row[:-1]), bytes(content[1])
                message = Message(bytes(content[0]), lambda body=body: iter((body,)), len(body), bool(row[-1]))  # type: ignore[misc]  # mypy infers no lambda with a default
                yield mail, message
            except (sqlite3.DatabaseError, TypeError, ValueError):
                yield None, None


def _numbers(db: sqlite3.Connection) -> list[int]:
    """The numbers of the mails, by the table or by one of its indexes, whichever can be read."""
    found: set[int] = set()
    for query in ("SELECT id FROM mail NOT INDEXED", "SELECT id FROM mail INDEXED BY mail_due WHERE account >= ''", "SELECT id FROM content"):
        with suppress(sqlite3.DatabaseError, ValueError, TypeError):
            found.update(int(row[0]) for row in db.execute(query))
    return sorted(found)

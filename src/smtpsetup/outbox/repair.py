"""Saving what can be read of a damaged outbox."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.message.message import Message
from smtpsetup.outbox import salvage
from smtpsetup.outbox.database import (
    HAS_ITS_CHECKSUM,
    LOST_WAL,
    REPAIRED,
    VERSION,
    OutboxDamagedError,
    content_checksum,
    file_in,
    lock,
    read_made,
    with_checksums,
)
from smtpsetup.outbox.mail import COLUMNS, STORED, read_mail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.store import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.outbox.mail import Mail

CHANGED = "outbox.damaged"
"""The code of a mail that was saved and is not what was put into the outbox: it is not sent by itself."""
_WITHOUT_CHECKSUMS = ", ".join((*("0" if name == "put_offs" else name for name in STORED), "1"))  # of version 1


class Repaired(NamedTuple):
    """What a repair came to: how many mails were saved and lost (None.

    Nobody can tell), and where the damaged file is now.

    `changed` are the numbers of those that were saved and are not what was put into the outbox.
    """

    saved: int
    lost: int | None
    damaged_file: str
    changed: tuple[int, ...] = ()


def repair(directory: str) -> Repaired:
    """Save what can be read of a damaged outbox into a new one. A repair that was killed is brought to its end.

    Raises OSError.
    """
    import shutil  # only here

    path = file_in(directory)
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    handle = lock(path, is_shared=False)
    try:
        highest = read_made(path).highest
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy2(path + suffix, aside + suffix)
        with suppress(FileNotFoundError):
            shutil.copy2(path + LOST_WAL, f"{aside}-wal")
        if os.path.exists(path + REPAIRED):
            with closing(sqlite3.connect(path + REPAIRED)) as db:
                saved = int(db.execute("SELECT count(*) FROM mail").fetchone()[0])
            done = Repaired(saved, None, aside)
        else:
            done = _rebuilt(path, aside, highest)
        for suffix in (
            "-wal",
            "-shm",
            LOST_WAL,
        ):  # they belong to the damaged file, and would be taken for the new one's
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        os.replace(path + REPAIRED, path)
    finally:
        os.close(handle)
    return done


def _rebuilt(path: str, damaged: str, highest: int) -> Repaired:
    """A new outbox with what can be read of a damaged one, complete when it bears its name."""
    saved, lost, changed = 0, 0, []
    building = os.path.join(os.path.dirname(path), f".repairing-{os.urandom(6).hex()}")
    numbers: list[int] = []
    with Outbox(building) as outbox:
        for number, mail, message in _readable(damaged, building):
            numbers.append(number)
            if mail is None or message is None or not _is_restored(outbox, mail, message):
                lost += 1
                continue
            saved += 1
            changed += [number] if mail.last_code == CHANGED else []
        outbox.count_on_from(max([highest, *numbers]))
        outbox.compact()
    os.replace(file_in(building), path + REPAIRED)
    for name in os.listdir(building):
        os.unlink(os.path.join(building, name))
    os.rmdir(building)
    is_counted = numbers and salvage.highest_number(damaged) >= highest
    return Repaired(saved, lost if is_counted else None, damaged, tuple(changed))


def _is_restored(outbox: Outbox, mail: Mail, message: Message) -> bool:
    try:
        outbox.restore(mail, message)
    except OutboxDamagedError:
        return False  # what was read makes no sense
    return True


def _readable(damaged: str, building: str) -> Iterator[tuple[int, Mail | None, Message | None]]:
    """The mails of a damaged outbox, each read on its own; None for one that is lost.

    What is not as it was put there is a mail that failed.
    """
    copy = os.path.join(building, "salvaged.db")
    try:
        salvage.copied(damaged, copy, os.path.join(building, "outbox.db"))
        with closing(sqlite3.connect(copy)) as db:
            with_checksums(db)
            has_checksums = db.execute("PRAGMA user_version").fetchone()[0] == VERSION
            for number in _numbers(db):
                yield number, *_read(db, number, has_checksums=has_checksums)
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(copy + suffix)


def _read(db: sqlite3.Connection, number: int, *, has_checksums: bool) -> tuple[Mail | None, Message | None]:
    columns = (
        f"{COLUMNS}, {HAS_ITS_CHECKSUM}, checksum, content_checksum"
        if has_checksums
        else f"{_WITHOUT_CHECKSUMS}, 1, 0, 0"
    )
    try:
        row = db.execute(f"SELECT {columns}, dotted, is_ascii FROM mail WHERE id = ?", (number,)).fetchone()
        content = db.execute("SELECT header, body FROM content WHERE id = ?", (number,)).fetchone()
        mail, body = read_mail(row[:-5]), bytes(content[1])
        message = Message(bytes(content[0]), lambda: iter((body,)), len(body), bool(row[-1]))
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return None, None
    has_its_checksum, checksum, text_checksum, is_possible = row[-5:-1]
    # read with a first page of this version: nothing vouches for it, as before
    is_of_version_1 = checksum == text_checksum == 0
    if not (has_its_checksum or is_of_version_1):
        return None, None  # nobody knows to whom it was to go
    has_its_text = is_of_version_1 or content_checksum(message.header, (body,)) == text_checksum
    if not (has_its_text and (mail.is_sound or is_of_version_1)):
        last_reply = _("its content is damaged: it is not what was put into the outbox")
        return mail._replace(
            state=MailState.FAILED, next_attempt=None, last_reply=last_reply, last_code=CHANGED
        ), message
    if mail.state is MailState.SENDING and not is_possible:
        mail = mail._replace(state=MailState.WAITING)
    return mail, message


def _numbers(db: sqlite3.Connection) -> list[int]:
    """The numbers of the mails, by the table or by one of its indexes, whichever can be read."""
    found: set[int] = set()
    for query in (
        "SELECT id FROM mail NOT INDEXED",
        "SELECT id FROM mail INDEXED BY mail_due WHERE account >= ''",
        "SELECT id FROM content",
    ):
        with suppress(sqlite3.DatabaseError, ValueError, TypeError):
            found.update(int(row[0]) for row in db.execute(query) if int(row[0]) > 0)
    return sorted(found)

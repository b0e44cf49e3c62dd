"""Saving the readable mails of a damaged outbox."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.message.message import Message
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite import salvage
from smtpsetup.outbox.sqlite.database import (
    CHECKSUMS_SINCE,
    CLIENT_SINCE,
    HAS_ITS_CHECKSUM,
    LOST_WAL,
    REPAIRED,
    content_checksum,
    file_in,
    lock,
    read_made,
    with_checksums,
)
from smtpsetup.outbox.sqlite.rows import COLUMNS, STORED, read_mail
from smtpsetup.outbox.sqlite.store import SqliteOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.outbox.mail import Mail

_USED_SECONDS = 60.0  # to wait for others that have the outbox open
CHANGED = "outbox.damaged"
"""The code of a mail whose content was damaged: only a person sends it."""
_MISSING = {"put_offs": "0", "client": "''"}  # in SQL: for the columns that version 1 did not have
_WITHOUT_CHECKSUMS = ", ".join((*(_MISSING.get(name, name) for name in STORED), "1"))


class Repaired(NamedTuple):
    """The result of a repair: how many mails were saved and lost (None where that is not known).

    `changed` are the numbers of saved mails whose content is damaged. `damaged_file` is where the old file is now.
    """

    saved: int
    lost: int | None
    damaged_file: str
    changed: tuple[int, ...] = ()


def repair(directory: str) -> Repaired:
    """Save the readable mails of a damaged outbox into a new one, or finish an interrupted repair.

    Raises OSError, also where another process keeps the outbox open.
    """
    import shutil  # only here

    path = file_in(directory)
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    handle = lock(path, is_shared=False, seconds=_USED_SECONDS)
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
        for suffix in ("-wal", "-shm", LOST_WAL):  # SQLite would take the damaged file's for the new one's
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        os.replace(path + REPAIRED, path)
    finally:
        os.close(handle)
    return done


def _rebuilt(path: str, damaged: str, highest: int) -> Repaired:
    """Make a new outbox of the readable mails; it has the suffix REPAIRED once it is complete."""
    saved, lost, changed = 0, 0, []
    building = os.path.join(os.path.dirname(path), f".repairing-{os.urandom(6).hex()}")
    numbers: list[int] = []
    with SqliteOutbox(building) as outbox:
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


def _is_restored(outbox: SqliteOutbox, mail: Mail, message: Message) -> bool:
    try:
        outbox.restore(mail, message)
    except OutboxDamagedError:
        return False  # the values that were read are impossible
    return True


def _readable(damaged: str, building: str) -> Iterator[tuple[int, Mail | None, Message | None]]:
    """The numbers of the mails in a damaged outbox, with the mail and its message, None for one that is lost.

    A mail with damaged content becomes a failed one.
    """
    copy = os.path.join(building, "salvaged.db")
    try:
        salvage.copied(damaged, copy, os.path.join(building, "outbox.db"))
        with closing(sqlite3.connect(copy)) as db:
            with_checksums(db)
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            for number in _numbers(db):
                yield number, *_read(db, number, version)
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(copy + suffix)


def _read(db: sqlite3.Connection, number: int, version: int) -> tuple[Mail | None, Message | None]:
    if version < CHECKSUMS_SINCE:
        columns = f"{_WITHOUT_CHECKSUMS}, 1, 0, 0"
    else:
        stored = COLUMNS if version >= CLIENT_SINCE else COLUMNS.replace(", client,", ", '',")
        columns = f"{stored}, {HAS_ITS_CHECKSUM}, checksum, content_checksum"
    try:
        row = db.execute(f"SELECT {columns}, dotted, is_ascii FROM mail WHERE id = ?", (number,)).fetchone()
        content = db.execute("SELECT header, body FROM content WHERE id = ?", (number,)).fetchone()
        mail, body = read_mail(row[:-5]), bytes(content[1])
        message = Message(bytes(content[0]), lambda: iter((body,)), len(body), bool(row[-1]))
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return None, None
    has_its_checksum, checksum, text_checksum, may_have_arrived = row[-5:-1]
    # a row of version 1, read with a first page of version 2, has no checksums
    is_of_version_1 = checksum == text_checksum == 0
    if not (has_its_checksum or is_of_version_1):
        return None, None  # its recipients cannot be trusted
    has_its_text = is_of_version_1 or content_checksum(message.header, (body,)) == text_checksum
    if not (has_its_text and (mail.is_sound or is_of_version_1)):
        last_reply = _("its content is damaged: it is not what was put into the outbox")
        return mail._replace(
            state=MailState.FAILED, next_attempt=None, last_reply=last_reply, last_code=CHANGED
        ), message
    if mail.state is MailState.SENDING and not may_have_arrived:
        mail = mail._replace(state=MailState.WAITING)
    return mail, message


def _numbers(db: sqlite3.Connection) -> list[int]:
    """The numbers of the mails, from whichever of the tables and indexes can be read."""
    found: set[int] = set()
    for query in (
        "SELECT id FROM mail NOT INDEXED",
        "SELECT id FROM mail INDEXED BY mail_due WHERE account >= ''",
        "SELECT id FROM content",
    ):
        with suppress(sqlite3.DatabaseError, ValueError, TypeError):
            found.update(int(row[0]) for row in db.execute(query) if int(row[0]) > 0)
    return sorted(found)

"""Outboxes that are filled, damaged or of an older version, and the files that take their place."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import new_mail, state_dir

if TYPE_CHECKING:
    from smtpsetup.outbox.mail import NewMail
    from tests.conftest import Home

PAGE = 4096  # bytes of a page of the database
NO_DATABASE = b"no database" * 1000


def fill(home: Home, *mails: NewMail) -> None:
    """Queue mails."""
    with SqliteOutbox(state_dir(home)) as box:
        for mail in mails:
            box.add(mail)


def filled(directory: Path, mails: int) -> Path:
    """An outbox with so many mails that no process uses: all of it is in outbox.db."""
    with SqliteOutbox(str(directory)) as box:
        for number in range(mails):
            box.add(new_mail(number))
    return directory


def left_by_a_kill(directory: Path, mails: int, *, checkpoint_after: int | None = None) -> Path:
    """An outbox as a killed process leaves it: the mails, or those after a checkpoint, are in the write-ahead log."""
    copy = directory / "copy"
    with SqliteOutbox(str(directory / "box")) as box:
        for number in range(mails):
            box.add(new_mail(number))
            if number == checkpoint_after:
                box.tidy()
        shutil.copytree(directory / "box", copy)
    (copy / "outbox.db-shm").unlink()
    return copy


def copied(home: Home, source: Path) -> Path:
    """Copy an outbox into this home. Returns the directory of the copy."""
    directory = Path(state_dir(home))
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    directory.chmod(0o700)
    return directory


def execute(home: Home, statement: str, *values: object) -> None:
    """Change the database behind the outbox's back."""
    with contextlib.closing(sqlite3.connect(f"{state_dir(home)}/outbox.db")) as db, db:
        db.execute(statement, values)


def as_version_1(home: Home) -> None:
    """Make the outbox one of version 1, without checksums."""
    as_version_2(home)
    for column in ("checksum", "content_checksum", "put_offs"):
        execute(home, f"ALTER TABLE mail DROP COLUMN {column}")
    execute(home, "PRAGMA user_version = 1")
    Path(state_dir(home), "outbox.making").write_bytes(b"1")


def as_version_2(home: Home) -> None:
    """Make the outbox one of version 2, whose mails have no client."""
    execute(home, "ALTER TABLE mail DROP COLUMN client")
    execute(home, "PRAGMA user_version = 2")
    made = Path(state_dir(home), "outbox.making")
    made.write_bytes(b"2" + made.read_bytes()[1:])


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Put other bytes into a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def rescue_file(home: Home) -> Path:
    """The one file in which a mail was saved that could be neither sent nor queued."""
    (path,) = home.path.rglob("smtpsetup-unsent-*.eml")
    return path


def batch_file(home: Home, *names: str) -> str:
    """A batch with a mail to each of these names, which is its subject, too."""
    rows = ({"to": f"{name}@example.com", "subject": name, "body": "x"} for name in names)
    return str(home.file("mails.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))

"""Mail that waits: accepted from the user and not yet accepted by a server. In SQLite, so that many processes may add and send at once."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from smtpsetup import leases
from smtpsetup.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smtpsetup.message import Envelope

_VERSION = 1
_BUSY_SECONDS = 60.0
_CHUNK = 262_144  # bytes
_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL, subject TEXT NOT NULL,
    message_id TEXT NOT NULL, size INTEGER NOT NULL, is_ascii INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_attempt REAL, queued_at REAL NOT NULL, last_reply TEXT NOT NULL, last_code TEXT NOT NULL, lease TEXT, dotted INTEGER NOT NULL DEFAULT 0,
    unknowns INTEGER NOT NULL DEFAULT 0, holds INTEGER NOT NULL DEFAULT 0, is_report INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE content (id INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX mail_due ON mail (account, state, next_attempt);
CREATE INDEX mail_lease ON mail (lease) WHERE lease IS NOT NULL;
"""


class State(StrEnum):
    """What a mail in the outbox is at. UNKNOWN: the server got all of it, and its reply was lost."""

    WAITING = "waiting"
    SENDING = "sending"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail of the outbox. Times are seconds since 1970; `next_attempt` is None where none is planned.

    `holds` says that it is not sent again by itself once its outcome is unknown; `unknowns` counts how often it was.
    """

    id: int
    account: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    size: int
    state: State
    attempts: int
    next_attempt: float | None
    queued_at: float
    last_reply: str
    last_code: str
    unknowns: int
    holds: bool
    is_report: bool


_COLUMNS = (
    "id, account, sender, recipients, subject, message_id, size, state, attempts, next_attempt, queued_at, last_reply, last_code, unknowns, holds,"
    " is_report"
)


_DUE = "state IN ('waiting', 'unknown') AND next_attempt <= ?"


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to put into the outbox. `next_attempt` None means that it waits for a person."""

    account: str
    envelope: Envelope
    message: Message
    message_id: str
    subject: str
    state: State = State.WAITING
    attempts: int = 0
    next_attempt: float | None = 0.0
    last_reply: str = ""
    last_code: str = ""
    holds: bool = False
    is_report: bool = False


class OutboxDamagedError(Exception):
    """The outbox is no database any more, or a part of it cannot be read. `path` is where it is."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def file_in(directory: str) -> str:
    """The path of the outbox in the state directory."""
    return os.path.join(directory, "outbox.db")


class Outbox:
    """The outbox of one user, open. Every method may raise OutboxDamagedError or OSError; each change is one transaction."""

    def __init__(self, directory: str, *, is_durable: bool = True) -> None:
        """Open the outbox in a directory, which is made where it is missing.

        With `is_durable` a change outlives a power cut once the method returns; without, only the end of the process: then a mail can be sent twice
        after a power cut, but none is lost.
        """
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.directory = directory
        self.path = file_in(directory)
        with _explained(self.path):
            self._db = _connected(self.path)
            self._db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._db.close()

    def add(self, mail: NewMail) -> int:
        """Keep a mail; its number."""
        message, now = mail.message, time.time()
        values = (
            *(
                mail.account,
                mail.envelope.sender,
                json.dumps(mail.envelope.recipients),
                mail.subject,
                mail.message_id,
                message.size,
                message.is_ascii,
            ),
            *(mail.state, mail.attempts, now if mail.next_attempt == 0.0 else mail.next_attempt, now, mail.last_reply, mail.last_code),
            *(int(mail.state is State.UNKNOWN), mail.holds, mail.is_report),
        )
        columns = "account, sender, recipients, subject, message_id, size, is_ascii, state, attempts, next_attempt, queued_at, last_reply, last_code"
        with self._change():
            marks = ", ".join("?" * len(values))
            added = self._db.execute(f"INSERT INTO mail ({columns}, unknowns, holds, is_report) VALUES ({marks})", values)
            number = int(added.lastrowid or 0)
            self._db.execute("INSERT INTO content VALUES (?, ?, zeroblob(?))", (number, message.header, message.body_size))
            self._write_body(number, message)
        return number

    def _write_body(self, number: int, message: Message) -> None:
        if not message.body_size:
            return
        with self._db.blobopen("content", "body", number) as blob:
            for chunk in message.body():
                blob.write(chunk)
            if blob.tell() != message.body_size:
                raise OSError(0, "it changed while it was read", self.path)

    def mails(self, state: State | None = None) -> list[Mail]:
        """Every mail, oldest first."""
        with _explained(self.path):
            where, values = ("WHERE state = ?", (str(state),)) if state else ("", ())
            return [_mail(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM mail {where} ORDER BY id", values)]

    def mail(self, number: int) -> Mail | None:
        """The mail of that number."""
        with _explained(self.path):
            row = self._db.execute(f"SELECT {_COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone()
            return _mail(row) if row else None

    def message(self, number: int) -> Message:
        """The message of a mail, its body read when it is asked for. Raises KeyError where the mail is gone."""
        with _explained(self.path):
            row = self._db.execute(
                "SELECT content.header, length(content.body), mail.is_ascii FROM content JOIN mail USING (id) WHERE id = ?", (number,)
            ).fetchone()
        if row is None:
            raise KeyError(number)

        def body() -> Iterator[bytes]:
            with _explained(self.path), self._db.blobopen("content", "body", number, readonly=True) as blob:
                while chunk := blob.read(_CHUNK):
                    yield chunk

        return Message(bytes(row[0]), body, int(row[1]), bool(row[2]))

    def accounts_due(self, now: float) -> list[str]:
        """The accounts that have a mail to send by now."""
        with _explained(self.path):
            rows = self._db.execute(f"SELECT DISTINCT account FROM mail WHERE {_DUE} ORDER BY account", (now,))
            return [str(row[0]) for row in rows]

    def take(self, account: str, lease: str, now: float, limit: int) -> list[Mail]:
        """Mails of an account that are due, for the holder of the lease alone."""
        with self._change():
            numbers = [
                row[0]
                for row in self._db.execute(
                    f"SELECT id FROM mail WHERE account = ? AND {_DUE} ORDER BY next_attempt, id LIMIT ?",
                    (account, now, limit),
                )
            ]
            self._db.executemany("UPDATE mail SET lease = ?, state = 'sending', dotted = 0 WHERE id = ?", [(lease, number) for number in numbers])
            taken = (self._db.execute(f"SELECT {_COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone() for number in numbers)
            return [_mail(row) for row in taken]

    def mark_dotted(self, number: int) -> None:
        """Note that the server can have a mail from now on."""
        with self._change():
            self._db.execute("UPDATE mail SET dotted = 1 WHERE id = ?", (number,))

    def remove(self, number: int) -> None:
        """Forget a mail that is sent."""
        with self._change():
            self._db.execute("DELETE FROM content WHERE id = ?", (number,))
            self._db.execute("DELETE FROM mail WHERE id = ?", (number,))

    def drop(self, number: int) -> bool:
        """Forget a mail unless it is being sent; whether it was there."""
        with self._change():
            is_free = self._db.execute("DELETE FROM mail WHERE id = ? AND lease IS NULL", (number,)).rowcount == 1
            self._db.execute("DELETE FROM content WHERE id = ? AND ?", (number, is_free))
            return is_free

    def retry(self, number: int, now: float) -> None:
        """Let a mail be due now, whatever became of it so far; nothing for one that is being sent."""
        with self._change():
            self._db.execute(
                "UPDATE mail SET state = 'waiting', next_attempt = ?, unknowns = 0, attempts = 0 WHERE id = ? AND lease IS NULL", (now, number)
            )

    def put_back(  # noqa: PLR0913  what the outbox notes of an attempt
        self, number: int, *, state: State, next_attempt: float | None, reply: str = "", code: str = "", is_attempt: bool = True
    ) -> None:
        """Give a mail that was taken back, with what became of it. An outcome that is unknown is counted."""
        with self._change():
            self._db.execute(
                "UPDATE mail SET lease = NULL, dotted = 0, state = ?, next_attempt = ?, attempts = attempts + ?, unknowns = unknowns + ?,"
                " last_reply = iif(? = '', last_reply, ?), last_code = iif(? = '', last_code, ?) WHERE id = ?",
                (state, next_attempt, is_attempt, state is State.UNKNOWN, reply, reply, code, code, number),
            )

    def put_off(self, account: str, delay: Callable[[int], float], *, now: float, reply: str, code: str) -> None:
        """Let all of an account's due mails wait, after what stopped them all; `delay` gives the seconds after so many attempts."""
        with self._change():
            rows = self._db.execute(f"SELECT id, attempts FROM mail WHERE account = ? AND {_DUE}", (account, now)).fetchall()
            self._db.executemany(
                "UPDATE mail SET attempts = attempts + 1, next_attempt = ?, last_reply = ?, last_code = ? WHERE id = ?",
                [(now + delay(attempts + 1), reply, code, number) for number, attempts in rows],
            )

    def narrow(self, number: int, recipients: Sequence[str]) -> None:
        """Keep a mail for these recipients only: the others have it."""
        with self._change():
            self._db.execute("UPDATE mail SET recipients = ? WHERE id = ?", (json.dumps(list(recipients)), number))

    def revive(self, now: float) -> int:
        """Take back what dead processes had taken; how many mails. One that the server may have got already becomes UNKNOWN."""
        with _explained(self.path):
            held = [str(row[0]) for row in self._db.execute("SELECT DISTINCT lease FROM mail WHERE lease IS NOT NULL")]
        dead = [name for name in held if not leases.is_alive(self.directory, name)]
        revived = 0
        for name in dead:
            with self._change():
                revived += self._db.execute(
                    "UPDATE mail SET state = iif(dotted, 'unknown', 'waiting'), unknowns = unknowns + dotted, lease = NULL,"
                    " next_attempt = iif(dotted AND (holds OR unknowns > 0), NULL, ?), dotted = 0 WHERE lease = ?",
                    (now, name),
                ).rowcount
        return revived

    def tidy(self) -> None:
        """Give the space of sent mail back to the disk."""
        with _explained(self.path):
            self._db.execute("PRAGMA incremental_vacuum")
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def fault(self) -> str:
        """What SQLite finds wrong with the file, or `""`."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(3)")]
        except sqlite3.DatabaseError as error:
            return str(error)
        return "" if found == ["ok"] else "; ".join(found)

    def restore(self, mail: Mail, message: Message) -> None:
        """Keep a mail that was saved from another outbox, under its number. One that was being sent may have arrived."""
        state = State.UNKNOWN if mail.state is State.SENDING else mail.state
        values = (
            *(mail.id, mail.account, mail.sender, json.dumps(mail.recipients), mail.subject, mail.message_id, message.size, message.is_ascii, state),
            *(mail.attempts, mail.next_attempt, mail.queued_at, mail.last_reply, mail.last_code, mail.unknowns, mail.holds, mail.is_report),
        )
        columns = _COLUMNS.replace("size,", "size, is_ascii,")
        with self._change():
            self._db.execute(f"INSERT INTO mail ({columns}) VALUES ({', '.join('?' * len(values))})", values)
            self._db.execute("INSERT INTO content VALUES (?, ?, zeroblob(?))", (mail.id, message.header, message.body_size))
            self._write_body(mail.id, message)

    @contextmanager
    def _change(self) -> Iterator[None]:
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _mail(row: Sequence[object]) -> Mail:
    values = list(row)
    values[3] = tuple(json.loads(str(row[3])))
    values[7] = State(str(row[7]))
    values[14:] = [bool(value) for value in row[14:]]
    return Mail(*values)  # type: ignore[arg-type]  # the table is STRICT


def _connected(path: str) -> sqlite3.Connection:
    """A connection to the outbox, which is made where there is none. Several processes may be the first at once."""
    before = os.umask(0o077)
    try:
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    finally:
        os.umask(before)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with _alone(path):
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    db.executescript(_SCHEMA)
                    db.execute("PRAGMA journal_mode = WAL").fetchone()
                    db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("PRAGMA journal_size_limit = 1048576").fetchone()
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keep other processes waiting: changing the journal's mode is the one thing that SQLite does not wait for."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(os.path.join(os.path.dirname(path), "outbox.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """SQLite's errors as what they are: a damaged file, or the disk's trouble."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(0, str(error), path) from error
    except sqlite3.DatabaseError as error:
        raise OutboxDamagedError(path) from error


def repair(directory: str) -> tuple[int, int, str]:
    """Save what can be read of a damaged outbox into a new one; how many mails were saved and lost, and where the damaged file is now.

    Raises OSError.
    """
    path = file_in(directory)
    aside = f"{path}.damaged-{int(time.time())}"
    with _alone(path):
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.replace(path + suffix, aside + suffix)
    saved, lost = 0, 0
    with Outbox(directory) as outbox:
        for mail, message in _readable(aside):
            if mail is None or message is None:
                lost += 1
                continue
            outbox.restore(mail, message)
            saved += 1
    return saved, lost, aside


def _readable(path: str) -> Iterator[tuple[Mail | None, Message | None]]:
    """The mails of a damaged outbox, each read on its own; None for one that is lost."""
    with closing(sqlite3.connect(path)) as db:
        for number in _numbers(db):
            try:
                row = db.execute(f"SELECT {_COLUMNS}, is_ascii FROM mail WHERE id = ?", (number,)).fetchone()
                content = db.execute("SELECT header, body FROM content WHERE id = ?", (number,)).fetchone()
                mail, body = _mail(row[:-1]), bytes(content[1])
                message = Message(bytes(content[0]), lambda body=body: iter((body,)), len(body), bool(row[-1]))  # type: ignore[misc]  # mypy infers no lambda with a default
                yield mail, message
            except (sqlite3.DatabaseError, TypeError, ValueError):
                yield None, None


def _numbers(db: sqlite3.Connection) -> list[int]:
    """The numbers of the mails, by the table or by one of its indexes, whichever can be read."""
    found: set[int] = set()
    for query in ("SELECT id FROM mail NOT INDEXED", "SELECT id FROM mail INDEXED BY mail_due WHERE account >= ''", "SELECT id FROM content"):
        with suppress(sqlite3.DatabaseError):
            found.update(int(row[0]) for row in db.execute(query))
    return sorted(found)

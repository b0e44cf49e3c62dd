"""Mail that waits: accepted from the user and not yet accepted by a server. In SQLite, so that many processes may add and send at once."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from smtpsetup import leases
from smtpsetup.message import Message
from smtpsetup.outbox.database import REPAIRED, OutboxDamagedError, connected, explained, file_in, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smtpsetup.message import Envelope

_CHUNK = 262_144  # bytes


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
    config: str


COLUMNS = (
    "id, account, sender, recipients, subject, message_id, size, state, attempts, next_attempt, queued_at, last_reply, last_code, unknowns, holds,"
    " is_report, config"
)


_DUE = "state IN ('waiting', 'unknown') AND next_attempt <= ?"
_FURTHEST_SECONDS = 3 * 86_400.0  # nothing is planned further ahead, unless by a clock that was wrong


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to put into the outbox. `next_attempt` None means that it waits for a person.

    `config` is the file that has its account, `""` for the usual one.
    """

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
    config: str = ""


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
        self._depth = 0
        self._use = lock(self.path, is_shared=True)
        try:
            _refuse_half_repaired(self.path)
            with explained(self.path):
                self._db = connected(self.path)
                self._db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        except BaseException:
            os.close(self._use)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._db.close()
        os.close(self._use)

    def add(self, mail: NewMail, *, once: bool = False) -> int:
        """Keep a mail; its number. With `once` the same mail to the same recipients is kept once, however often it is added."""
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
            *(int(mail.state is State.UNKNOWN), mail.holds, mail.is_report, mail.config),
        )
        columns = "account, sender, recipients, subject, message_id, size, is_ascii, state, attempts, next_attempt, queued_at, last_reply, last_code"
        with self._change():
            there = self._db.execute(
                "SELECT id FROM mail WHERE message_id = ? AND account = ? AND recipients = ?", (mail.message_id, mail.account, values[2])
            ).fetchone()
            if once and there:
                return int(there[0])
            marks = ", ".join("?" * len(values))
            added = self._db.execute(f"INSERT INTO mail ({columns}, unknowns, holds, is_report, config) VALUES ({marks})", values)
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
        with explained(self.path):
            where, values = ("WHERE state = ?", (str(state),)) if state else ("", ())
            return [_mail(row) for row in self._db.execute(f"SELECT {COLUMNS} FROM mail {where} ORDER BY id", values)]

    def mail(self, number: int) -> Mail | None:
        """The mail of that number."""
        with explained(self.path):
            row = self._db.execute(f"SELECT {COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone()
            return _mail(row) if row else None

    def message(self, number: int) -> Message:
        """The message of a mail, its body read when it is asked for. Raises OutboxDamagedError where its content is gone."""
        with explained(self.path):
            row = self._db.execute(
                "SELECT content.header, length(content.body), mail.is_ascii FROM content JOIN mail USING (id) WHERE id = ?", (number,)
            ).fetchone()
        if row is None:
            raise OutboxDamagedError(self.path)

        def body() -> Iterator[bytes]:
            with explained(self.path), self._db.blobopen("content", "body", number, readonly=True) as blob:
                while chunk := blob.read(_CHUNK):
                    yield chunk

        return Message(bytes(row[0]), body, int(row[1]), bool(row[2]))

    def accounts_due(self, now: float) -> list[tuple[str, str]]:
        """The accounts that have a mail to send by now, each with the configuration that has it."""
        with explained(self.path):
            rows = self._db.execute(f"SELECT DISTINCT account, config FROM mail WHERE {_DUE} ORDER BY account, config", (now,))
            return [(str(row[0]), str(row[1])) for row in rows]

    def take(self, account: str, config: str, lease: str, now: float, limit: int) -> list[Mail]:
        """Mails of an account that are due, for the holder of the lease alone."""
        with self._change():
            numbers = [
                row[0]
                for row in self._db.execute(
                    f"SELECT id FROM mail WHERE account = ? AND config = ? AND {_DUE} ORDER BY next_attempt, id LIMIT ?",
                    (account, config, now, limit),
                )
            ]
            self._db.executemany("UPDATE mail SET lease = ?, state = 'sending', dotted = 0 WHERE id = ?", [(lease, number) for number in numbers])
            taken = (self._db.execute(f"SELECT {COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone() for number in numbers)
            return [_mail(row) for row in taken]

    def mark_dotted(self, number: int, *, is_dotted: bool = True) -> None:
        """Note that the server can have a mail from now on, or that it has said that it has not."""
        with self._change():
            self._db.execute("UPDATE mail SET dotted = ? WHERE id = ?", (is_dotted, number))

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

    def put_off(  # noqa: PLR0913  what the outbox notes of an attempt
        self, account: str, config: str, delay: Callable[[int], float], *, now: float, reply: str, code: str
    ) -> None:
        """Let all of an account's due mails wait, after what stopped them all; `delay` gives the seconds after so many attempts."""
        with self._change():
            rows = self._db.execute(f"SELECT id, attempts FROM mail WHERE account = ? AND config = ? AND {_DUE}", (account, config, now)).fetchall()
            self._db.executemany(
                "UPDATE mail SET attempts = attempts + 1, next_attempt = ?, last_reply = ?, last_code = ? WHERE id = ?",
                [(now + delay(attempts + 1), reply, code, number) for number, attempts in rows],
            )

    def narrow(self, number: int, recipients: Sequence[str]) -> None:
        """Keep a mail for these recipients only: the others have it."""
        with self._change():
            self._db.execute("UPDATE mail SET recipients = ? WHERE id = ?", (json.dumps(list(recipients)), number))

    def revive(self, now: float) -> int:
        """Take back what dead processes had taken; how many mails. One that the server may have got already becomes UNKNOWN.

        What a clock that was ahead has put off for years is due now.
        """
        with self._change():
            self._db.execute("UPDATE mail SET next_attempt = ? WHERE next_attempt > ?", (now, now + _FURTHEST_SECONDS))
        with explained(self.path):
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
        with explained(self.path):
            self._db.executescript("PRAGMA incremental_vacuum")  # a plain execute would free one page
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def compact(self) -> None:
        """Bring everything into the one file, without a journal beside it."""
        with explained(self.path):
            self._db.execute("PRAGMA journal_mode = DELETE").fetchone()

    def fault(self) -> str:
        """What SQLite finds wrong with the file, or `""`."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(3)")]
            mails = [mail_in(row) for row in self._db.execute(f"SELECT {COLUMNS} FROM mail")]
            without = self._db.execute("SELECT count(*) FROM mail LEFT JOIN content USING (id) WHERE content.id IS NULL").fetchone()[0]
        except (sqlite3.DatabaseError, ValueError) as error:
            return str(error)
        if without:
            return f"{without} of {len(mails)} mails have no content"
        return "" if found == ["ok"] else "; ".join(found)

    def restore(self, mail: Mail, message: Message) -> None:
        """Keep a mail that was saved from another outbox, under its number. One that was being sent may have arrived."""
        state = State.UNKNOWN if mail.state is State.SENDING else mail.state
        values = (
            *(mail.id, mail.account, mail.sender, json.dumps(mail.recipients), mail.subject, mail.message_id, message.size, message.is_ascii, state),
            *(mail.attempts, mail.next_attempt, mail.queued_at, mail.last_reply, mail.last_code, mail.unknowns, mail.holds, mail.is_report),
            mail.config,
        )
        columns = COLUMNS.replace("size,", "size, is_ascii,")
        with self._change():
            self._db.execute(f"INSERT INTO mail ({columns}) VALUES ({', '.join('?' * len(values))})", values)
            self._db.execute("INSERT INTO content VALUES (?, ?, zeroblob(?))", (mail.id, message.header, message.body_size))
            self._write_body(mail.id, message)

    def together(self) -> AbstractContextManager[None]:
        """Make all changes of a block one transaction."""
        return self._change()

    @contextmanager
    def _change(self) -> Iterator[None]:
        if self._depth:
            yield
            return
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
            self._db.execute("COMMIT")


def _refuse_half_repaired(path: str) -> None:
    if os.path.exists(path + REPAIRED):  # a repair was killed before its end
        raise OutboxDamagedError(path)


_KINDS: dict[int, type | tuple[type, ...]] = {
    0: int,
    6: int,
    8: int,
    9: (int, float, type(None)),
    10: (int, float),
    13: int,
}  # numbers of COLUMNS, by their place


def mail_in(row: Sequence[object]) -> Mail:
    """A row of COLUMNS as a Mail. Raises ValueError for one that makes no sense."""
    values = list(row)
    recipients = json.loads(str(row[3]))
    if not isinstance(recipients, list) or not all(isinstance(recipient, str) for recipient in recipients):
        raise ValueError(row[3])
    if not all(isinstance(row[place], kind) for place, kind in _KINDS.items()):
        raise ValueError(row)
    values[3] = tuple(recipients)
    values[7] = State(str(row[7]))
    values[14:16] = [bool(value) for value in row[14:16]]
    return Mail(*values)  # type: ignore[arg-type]  # the table is STRICT


def _mail(row: Sequence[object]) -> Mail:
    """A row of COLUMNS as a Mail; one that makes no sense is shown as failed and to nobody, so that it is in no other mail's way."""
    try:
        return mail_in(row)
    except ValueError:
        texts = [str(row[place]) for place in (1, 2, 4, 5)]
        return mail_in([row[0], *texts[:2], "[]", *texts[2:], 0, State.FAILED, 0, None, 0.0, "unreadable", "", 0, 0, 0, ""])

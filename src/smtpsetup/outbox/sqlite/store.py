"""Mail that waits to be sent, in SQLite, so that several processes can add and send at the same time."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import ngettext
from smtpsetup.message.message import Message
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail import as_text
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.database import (
    VERSION,
    content_checksum,
    explained,
    highest_number,
)
from smtpsetup.outbox.sqlite.due import DueMails
from smtpsetup.outbox.sqlite.file_header import header_fault
from smtpsetup.outbox.sqlite.rows import COLUMNS, STORED, shown_mail
from smtpsetup.outbox.summary import Summary, Waiting
from smtpsetup.state import leases, usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.outbox.disposition import Disposition
    from smtpsetup.outbox.mail import Mail, NewMail

_A_MINUTE = 60.0  # seconds
_CHUNK = 262_144  # bytes
_FURTHEST_SECONDS = 3 * 86_400.0  # a later attempt was planned with a wrong clock
_DAMAGED = "outbox.damaged"


class SqliteOutbox(DueMails):
    """The outbox of one user, open.

    Every method may raise OutboxDamagedError or OSError; each change is one transaction.
    """

    def add(self, mail: NewMail, *, once: bool = False) -> int:
        """Add a mail. Returns its number.

        With `once`, a mail with the same Message-ID, account and recipients is not added again: its number is returned.
        """
        message, now, recipients = mail.message, time.time(), json.dumps(mail.envelope.recipients)
        values = {
            "account": mail.account,
            "sender": mail.envelope.sender,
            "recipients": recipients,
            "subject": as_text(mail.subject),
            "message_id": mail.message_id,
            "state": mail.state,
            "attempts": mail.attempts,
            "next_attempt": now if mail.next_attempt == 0.0 else mail.next_attempt,
            "queued_at": mail.queued_at or now,
            "last_reply": mail.last_reply,
            "last_code": mail.last_code,
            "unknowns": int(mail.state is MailState.UNKNOWN),
            "holds": mail.holds,
            "is_report": mail.is_report,
            "config": mail.config,
            "lease": mail.lease,
            "client": mail.client,
        }
        with self.transaction():
            if once:
                there = self._db.execute(
                    "SELECT id FROM mail WHERE message_id = ? AND account = ? AND recipients = ?",
                    (mail.message_id, mail.account, recipients),
                ).fetchone()
                if there:
                    return int(there[0])
            return self._insert_new(values, message)

    def _insert_new(self, values: dict[str, object], message: Message) -> int:
        """Insert a mail whose number must be noted once it is on the disk. Returns the number."""
        number = self._insert(values, message)
        self._added = max(self._added, number)
        return number

    def _insert(self, values: dict[str, object], message: Message) -> int:
        values = {**values, "size": message.size, "is_ascii": message.is_ascii}
        marks = ", ".join(f":{name}" for name in values)
        number = int(
            self._db.execute(f"INSERT INTO mail ({', '.join(values)}) VALUES ({marks})", values).lastrowid or 0
        )
        self._db.execute("INSERT INTO content VALUES (?, ?, zeroblob(?))", (number, message.header, message.body_size))
        checksum = content_checksum(message.header, self._written(number, message))
        self._db.execute("UPDATE mail SET content_checksum = ? WHERE id = ?", (checksum, number))
        return number

    def _written(self, number: int, message: Message) -> Iterator[bytes]:
        """Write the body, and yield each piece that was written."""
        if not message.body_size:
            return
        with self._db.blobopen("content", "body", number) as blob:
            for chunk in message.body():
                blob.write(chunk)
                yield chunk
            if blob.tell() != message.body_size:
                raise OSError(0, "it changed while it was read", self.path)

    def mails(self, state: MailState | None = None) -> list[Mail]:
        """Every mail, or those in one state, oldest first."""
        with explained(self.path):
            where, values = ("WHERE state = ?", (str(state),)) if state else ("", ())
            return [
                shown_mail(row) for row in self._db.execute(f"SELECT {COLUMNS} FROM mail {where} ORDER BY id", values)
            ]

    def mail(self, number: int) -> Mail | None:
        """The mail of that number."""
        with explained(self.path):
            row = self._db.execute(f"SELECT {COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone()
            return shown_mail(row) if row else None

    def has_waiting(self) -> bool:
        """Whether there is a mail that is tried again automatically."""
        with explained(self.path):
            return (
                self._db.execute(
                    "SELECT 1 FROM mail WHERE state IN ('waiting', 'unknown') AND next_attempt IS NOT NULL"
                ).fetchone()
                is not None
            )

    def summary(self, accounts: Iterable[str]) -> Summary:
        """What it holds. `accounts` are those whose sent mail is counted."""
        with explained(self.path):
            counts = self._db.execute(
                "SELECT state, last_code, count(*) FROM mail GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
            oldest = self._db.execute("SELECT min(queued_at) FROM mail").fetchone()[0]
            held = [str(row[0]) for row in self._db.execute("SELECT DISTINCT lease FROM mail WHERE lease IS NOT NULL")]
        since = time.time() - _A_MINUTE
        sent = sum(at >= since for name in accounts for at in usage.times_of_last_day(self.directory, name))
        workers = sum(leases.is_alive(self.directory, name) for name in held)
        return Summary(tuple(Waiting(*row) for row in counts), oldest, sent, workers)

    def count_waiting(self, account: str) -> int:
        """The number of an account's mails that wait."""
        with explained(self.path):
            return int(
                self._db.execute(
                    "SELECT count(*) FROM mail WHERE account = ? AND state = 'waiting'", (account,)
                ).fetchone()[0]
            )

    def waiting_since(self, account: str, config: str, before: float) -> list[Mail]:
        """The waiting mails of an account that were put there before that time."""
        return [
            mail
            for mail in self.mails(MailState.WAITING)
            if (mail.account, mail.config) == (account, config) and mail.queued_at < before
        ]

    def record_sent(self, account: str, recipients: int) -> None:
        """Count a message that was sent to that many recipients."""
        usage.record(self.directory, account, recipients)

    def sent_last_day(self, account: str) -> tuple[int, int]:
        """How many messages and recipients an account had in the last 24 hours."""
        return usage.last_day(self.directory, account)

    def message(self, number: int, *, is_checked: bool = True) -> Message:
        """The message of a mail; its body is read on demand.

        Raises OutboxDamagedError where the content is missing or, with `is_checked`, does not match its checksum.
        """
        with explained(self.path):
            row = self._db.execute(
                "SELECT content.header, length(content.body), mail.is_ascii, mail.content_checksum FROM content JOIN "
                "mail USING (id) WHERE id = ?",
                (number,),
            ).fetchone()
        if row is None:
            raise OutboxDamagedError(self.path)

        def body() -> Iterator[bytes]:
            with explained(self.path), self._db.blobopen("content", "body", number, readonly=True) as blob:
                while chunk := blob.read(_CHUNK):
                    yield chunk

        if is_checked and content_checksum(bytes(row[0]), body()) != row[3]:
            raise OutboxDamagedError(self.path)
        return Message(bytes(row[0]), body, int(row[1]), bool(row[2]))

    def mark_possibly_delivered(self, number: int, *, is_possible: bool = True) -> None:
        """Note that the server may have a mail from now on or, without `is_possible`, that it has refused it."""

        def mark() -> None:
            with self.transaction():
                self._db.execute("UPDATE mail SET dotted = ? WHERE id = ?", (is_possible, number))

        self._with_reserve(mark)

    def remove(self, number: int) -> None:
        """Remove a mail that was sent."""

        def forget() -> None:
            with self.transaction():
                self._db.execute("DELETE FROM content WHERE id = ?", (number,))
                self._db.execute("DELETE FROM mail WHERE id = ?", (number,))

        self._with_reserve(forget)

    def drop(self, number: int) -> bool:
        """Remove a mail unless it is being sent. Returns whether it was removed."""
        with self.transaction():
            is_free = self._db.execute("DELETE FROM mail WHERE id = ? AND lease IS NULL", (number,)).rowcount == 1
            self._db.execute("DELETE FROM content WHERE id = ? AND ?", (number, is_free))
            return is_free

    def retry(self, number: int, now: float) -> None:
        """Make a mail due now, as if it were new, unless it is being sent."""
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET state = 'waiting', next_attempt = ?, unknowns = 0, attempts = 0, put_offs = 0 WHERE "
                "id = ? AND lease IS NULL",
                (now, number),
            )

    def settle(self, number: int, dispositions: Sequence[Disposition]) -> list[int]:
        """Replace a mail that was tried by what is left of it, a mail for each disposition. Returns their numbers.

        The first one keeps the number. Where nothing is left, the mail is removed.
        """
        with self.transaction():
            if not dispositions:
                self.remove(number)
                return []
            numbers = [number, *(self._copied(number) for _other in dispositions[1:])]
            for kept, disposition in zip(numbers, dispositions, strict=True):
                self.put_back(kept, disposition)
            return numbers

    def _copied(self, number: int) -> int:
        mail = self.mail(number)
        if mail is None:
            raise OutboxDamagedError(self.path)
        values = _values_of(mail)
        del values["id"]
        return self._insert_new(values, self.message(number))

    def put_back(self, number: int, disposition: Disposition) -> None:
        """Record a failed attempt: the mail gets its new state, and the recipients who have not got it."""
        state, reply, code = disposition.state, disposition.error.reply_or_message, disposition.error.code
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET lease = NULL, dotted = 0, recipients = ?, state = ?, next_attempt = ?,"
                " attempts = attempts + 1, unknowns = unknowns + ?,"
                " last_reply = iif(? = '', last_reply, ?), last_code = ? WHERE id = ?",
                (
                    json.dumps(disposition.recipients),
                    state,
                    disposition.next_attempt,
                    state is MailState.UNKNOWN,
                    reply,
                    reply,
                    code,
                    number,
                ),
            )

    def postpone(self, number: int, error: SmtpsetupError, until: float) -> MailState | None:
        """Let a mail wait that was being sent when its run broke; UNKNOWN if the server may have it.

        `until` is in seconds since 1970. Returns the state, None where the mail has been sent.
        """
        with self.transaction():
            row = self._db.execute(
                "UPDATE mail SET state = iif(dotted, 'unknown', 'waiting'), unknowns = unknowns + dotted,"
                " next_attempt = iif(dotted AND (holds OR unknowns > 0), NULL, ?), attempts = attempts + 1,"
                " last_reply = ?, last_code = ?, lease = NULL, dotted = 0 WHERE id = ? RETURNING state",
                (until, error.message, error.code, number),
            ).fetchone()
        return MailState(row[0]) if row else None

    def give_back(self, number: int) -> None:
        """Let a mail wait again that was taken and not tried. If the server may have it, it becomes UNKNOWN."""
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET lease = NULL, state = iif(dotted, 'unknown', 'waiting'), unknowns = unknowns + dotted,"
                " next_attempt = iif(dotted AND (holds OR unknowns > 0), NULL, next_attempt), dotted = 0 WHERE id = ?",
                (number,),
            )

    def set_aside(self, number: int, reply: str) -> None:
        """Mark a damaged mail as failed, so that only a person sends it."""
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET lease = NULL, dotted = 0, state = 'failed', next_attempt = NULL, last_reply = ?, "
                "last_code = ? WHERE id = ?",
                (reply, _DAMAGED, number),
            )

    def keep_for(self, number: int, recipients: Sequence[str]) -> None:
        """Keep a mail for these recipients only: the server has accepted it for all others."""

        def keep() -> None:
            with self.transaction():
                self._db.execute(
                    "UPDATE mail SET recipients = ?, dotted = 0 WHERE id = ?", (json.dumps(list(recipients)), number)
                )

        self._with_reserve(keep)

    def revive(self, now: float) -> int:
        """Take back the mails of processes that have ended. Returns how many there were.

        One that the server may have becomes UNKNOWN. What was queued in the future or planned days ahead, with a wrong
        clock, is due now.
        """
        with self.transaction():
            self._db.execute("UPDATE mail SET next_attempt = ? WHERE next_attempt > ?", (now, now + _FURTHEST_SECONDS))
            self._db.execute(
                "UPDATE mail SET queued_at = ?, next_attempt = ? WHERE next_attempt > ? AND queued_at > ?",
                (now, now, now + _A_MINUTE, now + _A_MINUTE),
            )
        with explained(self.path):
            held = [str(row[0]) for row in self._db.execute("SELECT DISTINCT lease FROM mail WHERE lease IS NOT NULL")]
        dead = [name for name in held if not leases.is_alive(self.directory, name)]
        revived = 0
        for name in dead:
            with self.transaction():
                revived += self._db.execute(
                    "UPDATE mail SET state = iif(dotted, 'unknown', 'waiting'), unknowns = unknowns + dotted, lease = "
                    "NULL,"
                    " next_attempt = iif(dotted AND (holds OR unknowns > 0), NULL, ?), dotted = 0 WHERE lease = ?",
                    (now, name),
                ).rowcount
        return revived

    def fault(self) -> str:
        """What is damaged: the file, by SQLite's checks, or mails, by their checksums; `""` where nothing is."""
        try:
            with self.transaction():  # some damage of the header shows only in writing
                found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(3)")]
                damaged = self.damaged()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            header = header_fault(self.path, VERSION)
        except (sqlite3.DatabaseError, ValueError, OutboxDamagedError) as error:
            return str(error)
        if found != ["ok"]:
            return "; ".join(found)
        text = ngettext("{n} mail is damaged", "{n} mails are damaged", len(damaged)).format(n=len(damaged))
        return f"{text}: {', '.join(map(str, damaged[:10]))}" if damaged else header

    def damaged(self) -> list[int]:
        """The numbers of the mails that do not match their checksums."""
        with explained(self.path):
            rows = self._db.execute(f"SELECT {COLUMNS} FROM mail ORDER BY id").fetchall()
        return [int(row[0]) for row in rows if not self.is_sound(shown_mail(row))]

    def is_sound(self, mail: Mail) -> bool:
        """Whether a mail and its content match their checksums."""
        try:
            self.message(mail.id)
        except OutboxDamagedError:
            return False
        return mail.is_sound

    def restore(self, mail: Mail, message: Message) -> None:
        """Add a mail from another outbox under its number. One that was being sent becomes UNKNOWN."""
        if mail.state is MailState.SENDING:
            next_attempt = None if mail.is_held else mail.next_attempt
            mail = mail._replace(state=MailState.UNKNOWN, unknowns=mail.unknowns + 1, next_attempt=next_attempt)
        with self.transaction():
            self._insert(_values_of(mail), message)

    def count_on_from(self, number: int) -> None:
        """Give the next mail a higher number than this one."""
        with self.transaction():
            if highest_number(self._db) < number:
                self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'mail'")
                self._db.execute("INSERT INTO sqlite_sequence VALUES ('mail', ?)", (number,))


def _values_of(mail: Mail) -> dict[str, object]:
    """A mail's values in the table, by column."""
    return {name: getattr(mail, name) for name in STORED} | {"recipients": json.dumps(mail.recipients)}

"""Mail that waits to be sent, in PostgreSQL, so that several machines can add and send at the same time.

What a worker has taken belongs to its session: it ends with the connection, and so does everything that the worker
may still write about these mails. `mark_possibly_delivered` proves it, over the same session, before each final dot.
"""

from __future__ import annotations

import hashlib
import time
from binascii import crc32
from typing import TYPE_CHECKING, Any

from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail import as_text
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.postgresql import content
from smtpsetup.outbox.postgresql.account_use import AccountUse
from smtpsetup.outbox.postgresql.due import READ_AHEAD_BYTES, REVIVED
from smtpsetup.outbox.postgresql.rows import STORED, columns, read_mail
from smtpsetup.outbox.postgresql.session import CHANNEL, DURABLY, HELD_LEASES, WORKER
from smtpsetup.outbox.summary import Held, SentMail, Summary, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.message.message import Message
    from smtpsetup.outbox.disposition import Disposition
    from smtpsetup.outbox.mail import Mail, NewMail

_DAMAGED = "outbox.damaged"
_USAGE_DAYS, _BATCH_DAYS, _TOKEN_DAYS = 2, 60, 400
# this machine put it there without hearing so: it has the same moment, and was not handed on
_IS_KNOWN = """
SELECT EXISTS (
    SELECT FROM smtpsetup.mail WHERE md5(message_id) = md5(%s) AND account = %s AND queued_at = %s AND host = %s
        AND id NOT IN (SELECT mail FROM smtpsetup.handed_on WHERE message_id_digest = md5(%s)))
    OR EXISTS (
    SELECT FROM smtpsetup.sent WHERE md5(message_id) = md5(%s) AND account = %s AND queued_at = %s
        AND id NOT IN (SELECT mail FROM smtpsetup.handed_on WHERE message_id_digest = md5(%s)))"""
NEW_COLUMNS = (
    "account", "config", "sender", "recipients", "subject", "message_id", "size", "header_size", "is_ascii",
    "content_checksum", "state", "attempts", "unknowns", "next_attempt", "queued_at", "last_reply", "last_code",
    "lease", "holds", "is_report", "client", "host",
)  # fmt: skip
"""The columns of a new mail, in the order of `new_values`."""
_INSERT = (
    f"INSERT INTO smtpsetup.mail ({', '.join(NEW_COLUMNS)}) VALUES ({', '.join('%s' for _ in NEW_COLUMNS)}) "
    "RETURNING id"
)
# a small mail, its text and the message to the workers in one round trip
_INSERT_SMALL = f"""
WITH new AS ({_INSERT}), text AS (INSERT INTO smtpsetup.content SELECT id, 0, %s FROM new)
SELECT id, CASE WHEN %s THEN pg_notify('{CHANNEL}', %s) END FROM new"""
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"
# one statement; it also finds a mail that others have taken back meanwhile, as one that may have arrived
_REMOVE = """
WITH gone AS (
    DELETE FROM smtpsetup.mail WHERE id = %s AND (lease = %s OR (lease IS NULL AND state = 'unknown'))
    RETURNING id, account, recipients, subject, message_id, queued_at
)
INSERT INTO smtpsetup.sent SELECT * FROM gone"""
_COPIED = ", ".join(
    name for name in (*STORED, "header_size", "is_ascii", "content_checksum", "host", "lease") if name != "id"
)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class PostgresqlOutbox(AccountUse):
    """The outbox of several machines, open."""

    def add(self, mail: NewMail, *, once: bool = False) -> int:
        """Add a mail. Returns its number. `once` is that of every outbox."""
        if once and (there := self._same(mail)):
            return there
        is_due = mail.state is MailState.WAITING
        if mail.message.size <= READ_AHEAD_BYTES:
            text = b"".join(content.parts(mail.message))
            values = self.new_values(mail, crc32(text))
            return int(self._db.one(_INSERT_SMALL, (*values, text, is_due, as_text(mail.account)))[0])
        with self.transaction():
            number = int(self._db.one(_INSERT, self.new_values(mail, 0))[0])
            checksum = content.add_parts(self._db, number, mail.message)
            self._db.run("UPDATE smtpsetup.mail SET content_checksum = %s WHERE id = %s", (checksum, number))
            if is_due:
                self._db.one(_NOTIFY, (as_text(mail.account),))
        return number

    def adopt(self, mail: Mail, message: Message, origin: str) -> None:
        """Take over a mail from the outbox of this machine, once: `origin` is what no other mail there has.

        One that this machine put here itself, without having heard that it was, is known by its moment and Message-ID.
        """
        with self.transaction():
            message_id, account = as_text(mail.message_id), as_text(mail.account)
            if self._db.rows("SELECT FROM smtpsetup.handed_on WHERE origin = %s", (_digest(origin),)):
                return
            known = (message_id, account, mail.queued_at)
            if self._db.one(_IS_KNOWN, (*known, as_text(self.host), message_id, *known, message_id))[0]:
                return
            number = int(self._db.one(_INSERT, self._adopted(mail, message))[0])
            checksum = content.add_parts(self._db, number, message)
            self._db.run("UPDATE smtpsetup.mail SET content_checksum = %s WHERE id = %s", (checksum, number))
            self._db.run(
                "INSERT INTO smtpsetup.handed_on (origin, mail, message_id_digest) VALUES (%s, %s, md5(%s))",
                (_digest(origin), number, message_id),
            )
            self._db.one(_NOTIFY, (account,))

    def _adopted(self, mail: Mail, message: Message) -> tuple[Any, ...]:
        return (
            as_text(mail.account), as_text(mail.config), as_text(mail.sender),
            [as_text(one) for one in mail.recipients], as_text(mail.subject), as_text(mail.message_id), message.size,
            len(message.header), message.is_ascii, 0, str(mail.state), mail.attempts, mail.unknowns,
            self.theirs(mail.next_attempt), mail.queued_at, as_text(mail.last_reply), mail.last_code, None, mail.holds,
            mail.is_report, as_text(mail.client), as_text(self.host),
        )  # fmt: skip

    def _same(self, mail: NewMail) -> int:
        """The number of the same mail, 0 where there is none."""
        values = (as_text(mail.message_id), as_text(mail.account), list(mail.envelope.recipients))
        rows = self._db.rows(
            "SELECT id FROM smtpsetup.mail WHERE md5(message_id) = md5(%s) AND account = %s AND recipients = %s UNION "
            "ALL SELECT id FROM smtpsetup.sent WHERE md5(message_id) = md5(%s) AND account = %s AND recipients = %s",
            values * 2,
        )
        return int(rows[0][0]) if rows else 0

    def new_values(self, mail: NewMail, checksum: int) -> tuple[Any, ...]:
        """The values of NEW_COLUMNS."""
        now, message = time.time(), mail.message
        next_attempt = now if mail.next_attempt == 0.0 else mail.next_attempt
        return (
            as_text(mail.account), as_text(mail.config), as_text(mail.envelope.sender),
            [as_text(one) for one in mail.envelope.recipients], as_text(mail.subject), as_text(mail.message_id),
            message.size, len(message.header), message.is_ascii, checksum, str(mail.state), mail.attempts,
            int(mail.state is MailState.UNKNOWN), self.theirs(next_attempt), mail.queued_at or now,
            as_text(mail.last_reply), mail.last_code, int(mail.lease) if mail.lease else None, mail.holds,
            mail.is_report, as_text(mail.client), as_text(self.host),
        )  # fmt: skip

    def mails(self, state: MailState | None = None) -> list[Mail]:
        """Every mail, or those in one state, oldest first."""
        where, values = ("WHERE state = %s", (str(state),)) if state else ("", ())
        return [
            self.ours(read_mail(row))
            for row in self._db.rows(f"SELECT {columns()} FROM smtpsetup.mail {where} ORDER BY id", values)
        ]

    def mail(self, number: int) -> Mail | None:
        """The mail of that number."""
        rows = self._db.rows(f"SELECT {columns()} FROM smtpsetup.mail WHERE id = %s", (number,))
        return self.ours(read_mail(rows[0])) if rows else None

    def message(self, number: int, *, is_checked: bool = True) -> Message:
        """The message of a mail; its body is read on demand. Raises OutboxDamagedError."""
        ahead = self._read_ahead.pop(number, None)
        text = content.Text(self._db, number, *ahead) if ahead else self._text(number)
        if is_checked:
            text.check()
        return text.message()

    def _text(self, number: int) -> content.Text:
        rows = self._db.rows(
            "SELECT size, header_size, is_ascii, content_checksum FROM smtpsetup.mail WHERE id = %s", (number,)
        )
        if not rows:
            raise OutboxDamagedError(self._db.shown)
        return content.Text(self._db, number, content.Facts(*rows[0]))

    def is_sound(self, mail: Mail) -> bool:
        """Whether the text of a mail matches its checksum."""
        try:
            self.message(mail.id)
        except OutboxDamagedError:
            return False
        return mail.is_sound

    def has_waiting(self) -> bool:
        """Whether there is a mail that is tried again automatically."""
        return bool(
            self._db.one(
                "SELECT EXISTS (SELECT FROM smtpsetup.mail WHERE state IN ('waiting', 'unknown') AND next_attempt IS "
                "NOT NULL)"
            )[0]
        )

    def summary(self, accounts: Iterable[str]) -> Summary:  # noqa: ARG002  here the database counts
        """What it holds."""
        counts = self._db.rows("SELECT state, last_code, count(*) FROM smtpsetup.mail GROUP BY 1, 2 ORDER BY 1, 2")
        oldest = self._db.one("SELECT min(queued_at) FROM smtpsetup.mail")[0]
        sent = self._db.one("SELECT count(*) FROM smtpsetup.sent WHERE sent_at > now() - interval '1 minute'")[0]
        sending, listening = self._db.one(
            f"SELECT (SELECT count(DISTINCT (host, pid)) FROM smtpsetup.worker WHERE lease IN ({HELD_LEASES})), "
            "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s)",
            (WORKER,),
        )
        workers = max(sending, listening)  # a flush sends and does not listen
        troubles = self._db.rows(
            "SELECT host, account, code, reply, until FROM smtpsetup.trouble WHERE until > %s ORDER BY host, account",
            (self.theirs(time.time()),),
        )
        return Summary(
            tuple(Waiting(*row) for row in counts),
            oldest,
            int(sent),
            int(workers),
            tuple(Held(row[0].rpartition(" ")[0], *row[1:]) for row in troubles),
        )

    def sent_mails(self, most: int) -> list[SentMail]:
        """The mails that were sent last, the newest first."""
        rows = self._db.rows(
            "SELECT id, account, recipients, subject, message_id, queued_at, extract(epoch FROM sent_at)::double "
            "precision FROM smtpsetup.sent ORDER BY sent_at DESC LIMIT %s",
            (most,),
        )
        return [SentMail(*row)._replace(recipients=tuple(row[2])) for row in rows]

    def forget_sent(self) -> None:
        """Delete what is older than the settings and the limits of providers need."""
        keep = max(1.0, self.settings.keep_sent)  # a mail that comes back from a machine is known for a day at least
        for statement, days in (
            ("DELETE FROM smtpsetup.sent WHERE sent_at < now() - make_interval(secs => %s * 86400)", keep),
            ("DELETE FROM smtpsetup.usage WHERE at < now() - make_interval(secs => %s * 86400)", _USAGE_DAYS),
            ("DELETE FROM smtpsetup.handed_on WHERE at < now() - make_interval(secs => %s * 86400)", _BATCH_DAYS),
            ("DELETE FROM smtpsetup.token WHERE at < now() - make_interval(secs => %s * 86400)", _TOKEN_DAYS),
            ("DELETE FROM smtpsetup.batch WHERE at < now() - make_interval(secs => %s * 86400)", _BATCH_DAYS),
        ):
            self._db.run(statement, (days,))

    def count_waiting(self, account: str) -> int:
        """The number of an account's mails that wait."""
        return int(
            self._db.one(
                "SELECT count(*) FROM smtpsetup.mail WHERE account = %s AND state = 'waiting' AND state IN ('waiting', "
                "'unknown')",
                (account,),
            )[0]
        )

    def waiting_since(self, account: str, config: str, before: float) -> list[Mail]:
        """The waiting mails of an account that were put there before that time."""
        return [
            self.ours(read_mail(row))
            for row in self._db.rows(
                f"SELECT {columns()} FROM smtpsetup.mail WHERE account = %s AND config = %s AND state = 'waiting' AND "
                "queued_at < %s ORDER BY id",
                (account, config, before),
            )
        ]

    def drop(self, number: int) -> bool:
        """Remove a mail unless it is being sent. Returns whether it was removed."""
        return self._db.run("DELETE FROM smtpsetup.mail WHERE id = %s AND lease IS NULL", (number,)) == 1

    def retry(self, number: int, now: float) -> None:
        """Make a mail due now, as if it were new, unless it is being sent."""
        self._db.run(
            "UPDATE smtpsetup.mail SET state = 'waiting', next_attempt = %s, unknowns = 0, attempts = 0, put_offs = 0 "
            "WHERE id = %s AND lease IS NULL",
            (self.theirs(now), number),
        )
        self._db.one(_NOTIFY, ("",))

    def mark_possibly_delivered(self, number: int, *, is_possible: bool = True) -> None:
        """Note, durably, that the server may have a mail from now on or, without `is_possible`, that it refused it.

        Raises SharedOutboxError where the mail does not belong to this session any more.
        """
        durably = f" FROM {DURABLY}" if is_possible else ""
        changed = self._db.run(
            f"UPDATE smtpsetup.mail SET dotted = %s{durably} WHERE id = %s AND lease = %s AND pg_backend_pid() = %s",
            (is_possible, number, self._lease, self._db.backend),
        )
        if changed != 1:
            raise self._lost()

    def remove(self, number: int) -> None:
        """Remove a mail that was sent, over a new connection where this one has broken."""
        self._read_ahead.pop(number, None)
        self.run_surely(_REMOVE, (number, self._lease))

    def keep_for(self, number: int, recipients: Sequence[str]) -> None:
        """Keep a mail for these recipients only, over a new connection where this one has broken."""
        self.run_surely(
            "UPDATE smtpsetup.mail SET recipients = %s, dotted = false WHERE id = %s AND (lease = %s OR (lease IS NULL "
            "AND state = 'unknown'))",
            (list(recipients), number, self._lease),
        )

    def settle(self, number: int, dispositions: Sequence[Disposition]) -> list[int]:
        """Replace a mail that was tried by what is left of it, a mail for each disposition. Returns their numbers."""
        with self.transaction():
            if not dispositions:
                self._db.run(_REMOVE, (number, self._lease))
                return []
            if not self._is_ours(number):
                return []
            numbers = [number, *(self._copied(number) for _other in dispositions[1:])]
            for kept, disposition in zip(numbers, dispositions, strict=True):
                self.put_back(kept, disposition)
            return numbers

    def _is_ours(self, number: int) -> bool:
        """Whether nobody else is sending a mail, until the end of the transaction."""
        return bool(
            self._db.rows(
                "SELECT id FROM smtpsetup.mail WHERE id = %s AND (lease IS NULL OR lease = %s) FOR UPDATE",
                (number, self._lease),
            )
        )

    def _copied(self, number: int) -> int:
        copy = self._db.one(
            f"INSERT INTO smtpsetup.mail ({_COPIED}) SELECT {_COPIED} FROM smtpsetup.mail WHERE id = %s RETURNING id",
            (number,),
        )[0]
        self._db.run(
            "INSERT INTO smtpsetup.content SELECT %s, part, data FROM smtpsetup.content WHERE mail = %s", (copy, number)
        )
        self._db.run(  # a part of a mail that was handed on was handed on, too
            "INSERT INTO smtpsetup.handed_on (origin, mail, message_id_digest) SELECT 'part ' || %s::text, %s, "
            "message_id_digest FROM smtpsetup.handed_on WHERE mail = %s",
            (copy, copy, number),
        )
        return int(copy)

    def put_back(self, number: int, disposition: Disposition) -> None:
        """Record a failed attempt: the mail gets its new state, and the recipients who have not got it."""
        state, reply = disposition.state, as_text(disposition.error.reply_or_message)
        self._db.run(
            "UPDATE smtpsetup.mail SET lease = NULL, dotted = false, recipients = %s, state = %s, next_attempt = %s,"
            " attempts = attempts + 1, unknowns = unknowns + %s, last_reply = CASE WHEN %s = '' THEN last_reply ELSE %s"
            " END, last_code = %s WHERE id = %s AND (lease IS NULL OR lease = %s)",
            (
                list(disposition.recipients), str(state), self.theirs(disposition.next_attempt),
                int(state is MailState.UNKNOWN), reply, reply, disposition.error.code, number, self._lease,
            ),
        )  # fmt: skip

    def postpone(self, number: int, error: SmtpsetupError, until: float) -> MailState | None:
        """Let a mail wait that was being sent when its run broke; UNKNOWN if the server may have it."""
        rows = self._db.rows(
            f"UPDATE smtpsetup.mail SET {REVIVED}, next_attempt = CASE WHEN dotted AND (holds OR unknowns > 0) THEN "
            "NULL ELSE %s END, attempts = attempts + 1, last_reply = %s, last_code = %s WHERE id = %s AND lease = %s "
            "RETURNING state",
            (self.theirs(until), as_text(error.message), error.code, number, self._lease),
        )
        if rows:
            return MailState(rows[0][0])
        mail = self.mail(number)
        return mail.state if mail else None

    def give_back(self, number: int) -> None:
        """Let a mail wait again that was taken and not tried. If the server may have it, it becomes UNKNOWN."""
        self._db.run(
            f"UPDATE smtpsetup.mail SET {REVIVED}, next_attempt = CASE WHEN dotted AND (holds OR unknowns > 0) THEN "
            "NULL ELSE next_attempt END WHERE id = %s AND lease = %s",
            (number, self._lease),
        )

    def set_aside(self, number: int, reply: str) -> None:
        """Mark a damaged mail as failed, so that only a person sends it."""
        self._db.run(
            "UPDATE smtpsetup.mail SET lease = NULL, dotted = false, state = 'failed', next_attempt = NULL, last_reply "
            "= %s, last_code = %s WHERE id = %s AND (lease IS NULL OR lease = %s)",
            (as_text(reply), _DAMAGED, number, self._lease),
        )

"""Which mail of a shared outbox is due, and when the rest will be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from smtpsetup.outbox.mail import as_text
from smtpsetup.outbox.postgresql.content import Facts
from smtpsetup.outbox.postgresql.rows import STORED, columns, read_mail
from smtpsetup.outbox.postgresql.session import HELD_LEASES, OutboxSession

if TYPE_CHECKING:
    from smtpsetup.outbox.disposition import Postponement
    from smtpsetup.outbox.mail import Mail

_TRIED = "state IN ('waiting', 'unknown')"  # as in the index mail_due
_AT_ONCE = 10_000  # rows in one change, so that others can work meanwhile
READ_AHEAD_BYTES = 65_536
"""A message up to this size is read when the mail is taken."""
# for how long a look begins where the last one ended: what has left before that is in the index until the next vacuum
_BEHIND_SECONDS = 30.0
_EVER = float("-inf")
_NEXT_ATTEMPT = STORED.index("next_attempt")
_FURTHEST_SECONDS = 3 * 86_400.0  # a later attempt was planned with a wrong clock
# before what a dead worker was sending is sent again, so that it can still say that the server took it
GRACE_SECONDS = 60.0

# the accounts one after the other, each found by one look into the index, however much mail they have
_ACCOUNTS = f"""
WITH RECURSIVE found AS (
    (SELECT account, config FROM smtpsetup.mail WHERE {_TRIED} ORDER BY account, config LIMIT 1)
    UNION ALL
    SELECT following.* FROM found, LATERAL (
        SELECT mail.account, mail.config FROM smtpsetup.mail
        WHERE {_TRIED} AND (mail.account, mail.config) > (found.account, found.config)
        ORDER BY mail.account, mail.config LIMIT 1) AS following
)
SELECT account, config FROM found"""
_NEXT_OF = f"""
SELECT min(next_attempt) FROM smtpsetup.mail
WHERE {_TRIED} AND account = %s AND config = %s AND next_attempt > %s"""
_IS_DUE = f"""
SELECT EXISTS (SELECT FROM smtpsetup.mail
WHERE {_TRIED} AND account = %s AND config = %s AND next_attempt <= %s)"""
# the limit is in the text: without it the database makes a new plan for each claim, which takes as long as the rest
_TAKE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM smtpsetup.mail WHERE account = %s AND config = %s AND {_TRIED} AND next_attempt <= %s
        AND next_attempt >= %s
    ORDER BY next_attempt, id LIMIT {{limit}} FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE smtpsetup.mail SET lease = %s, state = 'sending', dotted = false FROM due WHERE mail.id = due.id
    RETURNING mail.*
)
SELECT {columns("taken")}, taken.header_size, taken.content_checksum, taken.is_ascii,
    CASE WHEN taken.size <= {READ_AHEAD_BYTES} THEN content.data END
FROM taken LEFT JOIN smtpsetup.content ON content.mail = taken.id AND content.part = 0
ORDER BY taken.next_attempt, taken.id"""
_PUT_OFF = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM smtpsetup.mail WHERE account = %s AND config = %s AND {_TRIED} AND next_attempt <= %s
    LIMIT {_AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE smtpsetup.mail SET attempts = attempts + %s, put_offs = put_offs + %s,
    next_attempt = %s + (%s::double precision[])[least(attempts + 1, cardinality(%s::double precision[]))],
    last_reply = %s, last_code = %s
FROM due WHERE mail.id = due.id"""
_HOLD = """
INSERT INTO smtpsetup.trouble VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (account, config, host) DO UPDATE
    SET failures = EXCLUDED.failures, until = EXCLUDED.until, reply = EXCLUDED.reply, code = EXCLUDED.code"""
_MAKE_DUE = f"""
WITH found AS MATERIALIZED (
    SELECT id FROM smtpsetup.mail WHERE {_TRIED} AND {{which}} LIMIT {_AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE smtpsetup.mail SET next_attempt = %s FROM found WHERE mail.id = found.id"""
_MOST_ATTEMPTS = 60  # the pause does not grow any more after fewer
REVIVED = (
    "state = CASE WHEN dotted THEN 'unknown' ELSE 'waiting' END, unknowns = unknowns + dotted::integer, lease = NULL, "
    "dotted = false"
)
"""In SQL: the changes that take back a mail from a process that has ended."""
_REVIVE = f"""
UPDATE smtpsetup.mail SET {REVIVED},
    next_attempt = CASE WHEN dotted AND (holds OR unknowns > 0) THEN NULL WHEN dotted THEN %s ELSE %s END
WHERE lease = ANY(%s)"""


class DueMails(OutboxSession):
    """The part of a shared outbox that is about times."""

    def accounts_due(self, now: float) -> list[tuple[str, str]]:
        """The accounts that have due mail, each with the path of its configuration."""
        now = now + self._ahead
        held = self._held(now)
        return [key for key in self._accounts() if key not in held and self._db.one(_IS_DUE, (*key, now))[0]]

    def _held(self, now: float) -> set[tuple[str, str]]:
        """The accounts that this machine cannot send for at that moment of the database."""
        rows = self._db.rows(
            "SELECT account, config FROM smtpsetup.trouble WHERE host = %s AND until > %s", (as_text(self.place), now)
        )
        return {(str(row[0]), str(row[1])) for row in rows}

    def _accounts(self) -> list[tuple[str, str]]:
        return [(str(row[0]), str(row[1])) for row in self._db.rows(_ACCOUNTS)]

    def next_attempt(self, now: float) -> float | None:
        """When the next mail that is not due yet will be, in seconds since 1970; None where none is planned."""
        found = [self._db.one(_NEXT_OF, (*key, now + self._ahead))[0] for key in self._accounts()]
        return min((float(at) - self._ahead for at in found if at is not None), default=None)

    def take(self, account: str, config: str, lease: str, now: float, limit: int) -> list[Mail]:
        """Take due mails of an account under a lease, so that no other process sends them."""
        rows = self._taken((account, config), int(lease), now + self._ahead, limit)
        mails = []
        self._read_ahead.clear()
        for *mail_row, header_size, checksum, is_ascii, first in rows:
            mail = read_mail(mail_row)
            mails.append(self.ours(mail))
            if first is not None:
                self._read_ahead[mail.id] = (Facts(mail.size, header_size, is_ascii, checksum), bytes(first))
        return mails

    def _taken(self, key: tuple[str, str], lease: int, now: float, limit: int) -> list[tuple[Any, ...]]:
        """The rows of mails that are taken, oldest first, from where the last look ended or, now and then, from all."""
        behind, until = self._behind.pop(key, (_EVER, 0.0))
        if time.monotonic() > until:
            behind, until = _EVER, time.monotonic() + _BEHIND_SECONDS
        rows = self._db.rows(_TAKE.format(limit=limit), (*key, now, behind, lease))
        if len(rows) < limit and behind > _EVER:
            rows += self._db.rows(_TAKE.format(limit=limit - len(rows)), (*key, now, _EVER, lease))
        elif rows:
            self._behind[key] = (float(rows[-1][_NEXT_ATTEMPT]), until)
        return rows

    def put_off(self, account: str, config: str, now: float, postponement: Postponement) -> None:
        """Let all of an account's due mails wait, or those that this machine would send.

        Only a limit of the provider is about all machines. What else goes wrong may be this machine's network, password
        or configuration, so that the others go on.
        """
        error, now = postponement.error, now + self._ahead
        if not error.is_limit:
            self._hold(account, config, now, postponement)
            return
        pauses = [postponement.seconds(attempts) for attempts in range(1, _MOST_ATTEMPTS)]
        values = (
            account, config, now, int(postponement.is_attempt), int(postponement.is_put_off), now, pauses, pauses,
            as_text(error.reply_or_message), error.code,
        )  # fmt: skip
        while self._db.run(_PUT_OFF, values) == _AT_ONCE:
            pass

    def _hold(self, account: str, config: str, now: float, postponement: Postponement) -> None:
        """Let this machine leave an account's mail alone for a while."""
        key = (account, config, as_text(self.place))
        rows = self._db.rows(
            "SELECT failures FROM smtpsetup.trouble WHERE account = %s AND config = %s AND host = %s", key
        )
        failures = int(rows[0][0]) + 1 if rows else 1
        until = now + postponement.seconds(min(failures, _MOST_ATTEMPTS))
        error = postponement.error
        self._db.run(_HOLD, (*key, failures, until, as_text(error.reply_or_message), error.code))

    def works(self, account: str, config: str) -> None:
        """Note that this machine can send for an account."""
        self._db.run(
            "DELETE FROM smtpsetup.trouble WHERE account = %s AND config = %s AND host = %s",
            (account, config, as_text(self.place)),
        )

    def failures(self, account: str, config: str) -> int:
        """How often in a row this machine could not send for an account."""
        rows = self._db.rows(
            "SELECT failures FROM smtpsetup.trouble WHERE account = %s AND config = %s AND host = %s",
            (account, config, as_text(self.place)),
        )
        return int(rows[0][0]) if rows else 0

    def make_due(self, now: float) -> None:
        """Make all mails due that wait for a later time. What only a person sends again still waits for that."""
        self._db.run("DELETE FROM smtpsetup.trouble WHERE host = %s", (as_text(self.place),))
        self._change_in_turn("next_attempt > %s", (now + self._ahead,), now + self._ahead)

    def bring_forward(self, account: str, config: str, now: float, code: str) -> None:
        """Make an account's mails due that wait because of an error of this code: it has been mended."""
        self.works(account, config)
        now = now + self._ahead
        self._change_in_turn(
            "account = %s AND config = %s AND state = 'waiting' AND next_attempt > %s AND last_code = %s",
            (account, config, now, code),
            now,
        )

    def _change_in_turn(self, which: str, values: tuple[object, ...], now: float) -> None:
        """Make these mails due, some at a time and without waiting for those that others are changing."""
        statement = _MAKE_DUE.format(which=which)
        while self._db.run(statement, (*values, now)) == _AT_ONCE:
            pass

    def damaged_due(self, now: float) -> list[Mail]:  # noqa: ARG002  the interface of every outbox
        """None: PostgreSQL checks its rows itself, and the text of a mail is checked when it is read."""
        return []

    def revive(self, now: float) -> int:
        """Take back the mails of sessions that have ended. Returns how many there were.

        One that the server may have becomes UNKNOWN, and is sent again after a minute at the earliest. What was planned
        days ahead, with a wrong clock, is due now.
        """
        now = now + self._ahead
        for name, config in self._accounts():
            self._change_in_turn(
                "account = %s AND config = %s AND next_attempt > %s", (name, config, now + _FURTHEST_SECONDS), now
            )
        dead = [
            row[0]
            for row in self._db.rows(
                f"SELECT DISTINCT lease FROM smtpsetup.mail WHERE lease IS NOT NULL AND lease NOT IN ({HELD_LEASES})"
            )
        ]
        self._db.run(f"DELETE FROM smtpsetup.worker WHERE lease NOT IN ({HELD_LEASES})")
        return self._db.run(_REVIVE, (now + GRACE_SECONDS, now, dead)) if dead else 0

"""Which mail of the outbox is due, and when the rest will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.outbox.sqlite.database import HAS_A_STATE, IS_SOUND, explained
from smtpsetup.outbox.sqlite.file import OutboxFile
from smtpsetup.outbox.sqlite.rows import COLUMNS, shown_mail

if TYPE_CHECKING:
    from smtpsetup.outbox.disposition import Postponement
    from smtpsetup.outbox.mail import Mail

_DUE = "state IN ('waiting', 'unknown') AND next_attempt <= ?"


class DueMails(OutboxFile):
    """The part of an outbox that is about times.

    Every method may raise OutboxDamagedError or OSError.
    """

    def accounts_due(self, now: float) -> list[tuple[str, str]]:
        """The accounts that have due mail, each with the path of its configuration."""
        with explained(self.path):
            rows = self._db.execute(
                f"SELECT DISTINCT account, config FROM mail WHERE {_DUE} ORDER BY account, config", (now,)
            )
            return [(str(row[0]), str(row[1])) for row in rows]

    def next_attempt(self, now: float) -> float | None:
        """When the next mail that is not due yet will be, in seconds since 1970; None where none is planned."""
        with explained(self.path):
            row = self._db.execute(
                "SELECT min(next_attempt) FROM mail WHERE state IN ('waiting', 'unknown') AND next_attempt > ?", (now,)
            ).fetchone()
            return None if row[0] is None else float(row[0])

    def take(self, account: str, config: str, lease: str, now: float, limit: int) -> list[Mail]:
        """Take due mails of an account under a lease, so that no other process sends them."""
        with self.transaction():
            numbers = [
                row[0]
                for row in self._db.execute(
                    f"SELECT id FROM mail WHERE account = ? AND config = ? AND {_DUE} ORDER BY next_attempt, id LIMIT "
                    f"?",
                    (account, config, now, limit),
                )
            ]
            self._db.executemany(
                "UPDATE mail SET lease = ?, state = 'sending', dotted = 0 WHERE id = ?",
                [(lease, number) for number in numbers],
            )
            taken = (
                self._db.execute(f"SELECT {COLUMNS} FROM mail WHERE id = ?", (number,)).fetchone() for number in numbers
            )
            return [shown_mail(row) for row in taken]

    def put_off(self, account: str, config: str, now: float, postponement: Postponement) -> None:
        """Let all of an account's due mails wait."""
        error, is_attempt, is_put_off = postponement.error, postponement.is_attempt, postponement.is_put_off
        with self.transaction():
            rows = self._db.execute(
                f"SELECT id, attempts FROM mail WHERE account = ? AND config = ? AND {_DUE}", (account, config, now)
            ).fetchall()
            self._db.executemany(
                "UPDATE mail SET attempts = attempts + ?, put_offs = put_offs + ?, next_attempt = ?, last_reply = ?, "
                "last_code = ? WHERE id = ?",
                [
                    (
                        is_attempt,
                        is_put_off,
                        now + postponement.seconds(attempts + 1),
                        error.reply_or_message,
                        error.code,
                        number,
                    )
                    for number, attempts in rows
                ],
            )

    def make_due(self, now: float) -> None:
        """Make all mails due that wait for a later time. What only a person sends again still waits for that."""
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET next_attempt = ? WHERE state IN ('waiting', 'unknown') AND next_attempt > ?",
                (now, now),
            )

    def bring_forward(self, account: str, config: str, now: float, code: str) -> None:
        """Make an account's mails due that wait because of an error of this code: it has been mended."""
        with self.transaction():
            self._db.execute(
                "UPDATE mail SET next_attempt = ? WHERE account = ? AND config = ? AND state = 'waiting' AND "
                "next_attempt > ? AND last_code = ?",
                (now, account, config, now, code),
            )

    def damaged_due(self, now: float) -> list[Mail]:
        """The damaged mails that are due or have no valid state: their recipients or account cannot be trusted."""
        with explained(self.path):
            rows = self._db.execute(
                f"SELECT {COLUMNS} FROM mail WHERE ({_DUE} AND NOT {IS_SOUND}) OR NOT {HAS_A_STATE}", (now,)
            )
            return [shown_mail(row) for row in rows]

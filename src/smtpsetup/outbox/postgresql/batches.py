"""The journal of a batch in a shared outbox, and loading its mails there by COPY."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from binascii import crc32
from typing import TYPE_CHECKING, NamedTuple, Self

from smtpsetup.core.i18n import N_
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql import content
from smtpsetup.outbox.postgresql.session import CHANNEL, DURABLY
from smtpsetup.outbox.postgresql.store import NEW_COLUMNS, PostgresqlOutbox
from smtpsetup.state.batch_journal import ENDED_SECONDS, BatchJournal, BusyError, State, message_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.mail import NewMail

_RUNS = 0x6261  # the class of the advisory locks for runs: "ba"
_FIND = """
INSERT INTO smtpsetup.batch AS batch (identity, nonce) VALUES (%s, %s) ON CONFLICT (identity) DO UPDATE SET at = now()
RETURNING id, nonce, extract(epoch FROM now() - ended_at)"""
_MARK = """
INSERT INTO smtpsetup.batch_mail AS mail VALUES (%s, %s, %s, %s) ON CONFLICT (batch, key) DO UPDATE
    SET state = EXCLUDED.state, left_over = EXCLUDED.left_over"""
_MARK_DURABLY = f"""
INSERT INTO smtpsetup.batch_mail AS mail SELECT %s::bigint, %s, %s, %s::text[] FROM {DURABLY}
WHERE pg_backend_pid() = %s ON CONFLICT (batch, key) DO UPDATE
    SET state = EXCLUDED.state, left_over = EXCLUDED.left_over"""


class SharedJournal(BatchJournal):
    """The journal of one batch, in the shared outbox; of one run at a time, on whatever machine.

    Every method raises SharedOutboxError.
    """

    def __init__(self, settings: OutboxSettings, directory: str, identity: str, *, reads_states: bool = True) -> None:
        """Open or create the journal of the batch with this identity. Raises BusyError, SharedOutboxError.

        Without `reads_states`, what became of the mails is asked of the database, and not kept here.
        """
        self.box = PostgresqlOutbox(settings, directory, is_durable=False)
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._left: dict[str, tuple[str, ...]] = {}
        self.has_tried = False
        try:
            self._open(hashlib.sha256(identity.encode()).digest())
            if reads_states:
                self._read_states()
        except BaseException:
            self.box.close()
            raise

    def _open(self, identity: bytes) -> None:
        db = self.box.database
        self.number, self.nonce, ended = db.one(_FIND, (identity, os.urandom(16).hex()))
        if not db.one("SELECT pg_try_advisory_lock(%s, %s)", (_RUNS, self.number))[0]:
            raise BusyError
        self.ended_at = 0.0 if ended is None else time.time() - float(ended)
        if ended is not None and float(ended) >= ENDED_SECONDS:
            self.restart()

    def _read_states(self) -> None:
        rows = self.box.database.rows(
            "SELECT key, state, left_over FROM smtpsetup.batch_mail WHERE batch = %s", (self.number,)
        )
        for key, state, left in rows:
            self._states[key] = state
            if left:
                self._left[key] = tuple(left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self.box.close()

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run has handled any mail."""
        return bool(self._states)

    def state_of(self, key: str) -> str:
        """What became of a mail, `""` for nothing."""
        return self._states.get(key, "")

    def left(self, key: str) -> tuple[str, ...]:
        """The recipients who did not get a mail that others got."""
        return self._left.get(key, ())

    def message_id(self, key: str, domain: str) -> str:
        """The Message-ID of a mail, the same in every run."""
        return message_id_of(self.nonce, key, domain)

    def mark_possibly_delivered(self, key: str, recipients: tuple[str, ...] = ()) -> None:  # noqa: ARG002  a row has room
        """Record, durably, that the server may have a mail from now on."""
        db = self.box.database  # whose session holds the lock of this run: without it, another run may send the mail
        if db.run(_MARK_DURABLY, (self.number, key, str(State.DOTTED), None, db.backend)) != 1:
            raise SharedOutboxError(Trouble.LOST_MAIL, db.shown, N_("this run no longer has the batch for itself"))
        with self._lock:
            self._states[key] = State.DOTTED
            self.has_tried = True

    def _mark(self, key: str, state: str, left: tuple[str, ...] = ()) -> None:
        with self._lock:
            self._states[key] = state
            if left:
                self._left[key] = left
        self.box.run_surely(_MARK, (self.number, key, str(state), list(left) or None))

    def mark_ended(self) -> None:
        """Record that all mails have been sent; of a run that has tried none, the earlier end stands."""
        self.box.database.run(
            f"UPDATE smtpsetup.batch SET ended_at = now() FROM {DURABLY} WHERE id = %s AND (%s OR ended_at IS NULL)",
            (self.number, self.has_tried),
        )

    def restart(self) -> None:
        """Forget the results of earlier runs."""
        self._states.clear()
        self._left.clear()
        self.ended_at = 0.0
        self.nonce = os.urandom(16).hex()
        with self.box.transaction():
            self.box.database.run("DELETE FROM smtpsetup.batch_mail WHERE batch = %s", (self.number,))
            self.box.database.run(
                "UPDATE smtpsetup.batch SET nonce = %s, ended_at = NULL WHERE id = %s", (self.nonce, self.number)
            )


class Loaded(NamedTuple):
    """A mail to load; its key is the same in every run."""

    key: str
    mail: NewMail


def states(journal: SharedJournal, keys: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What became of these mails in earlier runs: the state, and the recipients who are left."""
    rows = journal.box.database.rows(
        "SELECT key, state, left_over FROM smtpsetup.batch_mail WHERE batch = %s AND key = ANY(%s)",
        (journal.number, list(keys)),
    )
    return {str(key): (str(state), tuple(left or ())) for key, state, left in rows}


def load(journal: SharedJournal, mails: Sequence[Loaded]) -> list[int]:
    """Put many mails into the outbox, and note that in the journal, in one transaction. Returns their numbers."""
    box, db = journal.box, journal.box.database
    with box.transaction():
        db.one(f"SELECT count(*) FROM {DURABLY}")
        numbers = [
            int(row[0])
            for row in db.rows(
                "SELECT nextval(pg_get_serial_sequence('smtpsetup.mail', 'id')) FROM generate_series(1, %s)",
                (len(mails),),
            )
        ]
        texts = [list(content.parts(one.mail.message)) for one in mails]
        _copy(
            journal,
            f"mail (id, {', '.join(NEW_COLUMNS)})",
            (
                (number, *box.new_values(one.mail, _checksum(pieces)))
                for number, one, pieces in zip(numbers, mails, texts, strict=True)
            ),
        )
        _copy(
            journal,
            "content",
            (
                (number, part, piece)
                for number, pieces in zip(numbers, texts, strict=True)
                for part, piece in enumerate(pieces)
            ),
        )
        db.run(
            "DELETE FROM smtpsetup.batch_mail WHERE batch = %s AND key = ANY(%s) AND state <> 'done'",
            (journal.number, [one.key for one in mails]),
        )
        _copy(journal, "batch_mail", ((journal.number, one.key, str(State.DONE), None) for one in mails))
        db.one(f"SELECT pg_notify('{CHANNEL}', %s)", (mails[0].mail.account,))
    journal.has_tried = True
    return numbers


def _checksum(pieces: Iterable[bytes]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = crc32(piece, checksum)
    return checksum


def _copy(journal: SharedJournal, table: str, rows: Iterable[Sequence[object]]) -> None:
    db = journal.box.database
    with db.explained(), db.raw.cursor() as cursor, cursor.copy(f"COPY smtpsetup.{table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)

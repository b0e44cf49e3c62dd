"""The session of a shared outbox: its connection, its transactions, and the lease under which it has taken mail."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import N_
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql.connection import Connection, run_surely
from smtpsetup.outbox.store import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.postgresql.content import Facts

CHANNEL = "smtpsetup_mail"
"""What new mail is announced on (NOTIFY)."""
WORKER = "smtpsetup worker"
"""The application_name of the session in which a worker listens, by which workers without mail are counted, too."""
# the names of the sessions' advisory locks of which a lease is one; a session's locks end with it
HELD_LEASES = (
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_SAME_CLOCK_SECONDS = 30.0  # two clocks that differ less are taken as one
# in SQL, in a FROM: the transaction waits for the disk, also in a session that does not
DURABLY = "(SELECT set_config('synchronous_commit', 'on', true)) AS durably"


class OutboxSession(Outbox):
    """An outbox in PostgreSQL, open. Every method may raise SharedOutboxError, which is an OSError."""

    is_shared = True

    def __init__(self, settings: OutboxSettings, directory: str, *, is_durable: bool = True) -> None:
        """Connect. `is_durable` is that of `set_durability`; a possible delivery is always recorded durably."""
        self.directory = directory
        self.settings = settings
        self.host = socket.gethostname()
        # machines may have one name, and users of one machine each a configuration of their own
        self.place = f"{self.host} {hashlib.sha256(os.path.abspath(directory).encode()).hexdigest()[:8]}"
        self._lease = 0
        self._depth = 0
        self._read_ahead: dict[int, tuple[Facts, bytes]] = {}  # the texts of mails that were taken
        # by account: the moment of the last mail that was taken, and until when a look begins there
        self._behind: dict[tuple[str, str], tuple[float, float]] = {}
        self._db = Connection(settings)
        self.set_durability(is_durable=is_durable)
        ahead = float(self._db.one("SELECT extract(epoch FROM clock_timestamp())")[0]) - time.time()
        self._ahead = ahead if abs(ahead) > _SAME_CLOCK_SECONDS else 0.0

    def theirs(self, moment: float | None) -> float | None:
        """A moment by the clock of the database, which all machines have in common."""
        return None if moment is None else moment + self._ahead

    def ours(self, mail: Mail) -> Mail:
        """A mail with its next attempt by the clock of this machine."""
        if mail.next_attempt is None or not self._ahead:
            return mail
        return mail._replace(next_attempt=mail.next_attempt - self._ahead)

    @property
    def database(self) -> Connection:
        """Its connection."""
        return self._db

    def close(self) -> None:
        """Close the connection, which ends the lease."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of a block one transaction; a nested block is a part of the outer one."""
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with self._db.explained(), self._db.raw.transaction():
                yield
        finally:
            self._depth -= 1

    @contextmanager
    def lease(self) -> Iterator[str]:
        """A lease: a lock of this session, which ends with it, also where the machine or the network fails."""
        key = secrets.randbits(62) + 1
        self._db.one("SELECT pg_advisory_lock(%s)", (key,))
        self._db.run(
            "INSERT INTO smtpsetup.worker (lease, host, pid) VALUES (%s, %s, %s)", (key, self.host, os.getpid())
        )
        before, self._lease = self._lease, key
        try:
            yield str(key)
        finally:
            self._lease = before
            with suppress(SharedOutboxError):
                self._db.run("DELETE FROM smtpsetup.worker WHERE lease = %s", (key,))
                self._db.one("SELECT pg_advisory_unlock(%s)", (key,))

    def set_durability(self, *, is_durable: bool) -> None:
        """Choose whether later changes wait for the disk; a possible delivery always does."""
        self._db.one("SELECT set_config('synchronous_commit', %s, false)", ("on" if is_durable else "off",))

    def _lost(self) -> SharedOutboxError:
        return SharedOutboxError(
            Trouble.LOST_MAIL, self._db.shown, N_("the mail is no longer reserved for this process")
        )

    def run_surely(self, statement: str, values: Sequence[object]) -> int:
        """Execute a statement that may be repeated, over new connections where this one has broken."""
        return run_surely(self._db, statement, values)

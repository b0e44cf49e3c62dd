"""The session of a shared outbox: its connection, its transactions, and the lease under which it has taken mail."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import N_
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql.connection import Connection
from smtpsetup.outbox.store import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.postgresql.content import Facts

CHANNEL = "smtpsetup_mail"
"""What new mail is announced on (NOTIFY)."""
# the names of the sessions' advisory locks of which a lease is one; a session's locks end with it
HELD_LEASES = (
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
AGAIN_SECONDS = 30.0
"""For how long a change that must not be lost is tried again over a new connection."""
_PAUSE_SECONDS = 0.5
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
        self._lease = 0
        self._depth = 0
        self._read_ahead: dict[int, tuple[Facts, bytes]] = {}  # the texts of mails that were taken
        # by account: the moment of the last mail that was taken, and until when a look begins there
        self._behind: dict[tuple[str, str], tuple[float, float]] = {}
        self._db = Connection(settings)
        if not is_durable:
            self.set_durability(is_durable=False)

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
        """Execute a statement that may be repeated, over new connections where this one has broken.

        Such as after the server has accepted a mail, which must not be sent again.
        """
        try:
            return self._db.run(statement, values)
        except SharedOutboxError as error:
            if not self._db.is_broken:
                raise
            broken = error
        end = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < end:
            time.sleep(_PAUSE_SECONDS)
            try:
                other = Connection(self.settings)
            except SharedOutboxError:
                continue
            try:
                return other.run(statement, values)
            except SharedOutboxError:
                if not other.is_broken:
                    raise
            finally:
                other.close()
        raise broken

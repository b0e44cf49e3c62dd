"""The open file of an outbox: locked against a repair, and changed in transactions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.sqlite import reserve
from smtpsetup.outbox.sqlite.database import (
    REPAIRED,
    bring_up_to_date,
    connected,
    explained,
    file_in,
    is_wanted_alone,
    lock,
    write_highest,
)
from smtpsetup.outbox.store import Outbox
from smtpsetup.state import leases, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class OutboxFile(Outbox):
    """The file of one user's outbox.

    Every method may raise OutboxDamagedError or OSError.
    """

    def __init__(self, directory: str, *, is_durable: bool = True) -> None:
        """Open the outbox in a directory, which is made where it is missing.

        With `is_durable` a change survives a power cut once the method has returned, else only the end of the process:
        a power cut can undo the last changes, so that a mail is sent twice, but no mail is lost.
        """
        private_dir.prepare(directory)
        self.directory = directory
        self.path = file_in(directory)
        self._is_in_transaction = False
        self._added = 0  # the highest number that the transaction adds
        with explained(self.path):
            bring_up_to_date(self.path)
        self._use = lock(self.path, is_shared=True)
        try:
            _refuse_half_repaired(self.path)
            with explained(self.path):
                self._db = connected(self.path)
            self.set_durability(is_durable=is_durable)
        except BaseException:
            os.close(self._use)
            raise

    def close(self) -> None:
        """Close it, and let a repair come in."""
        self._db.close()
        os.close(self._use)

    def is_wanted_alone(self) -> bool:
        """Whether a repair waits until nobody has it open."""
        return is_wanted_alone(self.path)

    def lease(self) -> AbstractContextManager[str]:
        """A lease in the state directory."""
        return leases.held(self.directory)

    def set_durability(self, *, is_durable: bool) -> None:
        """Choose whether later changes survive a power cut, or only the end of the process."""
        self._is_durable = is_durable
        with explained(self.path):
            self._db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")

    def be_frugal(self) -> None:
        """Use as little disk space as possible from now on: for a full disk."""
        with explained(self.path):
            self._db.execute("PRAGMA secure_delete = OFF").fetchall()
            self._db.execute("PRAGMA wal_autocheckpoint = 20").fetchall()  # pages of 4 kB
            self._db.execute("PRAGMA journal_size_limit = 0").fetchall()

    def tidy(self) -> None:
        """Free the disk space of mail that was removed."""
        with explained(self.path):
            self._db.executescript("PRAGMA incremental_vacuum")  # a plain execute would free one page
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def compact(self) -> None:
        """Move everything into the one file, without a log beside it."""
        with explained(self.path):
            self._db.execute("PRAGMA journal_mode = DELETE").fetchone()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of a block one transaction; a nested block is a part of the outer one."""
        if self._is_in_transaction:
            yield
            return
        self._added = 0
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._is_in_transaction = True
            try:
                yield
                self._commit()
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._is_in_transaction = False
        if self._added and self._is_durable:
            with suppress(OSError):  # the mail is on the disk; only its later loss could go unnoticed
                write_highest(self.path, self._added)
            reserve.keep(self.directory)

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def _with_reserve(self, change: Callable[[], None]) -> None:
        """Make a change that a full disk must not prevent, with the reserved space where there is no other."""
        try:
            change()
        except OSError:
            if self._is_in_transaction or not reserve.give(self.directory):
                raise
            self.be_frugal()
            change()


def _refuse_half_repaired(path: str) -> None:
    if os.path.exists(path + REPAIRED):  # a repair was interrupted
        raise OutboxDamagedError(path)

"""Reading an outbox on a read-only disk, by way of a copy: SQLite writes files beside the one that it reads."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.outbox.sqlite.database import file_in
from smtpsetup.outbox.sqlite.store import SqliteOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_read_only(directory: str) -> bool:
    """Whether a directory, or the place where it would be made, is on a read-only disk."""
    if sys.platform == "win32":
        return False
    place = os.path.abspath(directory)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


@contextmanager
def copied(directory: str) -> Iterator[SqliteOutbox]:
    """A temporary copy of the outbox. Raises OSError, OutboxDamagedError."""
    import shutil  # rarely needed
    import tempfile

    with tempfile.TemporaryDirectory(prefix="smtpsetup-") as copy:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(file_in(directory) + suffix, file_in(copy) + suffix)
                os.chmod(file_in(copy) + suffix, 0o600)
        with SqliteOutbox(copy) as outbox:
            yield outbox

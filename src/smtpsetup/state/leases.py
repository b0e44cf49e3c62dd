"""Leases: locked files that show that a process is still alive. The kernel releases the lock when it dies."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_A_DAY = 86_400.0  # seconds


@contextmanager
def held(directory: str) -> Iterator[str]:
    """The name of a new lease, held until the end of the block or of the process. Raises OSError."""
    name = f"lease-{os.getpid()}-{os.urandom(8).hex()}"
    path = os.path.join(directory, name)
    handle = private_dir.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        locks.lock(handle, seconds=0)
        yield name
    finally:
        with suppress(OSError):  # `is_alive` of another process may delete it first
            os.unlink(path)
        os.close(handle)
        if sys.platform == "win32":  # it deletes no open file
            with suppress(OSError):
                os.unlink(path)


def is_alive(directory: str, name: str) -> bool:
    """Whether the process that holds a lease is alive. The lease of a dead one is deleted."""
    path = os.path.join(directory, name)
    try:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return False
    except PermissionError:  # made by a version that kept root's rights here
        return time.time() - os.lstat(path).st_mtime < _A_DAY
    try:
        locks.lock(handle, seconds=0)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    with suppress(FileNotFoundError):  # another process has just deleted it
        os.unlink(path)
    return False

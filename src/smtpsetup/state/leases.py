"""Signs of life: a process that works on something holds a lock, which the kernel takes away the moment it dies."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_A_DAY = 86_400.0  # seconds


@contextmanager
def held(directory: str) -> Iterator[str]:
    """The name of a lease that is alive until the end of the block or of the process. Raises OSError."""
    name = f"lease-{os.getpid()}-{os.urandom(8).hex()}"
    path = os.path.join(directory, name)
    handle = private_dir.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        locks.try_lock(handle)
        yield name
    finally:
        with suppress(OSError):  # whoever finds it dead removes it, too
            os.unlink(path)
        os.close(handle)


def is_alive(directory: str, name: str) -> bool:
    """Whether the process that holds a lease still lives. What a dead one left behind is removed."""
    path = os.path.join(directory, name)
    try:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return False
    except PermissionError:  # root's, of a version that worked as root here
        return time.time() - os.lstat(path).st_mtime < _A_DAY
    try:
        locks.try_lock(handle)
    except BlockingIOError:
        return True
    else:
        with suppress(FileNotFoundError):  # another one has just found it
            os.unlink(path)
        return False
    finally:
        os.close(handle)

"""Signs of life: a process that works on something holds a lock, which the kernel takes away the moment it dies."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.state import private_dir

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
        take(handle)
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
        take(handle)
    except BlockingIOError:
        return True
    else:
        with suppress(FileNotFoundError):  # another one has just found it
            os.unlink(path)
        return False
    finally:
        os.close(handle)


def take(handle: int) -> None:
    """Lock an open file for this process, until it is closed. Raises BlockingIOError where another process holds it."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import errno
    import msvcrt

    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
    except OSError as error:
        raise BlockingIOError(errno.EAGAIN, "locked") from error

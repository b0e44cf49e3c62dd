"""Locks on open files, which the kernel takes away the moment their process dies. Nothing else in smtpsetup locks."""

from __future__ import annotations

import os
import time

_POLL_SECONDS = 0.05  # between two tries: msvcrt and a lock with an end cannot wait by themselves


def try_lock(handle: int, *, is_shared: bool = False) -> None:
    """Lock an open file, or on POSIX a directory, until it is closed.

    Raises BlockingIOError where another process has it.

    Many may have a shared lock at the same time. Windows knows none: there nothing is locked then.
    """
    if os.name == "posix":
        import fcntl  # POSIX only

        fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return
    if is_shared:
        return
    import errno
    import msvcrt

    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
    except OSError as error:
        raise BlockingIOError(errno.EAGAIN, "locked") from error


def lock(handle: int, *, seconds: float | None = None, is_shared: bool = False) -> None:
    """As `try_lock`, once others have let go of it: for ever without `seconds`.

    Raises BlockingIOError when they have it for longer.
    """
    if seconds is None and os.name == "posix":
        import fcntl  # POSIX only

        fcntl.flock(handle, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        return None
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            return try_lock(handle, is_shared=is_shared)
        except BlockingIOError:
            if end is not None and time.monotonic() > end:
                raise
            time.sleep(_POLL_SECONDS)

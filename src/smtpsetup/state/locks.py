"""Locks on open files, which the kernel releases when their process dies. No other module locks files."""

from __future__ import annotations

import os
import time

from smtpsetup.state import private_dir

_POLL_SECONDS = 0.05  # between two tries: msvcrt gives up after ten seconds, and flock has no timeout


def lock(handle: int, *, seconds: float | None = None, is_shared: bool = False) -> None:
    """Lock an open file, or on POSIX a directory, until it is closed.

    Any number of processes may hold a shared lock; Windows has none, so nothing is locked there. Waits for other
    processes without a limit if `seconds` is None; otherwise raises BlockingIOError after that many.
    """
    if seconds is None and os.name == "posix":
        import fcntl  # POSIX only

        fcntl.flock(handle, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        return None
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            return _try_lock(handle, is_shared=is_shared)
        except BlockingIOError:
            if end is not None and time.monotonic() >= end:
                raise
            time.sleep(_POLL_SECONDS)


def _try_lock(handle: int, *, is_shared: bool) -> None:
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


def open_locked(path: str, flags: int, *, seconds: float | None = None) -> int:
    """A handle to a file of the state directory, locked as by `lock`. Raises BlockingIOError, OSError.

    The file is opened again if it was moved or deleted before it could be locked: others would lock a new one.
    """
    while True:
        handle = private_dir.open_file(path, flags)
        try:
            lock(handle, seconds=seconds)
            if _is_still_at(path, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still_at(path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False

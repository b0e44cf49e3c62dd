"""Locks on open files, which the kernel releases when their process dies. No other module locks files."""

from __future__ import annotations

import errno
import os
import sys
import time

from smtpsetup.state import private_dir

_POLL_SECONDS = 0.05  # between two tries: flock has no timeout, and a waiting LockFileEx cannot be interrupted
_LOCKED_BYTE = 0x7FFFFFFF  # times 2^32: Windows lets nobody else read or write a locked byte, so one beyond all content
_LOCK_VIOLATION = 33  # ERROR_LOCK_VIOLATION


def lock(handle: int, *, seconds: float | None = None, is_shared: bool = False) -> None:
    """Lock an open file, or on POSIX a directory, until it is closed.

    Any number of processes may hold a shared lock. Waits for other processes without a limit if `seconds` is None;
    otherwise raises BlockingIOError after that many. Raises OSError where the file system has no locks.
    """
    if seconds is None and sys.platform != "win32":
        import fcntl  # POSIX only

        fcntl.flock(handle, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        return
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            _try_lock(handle, is_shared=is_shared)
        except BlockingIOError:
            if end is not None and time.monotonic() >= end:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _try_lock(handle: int, *, is_shared: bool) -> None:
    """Lock a file now. Raises BlockingIOError where another process holds it, OSError.

    Windows: LockFileEx (https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-lockfileex), since
    `msvcrt.locking` has no shared lock, and locks what is at the current position.
    """
    if sys.platform == "win32":
        import msvcrt

        import pywintypes
        import win32con
        import win32file

        flags = win32con.LOCKFILE_FAIL_IMMEDIATELY | (0 if is_shared else win32con.LOCKFILE_EXCLUSIVE_LOCK)
        place = pywintypes.OVERLAPPED()
        place.OffsetHigh = _LOCKED_BYTE
        try:
            win32file.LockFileEx(msvcrt.get_osfhandle(handle), flags, 1, 0, place)
        except pywintypes.error as error:
            if error.winerror == _LOCK_VIOLATION:
                raise BlockingIOError(errno.EAGAIN, "locked") from error
            raise OSError(errno.ENOLCK, error.strerror) from error
    else:
        import fcntl  # POSIX only

        fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def open_locked(path: str, flags: int, *, seconds: float | None = None, is_shared: bool = False) -> int:
    """A handle to a file of the state directory, locked as by `lock`. Raises BlockingIOError, OSError.

    The file is opened again if it was moved or deleted before it could be locked: others would lock a new one.
    """
    while True:
        handle = private_dir.open_file(path, flags)
        try:
            lock(handle, seconds=seconds, is_shared=is_shared)
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

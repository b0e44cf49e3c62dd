"""Files that are replaced atomically, by one process at a time."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    StrPath = str | os.PathLike[str]

_MAX_WAIT_SECONDS = 10.0  # for another process
_POLL_SECONDS = 0.05


@contextmanager
def locked(path: StrPath) -> Iterator[None]:
    """Lock out other processes that change the file; its directory is made if it is missing. Raises OSError."""
    parent = os.path.dirname(path) or "."
    private_dir.become_owner_of(parent)
    private_dir.make(parent)
    handle = _lock_handle(parent, os.fspath(path))
    try:
        try:
            locks.lock(handle, seconds=_MAX_WAIT_SECONDS)
        except BlockingIOError as error:
            raise OSError(errno.EAGAIN, _("another smtpsetup is changing it"), os.fspath(path)) from error
        yield
    finally:
        os.close(handle)


def _lock_handle(directory: str, path: str) -> int:
    """What is locked for a file: its directory, or on Windows, which cannot lock one, an empty file beside it."""
    if sys.platform == "win32":
        return private_dir.open_file(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    return os.open(directory, os.O_RDONLY)


def sync(handle: int) -> None:
    """Write a file or directory to the disk, so that it survives a power failure. Raises OSError.

    On macOS `fsync` leaves it in the drive's own memory (fsync(2) there), so F_FULLFSYNC is used where the file system
    has it.
    """
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY, errno.ENODEV):
                raise
        else:
            return
    os.fsync(handle)


def write_atomically(path: StrPath, text: str) -> None:
    """Replace a file, or the target of a symbolic link, by one with mode 0600. Raises OSError."""
    import tempfile  # 4 ms, only for a change

    target = os.path.realpath(path)
    private_dir.become_owner_of(os.path.dirname(os.path.abspath(path)))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
    try:
        with os.fdopen(handle, "wb") as file:
            private_dir.make_private(temporary)
            file.write(text.encode())
            file.flush()
            sync(file.fileno())
        replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def replace(new: str, path: str) -> None:
    """Rename a file over another and sync the directory, if the system can. Raises OSError if it was not renamed."""
    end = time.monotonic() + _MAX_WAIT_SECONDS
    while True:
        try:
            os.replace(new, path)
            break
        except PermissionError:  # Windows replaces no file that is open
            is_final = sys.platform != "win32" or time.monotonic() > end
            if is_final:
                raise
            time.sleep(_POLL_SECONDS)
    if sys.platform != "win32":
        with suppress(OSError):  # not every file system can sync a directory, and not every directory can be read
            directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
            try:
                sync(directory)
            finally:
                os.close(directory)

"""Files that are replaced atomically, by one process at a time."""

from __future__ import annotations

import errno
import os
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
    if os.name != "posix":  # Windows cannot lock a directory
        yield
        return
    directory = os.open(parent, os.O_RDONLY)
    try:
        try:
            locks.lock(directory, seconds=_MAX_WAIT_SECONDS)
        except BlockingIOError as error:
            raise OSError(errno.EAGAIN, _("another smtpsetup is changing it"), os.fspath(path)) from error
        yield
    finally:
        os.close(directory)


def write_atomically(path: StrPath, text: str) -> None:
    """Replace a file, or the target of a symbolic link, by one with mode 0600. Raises OSError."""
    import tempfile  # 4 ms, only for a change

    target = os.path.realpath(path)
    private_dir.become_owner_of(os.path.dirname(os.path.abspath(path)))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
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
        except PermissionError:
            if os.name == "posix" or time.monotonic() > end:
                raise
            time.sleep(_POLL_SECONDS)  # Windows replaces no file that is open
    if os.name == "posix":
        with suppress(OSError):  # not every file system can sync a directory, and not every directory can be read
            directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

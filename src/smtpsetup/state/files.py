"""Files that are changed all or nothing, by one process at a time."""

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

_LONGEST_SECONDS = 10.0  # that somebody else may take
_POLL_SECONDS = 0.05


@contextmanager
def locked(path: StrPath) -> Iterator[None]:
    """Keep other smtpsetups from changing the file at the same time; its directory is made where it is missing.

    Raises OSError.
    """
    parent = os.path.dirname(path) or "."
    private_dir.become_owner_of(parent)
    private_dir.make(parent)
    if os.name != "posix":  # Windows locks no directory
        yield
        return
    directory = os.open(parent, os.O_RDONLY)
    try:
        try:
            locks.lock(directory, seconds=_LONGEST_SECONDS)
        except BlockingIOError as error:
            raise OSError(errno.EAGAIN, _("another smtpsetup is changing it"), os.fspath(path)) from error
        yield
    finally:
        os.close(directory)


def write_atomically(path: StrPath, text: str) -> None:
    """Replace a file's content with mode 0600, all or nothing, through a symbolic link if it is one. Raises OSError."""
    import tempfile  # 4 ms that only a change pays

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
    """Let a file take another one's place, on the disk when this returns, as far as the file system knows how.

    Raises OSError; then it has not.
    """
    end = time.monotonic() + _LONGEST_SECONDS
    while True:
        try:
            os.replace(new, path)
            break
        except PermissionError:
            if os.name == "posix" or time.monotonic() > end:
                raise
            time.sleep(_POLL_SECONDS)  # Windows replaces no file that somebody is reading
    if os.name == "posix":
        with suppress(
            OSError
        ):  # some file systems have no such thing for a directory, and some directories may not be read
            directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

"""Input files that a user names. A named pipe without a writer is an error after a second."""

from __future__ import annotations

import os
import stat
import sys

_WRITER_SECONDS = 1.0


def read(path: str, limit: int | None = None) -> bytes:
    """The content of a file, or its first `limit` bytes. Raises OSError."""
    handle = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    with open(handle, "rb") as file:
        first = b""
        if sys.platform != "win32":
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                first = _wait_for_writer(handle, path)
            os.set_blocking(handle, True)
        return first + (file.read() if limit is None else file.read(limit))


def _wait_for_writer(handle: int, path: str) -> bytes:
    """Wait until a program has opened a named pipe for writing. Returns what was read meanwhile: at most one byte."""
    if sys.platform == "win32":
        return b""  # its named pipes are no files
    import select  # only for named pipes

    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLHUP)
    if poll.poll(_WRITER_SECONDS * 1000):
        return b""  # there is data, or a writer has closed the pipe
    try:
        first = os.read(handle, 1)
    except BlockingIOError:
        return b""  # a writer has opened it and has not written yet
    if not first:
        raise OSError(0, "it is a named pipe, and no program writes to it", path)
    return first

"""Files that a person names to be read.

A pipe that nobody writes to is an error after a second, and not a wait without end.
"""

from __future__ import annotations

import os
import stat

_SECONDS = 1.0


def read(path: str, limit: int | None = None) -> bytes:
    """What is in a file, at most so many bytes. Raises OSError."""
    handle = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    with open(handle, "rb") as file:
        first = b""
        if os.name == "posix":
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                first = _when_somebody_writes(handle, path)
            os.set_blocking(handle, True)
        return first + (file.read() if limit is None else file.read(limit))


def _when_somebody_writes(handle: int, path: str) -> bytes:
    """Wait for a writer; the first byte, if it has been read to find that out."""
    import select  # hardly anybody names a pipe

    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLHUP)
    if poll.poll(_SECONDS * 1000):
        return b""  # there is something to read, or there was somebody who had nothing to say
    try:
        first = os.read(handle, 1)
    except BlockingIOError:
        return b""  # somebody has it open and takes their time
    if not first:
        raise OSError(0, "it is a named pipe, and no program writes to it", path)
    return first

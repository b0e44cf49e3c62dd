"""Files that a person names to be read: a pipe that nobody writes to is an error after a second, and not a wait without end."""

from __future__ import annotations

import os
import stat

_SECONDS = 1.0


def opened(path: str) -> int:
    """A handle to read a file from, which blocks as usual once there is something to read or somebody to write it. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if os.name == "posix":
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                _wait_for_writer(handle, path)
            os.set_blocking(handle, True)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _wait_for_writer(handle: int, path: str) -> None:
    import select  # hardly anybody names a pipe

    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLHUP)
    if poll.poll(_SECONDS * 1000):
        return  # there is something to read, or there was somebody who had nothing to say
    try:
        os.read(handle, 0)
        is_nobody_there = os.read(handle, 1) == b""
    except BlockingIOError:
        return  # somebody has it open and takes their time
    if is_nobody_there:
        raise OSError(0, "it is a named pipe, and no program writes to it", path)


def read(path: str, limit: int | None = None) -> bytes:
    """What is in a file, at most so many bytes. Raises OSError."""
    with open(opened(path), "rb") as file:
        return file.read() if limit is None else file.read(limit)

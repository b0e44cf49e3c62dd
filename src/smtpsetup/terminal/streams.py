"""Standard streams: closed ones, their width, and those that can no longer be written to."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

USUAL_COLUMNS = 80


def replace_closed() -> None:
    """Open the null device in place of every standard stream that the caller has closed.

    Otherwise the first file or socket would get its descriptor, and what is printed would go there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is that of the stream
            # it stays open until the process ends
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def columns(stream: TextIO) -> int | None:
    """The width of a terminal in columns; None if the stream is not a terminal, so that nothing is wrapped."""
    if not stream.isatty():
        return None
    with suppress(OSError, ValueError):
        chosen = os.environ.get("COLUMNS", "")
        return int(chosen) if chosen.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    return USUAL_COLUMNS


def can_redraw(stream: TextIO) -> bool:
    """Whether lines may be overwritten: on a terminal that can do it, where nobody wants plain output (NO_COLOR)."""
    is_plain = os.environ.get("TERM", "dumb") in ("dumb", "unknown") or bool(os.environ.get("NO_COLOR"))
    return stream.isatty() and not is_plain


def is_in_foreground(stream: TextIO) -> bool:
    """Whether the shell's own line is not on this terminal now, as it is behind a job in the background."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def waiting_in_pipe() -> int:
    """How many bytes wait on standard input if it is a pipe, without reading them; 0 where that cannot be asked."""
    if sys.platform == "win32":
        return 0
    import fcntl  # POSIX only
    import termios

    try:
        is_pipe = stat.S_ISFIFO(os.fstat(0).st_mode)
        return int.from_bytes(fcntl.ioctl(0, termios.FIONREAD, bytes(4)), sys.byteorder) if is_pipe else 0
    except OSError:  # it is closed
        return 0


def silence(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to any more to the null device.

    Otherwise Python would report an error and exit with 120 when it flushes the stream at exit.
    """
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)

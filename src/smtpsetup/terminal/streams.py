"""Standard streams that the caller has closed.

The first file or socket would take their number, and get what is printed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

_USUAL_COLUMNS = 80


def open_closed() -> None:
    """Lead every closed one to nowhere, for as long as the process lives."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # which takes the number of the lowest stream that is closed
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  for as long as the process lives


def columns(stream: TextIO) -> int | None:
    """How wide the terminal behind a stream is; None where it is none, and nothing need be wrapped."""
    if not stream.isatty():
        return None
    with suppress(OSError, ValueError):
        return (
            int(os.environ.get("COLUMNS", ""))
            if os.environ.get("COLUMNS", "").isdecimal()
            else os.get_terminal_size(stream.fileno()).columns
        )
    return _USUAL_COLUMNS


def silence(stream: TextIO) -> None:
    """Lead a stream that cannot be written to into the void.

    Python would complain once more, and exit with 120, while flushing it at the end.
    """
    with suppress(OSError, ValueError):
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, stream.fileno())
        os.close(void)

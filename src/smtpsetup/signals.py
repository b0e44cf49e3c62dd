"""Putting off the end of the process over the few steps that must not be left half done."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Gives a function: from its call to the end of the block, Ctrl-C, SIGTERM and SIGHUP wait. On Windows nothing can wait."""
    if os.name != "posix":
        yield lambda: None
        return
    import signal  # POSIX only, and most runs have no such step

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield lambda: _block(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _block(*numbers: int) -> None:
    import signal  # as above

    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

"""A line that shows a person that a command is still at work."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from smtpsetup.terminal import streams

if TYPE_CHECKING:
    from types import TracebackType

_DELAY_SECONDS = 1.0  # what is quicker needs no line
_FRAME_SECONDS = 0.15
_FRAMES = "|/-\\"


class Waiting:
    """A line on standard error that begins to turn a second after `start` and is gone at the end; a context manager.

    It is for a terminal whose lines can be overwritten. It needs no rich, which takes long to load.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._turn, daemon=True)

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Begin to wait; nothing happens where that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _turn(self) -> None:
        if self._ended.wait(_DELAY_SECONDS):
            return
        number = 0
        with suppress(OSError):  # a terminal that is gone must not stop what is waited for
            while True:
                if streams.is_in_foreground(sys.stderr):
                    sys.stderr.write(f"\r{_FRAMES[number % len(_FRAMES)]} {self._text}")
                    sys.stderr.flush()
                number += 1
                if self._ended.wait(_FRAME_SECONDS):
                    break
            if streams.is_in_foreground(sys.stderr):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

"""Lines that a command writes for as long as it runs."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from smtpsetup.render import relay_lines
from smtpsetup.terminal.streams import silence

if TYPE_CHECKING:
    from typing import TextIO

_MOST_LINES = 1000  # that wait to be written


class OutputLines:
    """Lines for a stream, written by a thread of their own: a reader that has stopped must not stop the mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str] = queue.Queue(_MOST_LINES)
        self._dropped = 0
        threading.Thread(target=self._work, name="lines", daemon=True).start()

    def put(self, line: str) -> None:
        """Write a line later, or drop it where nobody reads."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def finish(self, seconds: float) -> None:
        """Wait until all lines are written, but not for long."""
        end = time.monotonic() + seconds
        while not self._waiting.empty() and time.monotonic() < end:
            time.sleep(0.01)

    def _work(self) -> None:
        while True:
            line = self._waiting.get()
            dropped, self._dropped = self._dropped, 0
            more = [relay_lines.dropped(dropped)] if dropped else []
            try:
                self._stream.write("".join(f"{one}\n" for one in (*more, line)))
                self._stream.flush()
            except (OSError, ValueError):
                silence(self._stream)

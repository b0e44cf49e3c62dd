"""Ending a command on SIGTERM and SIGHUP with what it has in hand kept. Light, since every `send` is ready for it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from smtpsetup.core.errors import TerminatedError

if TYPE_CHECKING:
    from types import FrameType


def raise_when_terminated() -> None:
    """Let SIGTERM and SIGHUP raise TerminatedError in the main thread, once.

    Without this they would end the process on the spot.

    A job in the background has Ctrl-C ignored, so this does not go by way of it.
    """
    for number in _endings():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)


def ignore_termination() -> None:
    """From now on the process comes to its own end, which is near, whoever asks."""
    for number in _endings():
        if signal.getsignal(number) is terminate:
            signal.signal(number, signal.SIG_IGN)


def _endings() -> list[int]:
    return [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def terminate(_number: int, _frame: FrameType | None) -> None:
    """The handler of both."""
    ignore_termination()
    raise TerminatedError

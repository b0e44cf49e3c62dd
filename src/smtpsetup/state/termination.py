"""SIGTERM and SIGHUP as an exception, so that a command keeps its mail first. Small, since every `send` imports it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from smtpsetup.core.errors import TerminatedError

if TYPE_CHECKING:
    from types import FrameType


def raise_when_terminated() -> None:
    """Make SIGTERM and SIGHUP raise TerminatedError in the main thread, once, instead of ending the process.

    The handler does not send SIGINT instead, since a background job ignores it.
    """
    for number in _signals():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)


def ending_signals() -> list[int]:
    """What ends a service: SIGINT, SIGTERM, and SIGHUP, as where its terminal is closed, unless nohup ignores it."""
    hang_up = [number for number in _signals() if number != signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, *(one for one in hang_up if signal.getsignal(one) is not signal.SIG_IGN)]


def ignore_termination() -> None:
    """Ignore both signals from now on: the process is about to end anyway."""
    for number in _signals():
        if signal.getsignal(number) is terminate:
            signal.signal(number, signal.SIG_IGN)


def _signals() -> list[int]:
    return [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def terminate(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM and SIGHUP. Raises TerminatedError."""
    ignore_termination()
    raise TerminatedError

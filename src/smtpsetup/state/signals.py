"""Putting off the end of the process over the few steps that must not be left half done."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.state.termination import terminate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_changing = threading.Lock()
_holding = 0  # threads beside the main one that are in the midst of such a step
_put_off: list[int] = []  # what has arrived meanwhile
_usual: dict[
    int, Callable[[int, FrameType | None], object] | int | None
] = {}  # the handlers that `deferrable` stands in for


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Gives a function: from its call to the end of the block, Ctrl-C, SIGTERM and SIGHUP wait.

    On Windows nothing can wait.

    In a thread beside the main one they wait only within `deferrable`.
    """
    if os.name != "posix":
        yield lambda: None
    elif threading.current_thread() is threading.main_thread():
        import signal  # POSIX only, and most runs have no such step

        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            yield lambda: _block(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    else:
        held: list[bool] = []
        try:
            yield lambda: _hold(held)
        finally:
            _let_go(held)


@contextmanager
def deferrable() -> Iterator[None]:
    """Let threads that are begun within hold signals back.

    The main thread, which alone is asked, waits at the end until they are through.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    import signal  # as above

    usual = (signal.default_int_handler, signal.SIG_DFL, terminate)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # nohup's go on being ignored
    replaced = {number: handler for number, handler in handlers.items() if handler in usual}
    try:
        for number, handler in replaced.items():
            _usual[number] = handler
            signal.signal(number, _arrived)
        yield
    finally:
        try:
            while _holding:
                time.sleep(0.05)  # an event's wait could be left by the very signal that is to wait
        finally:
            for number, handler in replaced.items():
                signal.signal(number, handler)
            _deliver()


def _block(*numbers: int) -> None:
    import signal  # as above

    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _hold(held: list[bool]) -> None:
    global _holding  # noqa: PLW0603  a process has one set of signal handlers
    with _changing:
        _holding += not held
        held[:] = [True]


def _let_go(held: list[bool]) -> None:
    global _holding  # noqa: PLW0603  as above
    if held:
        with _changing:
            _holding -= 1
        if not _holding:
            _deliver()


def _arrived(number: int, frame: FrameType | None) -> None:
    import signal  # as above

    if _holding:
        _put_off.append(number)
    elif callable(handler := _usual.get(number)):
        handler(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _deliver() -> None:
    """Let what was put off arrive, now."""
    import signal  # as above

    numbers = set(_put_off)
    _put_off.clear()
    for number in numbers:
        # which alone runs the handlers, and may be waiting
        signal.pthread_kill(int(threading.main_thread().ident or 0), number)

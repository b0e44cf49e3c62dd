"""Deferring signals over the few steps that must not be interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.state.termination import terminate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_changing = threading.Lock()
_deferring = 0  # how many threads other than the main one defer signals
_deferred: list[int] = []  # signals that have arrived meanwhile
_replaced: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}  # the handlers before `deferrable`


@contextmanager
def deferral() -> Iterator[Callable[[], None]]:
    """Yields a function. From its call to the end of the block, SIGINT, SIGTERM and SIGHUP are deferred.

    In a thread other than the main one this works only within `deferrable`. On Windows it does nothing.
    """
    if sys.platform == "win32":
        yield lambda: None
    elif threading.current_thread() is threading.main_thread():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            yield _block
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    else:
        is_deferring: list[bool] = []
        try:
            yield lambda: _start_deferring(is_deferring)
        finally:
            _stop_deferring(is_deferring)


@contextmanager
def deferrable() -> Iterator[None]:
    """Let threads that start within the block defer signals. At its end the main thread waits for their deferrals.

    Python runs signal handlers in the main thread only.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = (signal.default_int_handler, signal.SIG_DFL, terminate)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # a signal that nohup ignores stays ignored
    replaced = {number: handler for number, handler in handlers.items() if handler in usual}
    try:
        for number, handler in replaced.items():
            _replaced[number] = handler
            signal.signal(number, _handle)
        yield
    finally:
        try:
            while _deferring:
                time.sleep(0.05)  # the signal could interrupt the wait for an event
        finally:
            for number, handler in replaced.items():
                signal.signal(number, handler)
            _deliver()


def _block() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def _start_deferring(is_deferring: list[bool]) -> None:
    global _deferring  # noqa: PLW0603  a process has one set of signal handlers
    with _changing:
        _deferring += not is_deferring
        is_deferring[:] = [True]


def _stop_deferring(is_deferring: list[bool]) -> None:
    global _deferring  # noqa: PLW0603  as above
    if is_deferring:
        with _changing:
            _deferring -= 1
        if not _deferring:
            _deliver()


def _handle(number: int, frame: FrameType | None) -> None:
    if _deferring:
        _deferred.append(number)
    elif callable(handler := _replaced.get(number)):
        handler(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _deliver() -> None:
    """Deliver the deferred signals to the main thread."""
    numbers = set(_deferred)
    _deferred.clear()
    for number in numbers:
        if sys.platform == "win32":
            signal.raise_signal(number)
        else:
            signal.pthread_kill(int(threading.main_thread().ident or 0), number)

"""Work in parallel daemon threads, which do not keep the process from ending."""

from __future__ import annotations

import functools
import queue
import threading
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.net.dial import Deadline

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
GRACE_SECONDS = 1.0  # for a better answer that is still on its way: four round trips around the world


def run_in_background(ask: Callable[[], _Value], deadline: Deadline) -> Callable[[], _Value]:
    """Start asking in the background. The function returned waits for the answer.

    It raises what `ask` raised, or TimeoutError.
    """
    answers = _start({"": ask})

    def answer() -> _Value:
        try:
            _key, value = answers.get(timeout=deadline.remaining())
        except queue.Empty as late:
            raise TimeoutError from late
        return value()

    return answer


def run_parallel(
    questions: dict[_Key, Callable[[], _Value]],
    deadline: Deadline,
    *,
    is_enough: Callable[[_Value], bool] = lambda _value: False,
) -> dict[_Key, _Value]:
    """The answers to several questions, asked in parallel. Those that did not come before the deadline are missing.

    After an answer that `is_enough`, the others have GRACE_SECONDS left. Raises what a question raised.
    """
    answers = _start(questions)
    found: dict[_Key, _Value] = {}
    while len(found) < len(questions):
        try:
            key, value = answers.get(timeout=deadline.remaining())
        except (queue.Empty, TimeoutError):
            break
        found[key] = value()
        if is_enough(found[key]):
            deadline = deadline.at_most(GRACE_SECONDS)
    return found


def _start(questions: dict[_Key, Callable[[], _Value]]) -> queue.SimpleQueue[tuple[_Key, Callable[[], _Value]]]:
    """Start a thread for each question. An item of the queue returns the answer when called, or raises the error."""
    answers: queue.SimpleQueue[tuple[_Key, Callable[[], _Value]]] = queue.SimpleQueue()

    def work(key: _Key, ask: Callable[[], _Value]) -> None:
        try:
            value = ask()
        except Exception as error:  # noqa: BLE001  raised again by the waiting thread
            answers.put((key, functools.partial(_raise, error)))
        else:
            answers.put((key, lambda: value))

    for key, ask in questions.items():
        threading.Thread(target=work, args=(key, ask), daemon=True).start()
    return answers


def _raise(error: Exception) -> NoReturn:
    raise error

"""Several waits at once, each in a thread that does not hold up the end of the process."""

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
# that an answer waits for a better one which is still on its way: four round trips to the other side of the world
GRACE_SECONDS = 1.0


def begun(ask: Callable[[], _Value], deadline: Deadline) -> Callable[[], _Value]:
    """Ask at once, in the background; the function that is given back waits for the answer.

    It raises what asking raised, and TimeoutError.
    """
    answers = _asked({"": ask})

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
    """The answers to several questions, asked at once; those that did not come in time are missing.

    Raises what asking raised.

    After an answer that `is_enough`, the others have GRACE_SECONDS left.
    """
    answers = _asked(questions)
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


def _asked(questions: dict[_Key, Callable[[], _Value]]) -> queue.SimpleQueue[tuple[_Key, Callable[[], _Value]]]:
    """Where the answers arrive, each as a function that gives it or raises what asking raised."""
    answers: queue.SimpleQueue[tuple[_Key, Callable[[], _Value]]] = queue.SimpleQueue()

    def work(key: _Key, ask: Callable[[], _Value]) -> None:
        try:
            value = ask()
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((key, functools.partial(_raise, error)))
        else:
            answers.put((key, lambda: value))

    for key, ask in questions.items():
        threading.Thread(target=work, args=(key, ask), daemon=True).start()
    return answers


def _raise(error: Exception) -> NoReturn:
    raise error

"""Several waits at once, each in a thread that does not hold up the end of the process."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.transport.dial import Deadline

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
GRACE_SECONDS = 1.0  # that an answer waits for a better one which is still on its way: four round trips to the other side of the world


def begun(ask: Callable[[], _Value], deadline: Deadline) -> Callable[[], _Value]:
    """Ask at once, in the background; the function that is given back waits for the answer. It raises what asking raised, and TimeoutError."""
    answers: queue.SimpleQueue[tuple[_Value | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((None, error))

    def answer() -> _Value:
        try:
            value, error = answers.get(timeout=deadline.remaining())
        except queue.Empty as late:
            raise TimeoutError from late
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # there is a value where there is no error

    threading.Thread(target=work, daemon=True).start()
    return answer


def side_by_side(
    questions: dict[_Key, Callable[[], _Value]], deadline: Deadline, *, is_enough: Callable[[_Value], bool] = lambda _value: False
) -> dict[_Key, _Value]:
    """The answers to several questions, asked at once; those that did not come in time are missing.

    After an answer that `is_enough`, the others have GRACE_SECONDS left.
    """
    answers: queue.SimpleQueue[tuple[_Key, _Value | None, Exception | None]] = queue.SimpleQueue()

    def work(key: _Key, ask: Callable[[], _Value]) -> None:
        try:
            answers.put((key, ask(), None))
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((key, None, error))

    for key, ask in questions.items():
        threading.Thread(target=work, args=(key, ask), daemon=True).start()
    found: dict[_Key, _Value] = {}
    while len(found) < len(questions):
        try:
            key, value, error = answers.get(timeout=deadline.remaining())
        except (queue.Empty, TimeoutError):
            break
        if error is not None:
            raise error
        found[key] = value  # type: ignore[assignment]  # there is a value where there is no error
        if is_enough(found[key]):
            deadline = deadline.at_most(GRACE_SECONDS)
    return found

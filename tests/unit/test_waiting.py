"""The line that shows that a command is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.terminal.waiting import Waiting

if TYPE_CHECKING:
    import pytest


def test_it_may_be_started_twice_and_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("x") as waiting:
        waiting.start()
        waiting.start()
    with Waiting("x"):
        pass
    assert capsys.readouterr().err == ""  # both ended within the second

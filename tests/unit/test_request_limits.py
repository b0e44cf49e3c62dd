"""The limits of a mailbox, which all processes keep together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.state.request_limits import LONGEST_PAUSE, Limits, RequestLimits

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_counted_is_waited_for(tmp_path: Path) -> None:
    limits = RequestLimits(str(tmp_path), "a", Limits(at_once=4, most=100, seconds=30.0))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        raise InterruptedError

    limits.reserve(60)
    limits.reserve(40)
    with pytest.raises(InterruptedError):
        limits.reserve(1, wait)
    assert 29 < waits[0] <= 30.001  # the file has milliseconds


@pytest.mark.slow
def test_a_pause_is_kept_beside_any_number_of_requests(tmp_path: Path) -> None:
    limits = RequestLimits(str(tmp_path), "a", Limits(at_once=4, most=10**9, seconds=3600.0))
    limits.pause(50)
    for _number in range(1200):
        limits.reserve(1)
    assert 0 < limits.pause_left() <= 50
    file = tmp_path / "requests" / "a"
    lines = file.read_text().splitlines()
    assert len(lines) <= 1002
    assert sum(int(line.split()[2]) for line in lines if line.startswith("sent")) == 1200


@pytest.mark.parametrize("content", ["pause 99999999999\n", "pause x\n", "sent\n", "\0" * 100, "sent 1 -5\npause -1\n"])
def test_what_cannot_be_meant_is_not_believed(tmp_path: Path, content: str) -> None:
    limits = RequestLimits(str(tmp_path), "a", Limits(at_once=4, most=100, seconds=30.0))
    limits.reserve(1)
    (tmp_path / "requests" / "a").write_text(content)
    assert limits.pause_left() == 0.0
    limits.reserve(100)


def test_a_pause_of_a_day_is_believed(tmp_path: Path) -> None:
    limits = RequestLimits(str(tmp_path), "a", Limits(at_once=4, most=100, seconds=30.0))
    limits.pause(LONGEST_PAUSE)
    assert limits.pause_left() > LONGEST_PAUSE - 10

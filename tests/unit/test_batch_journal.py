"""A journal has one holder and keeps every entry."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.state.batch_journal import BusyError, Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_only_one_process_holds_a_journal(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "a"), Journal(str(tmp_path), "b"), pytest.raises(BusyError):
        Journal(str(tmp_path), "a")
    with Journal(str(tmp_path), "a") as journal:
        assert not journal.is_resumed


def test_entries_of_a_journal_are_read_by_the_next_run(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "a") as journal:
        journal.mark_possibly_delivered("1")
        journal.mark_possibly_delivered("2")
        journal.mark_done("2")
        journal.mark_possibly_delivered("3")
        journal.mark_not_sent("3")
        ids = [journal.message_id(key, "example.com") for key in "123"]
    with Journal(str(tmp_path), "a") as journal:
        assert journal.is_resumed
        assert [journal.is_unknown(key) for key in "123"] == [True, False, False]
        assert [journal.is_done(key) for key in "123"] == [False, True, False]
        assert [journal.message_id(key, "example.com") for key in "123"] == ids


def test_a_journal_opened_while_its_holder_removes_it_is_still_held_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that it opened is removed before it has the lock; a third run must not get a lock on a new file."""
    first = Journal(str(tmp_path), "a")
    real = os.open

    def slow(path: Any, *rest: Any) -> int:
        handle = real(path, *rest)
        monkeypatch.setattr(os, "open", real)
        os.unlink(first.path)
        first.__exit__()
        return handle

    monkeypatch.setattr(os, "open", slow)
    with Journal(str(tmp_path), "a") as second:
        assert os.path.exists(second.path)
        with pytest.raises(BusyError):
            Journal(str(tmp_path), "a")


def test_only_its_owner_can_read_a_journal(tmp_path: Path) -> None:
    with Journal(str(tmp_path / "state"), "a") as journal:
        assert os.stat(journal.path).st_mode & 0o077 == 0
        assert os.stat(os.path.dirname(journal.path)).st_mode & 0o077 == 0


def run_once(directory: Path, *keys: str) -> list[str]:
    """A run that sends what no earlier one has sent. Returns that."""
    with Journal(str(directory), "a") as journal:
        sent = [key for key in keys if not journal.is_done(key)]
        for key in sent:
            journal.mark_possibly_delivered(key)
            journal.mark_done(key)
        journal.mark_ended()
    return sent


def ages(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Set the clock to so many hours from now."""
    now = time.time() + hours * 3600
    monkeypatch.setattr(time, "time", lambda: now)


def test_a_run_that_sends_nothing_leaves_the_earlier_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that runs every eight hours sends each second time, and not once for ever."""
    run_once(tmp_path, "1")
    with monkeypatch.context() as later:
        ages(later, 8)
        run_once(tmp_path, "1")
    ages(monkeypatch, 16)
    with Journal(str(tmp_path), "a") as journal:
        assert not journal.is_done("1")


def test_an_end_that_was_noted_with_a_wrong_clock_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as ahead:
        ages(ahead, 30)
        assert run_once(tmp_path, "1") == ["1"]
    assert run_once(tmp_path, "1") == []
    ages(monkeypatch, 13)
    assert run_once(tmp_path, "1") == ["1"]


def test_a_journal_of_last_quarter_is_used_and_others_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(str(tmp_path), "a") as own, Journal(str(tmp_path), "b") as held, Journal(str(tmp_path), "c") as old:
        paths = own.path, held.path, old.path
    with Journal(str(tmp_path), "b"):
        ages(monkeypatch, 61 * 24)
        run_once(tmp_path, "1")
        assert [os.path.exists(path) for path in paths] == [True, True, False]

"""The outbox and the log take the branches of Windows and macOS."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Log
from smtpsetup.outbox.sqlite import database
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.state import mail_log
from tests.recording import new_mail
from tests.windows import as_windows

if TYPE_CHECKING:
    from pathlib import Path


def test_on_macos_the_outbox_is_synced_to_the_disk_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_sync() -> list[int]:
        db = database.connected(str(tmp_path / "outbox.db"))
        try:
            return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("fullfsync", "checkpoint_fullfsync")]
        finally:
            db.close()

    assert full_sync() == [0, 0]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert full_sync() == [1, 1]


def test_on_windows_several_use_the_outbox_and_a_repair_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_windows(monkeypatch)
    with SqliteOutbox(str(tmp_path)) as first, SqliteOutbox(str(tmp_path)) as second:
        first.add(new_mail(1))
        assert len(second.mails()) == 1
        with pytest.raises(OSError, match="database is locked"):
            database.lock(str(tmp_path / "outbox.db"), is_shared=False, seconds=0)
    os.close(database.lock(str(tmp_path / "outbox.db"), is_shared=False, seconds=0))


def test_on_windows_a_log_that_is_open_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows moves no open file, so that a rename always failed there."""
    as_windows(monkeypatch)
    monkeypatch.setattr(os, "replace", lambda *_paths: pytest.fail("an open file was moved"))
    monkeypatch.setattr(mail_log, "_MAX_BYTES", 100)
    for number in range(3):
        mail_log.append_line(Log.FILE, str(tmp_path), {"number": number, "padding": "x" * 40})
    kept = (tmp_path / "mail.log.1").read_text() + (tmp_path / "mail.log").read_text()
    assert [f"number={number}" in kept for number in range(3)] == [True] * 3
    assert (tmp_path / "mail.log").stat().st_size <= 100

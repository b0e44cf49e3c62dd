"""Files are replaced atomically."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path

import pytest

from smtpsetup.state import files
from tests import windows


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES])
def test_a_directory_that_cannot_be_synced_does_not_fail_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The file has been replaced by then; an error would say that it has not."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, "x")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "file"
    files.write_atomically(path, "text")
    assert path.read_text() == "text"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_on_macos_a_file_and_its_directory_reach_the_disk_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where fsync leaves them in the drive's own memory (fsync(2) there)."""
    called: list[tuple[bool, int]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(
        fcntl, "fcntl", lambda handle, what: called.append((stat.S_ISDIR(os.fstat(handle).st_mode), what))
    )
    monkeypatch.setattr(os, "fsync", lambda _handle: pytest.fail("an ordinary sync"))
    files.write_atomically(tmp_path / "file", "text")
    assert called == [(False, 51), (True, 51)]


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOTTY])
def test_on_macos_a_file_system_without_full_sync_gets_an_ordinary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_handle: int, _what: int) -> None:
        raise OSError(number, "x")

    synced: list[int] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(os, "fsync", synced.append)
    files.write_atomically(tmp_path / "file", "text")
    assert len(synced) == 2


def test_every_sync_goes_through_the_one_function() -> None:
    source = Path(files.__file__).parents[1]
    callers = {path.name for path in source.rglob("*.py") if "os.fsync(" in path.read_text(encoding="utf-8")}
    assert callers == {"files.py"}


def test_on_windows_the_change_of_a_file_is_locked_and_only_its_user_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = windows.as_windows(monkeypatch)
    monkeypatch.setattr(files, "_MAX_WAIT_SECONDS", 0.1)
    path = tmp_path / "file"
    with files.locked(path):
        files.write_atomically(path, "text")
        with pytest.raises(OSError, match="another smtpsetup"), files.locked(path):
            pass
    with files.locked(path):
        assert path.read_text() == "text"
    ((_path, given),) = lists.items()
    assert given.acl
    assert {sid for _kind, _rights, sid in given.acl.entries} == {windows.OWN, "S-1-5-18"}

"""Locks: both branches lock, share, wait and give up. The one for Windows runs over Linux's locks of open files.

Those (F_OFD_SETLK, fcntl(2)) are, as LockFileEx's, for ranges of bytes, shared or exclusive, of each open file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.state import leases, locks
from smtpsetup.state.batch_journal import BusyError, Journal
from tests.windows import as_windows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["linux", "win32"], autouse=True)
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "win32":
        as_windows(monkeypatch)
    return str(request.param)


@pytest.fixture
def handles(tmp_path: Path) -> Iterator[list[int]]:
    """Three openings of one file, which has content."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    opened = [os.open(path, os.O_RDWR) for _number in range(3)]
    yield opened
    for handle in opened:
        os.close(handle)


def is_free(handle: int, *, is_shared: bool = False) -> bool:
    try:
        locks.lock(handle, seconds=0, is_shared=is_shared)
    except BlockingIOError:
        return False
    return True


def test_an_exclusive_lock_keeps_everybody_out(handles: list[int]) -> None:
    locks.lock(handles[0])
    assert not is_free(handles[1])
    assert not is_free(handles[1], is_shared=True)


def test_a_shared_lock_is_shared_and_keeps_an_exclusive_one_out(handles: list[int]) -> None:
    locks.lock(handles[0], is_shared=True)
    assert is_free(handles[1], is_shared=True)
    assert not is_free(handles[2])


def test_closing_the_file_gives_the_lock_back(tmp_path: Path) -> None:
    first = locks.open_locked(str(tmp_path / "file"), os.O_RDWR | os.O_CREAT)
    with pytest.raises(BlockingIOError):
        locks.open_locked(str(tmp_path / "file"), os.O_RDWR, seconds=0)
    os.close(first)
    os.close(locks.open_locked(str(tmp_path / "file"), os.O_RDWR, seconds=0))


def test_the_end_of_a_process_gives_its_lock_back(handles: list[int], tmp_path: Path) -> None:
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        locks.lock(os.open(tmp_path / "file", os.O_RDWR))
        os.write(go, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    assert not is_free(handles[0])
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert is_free(handles[0])
    os.close(ready)
    os.close(go)


@pytest.mark.parametrize("seconds", [None, 20.0])
def test_a_lock_is_waited_for(tmp_path: Path, handles: list[int], seconds: float | None) -> None:
    holder = os.open(tmp_path / "file", os.O_RDWR)
    locks.lock(holder)
    threading.Timer(0.2, os.close, [holder]).start()
    before = time.monotonic()
    locks.lock(handles[0], seconds=seconds)
    assert 0.1 < time.monotonic() - before < 10


def test_waiting_ends_after_the_time_that_was_given(handles: list[int]) -> None:
    locks.lock(handles[0])
    before = time.monotonic()
    with pytest.raises(BlockingIOError):
        locks.lock(handles[1], seconds=0.2)
    assert 0.2 <= time.monotonic() - before < 5


def test_a_locked_file_can_be_read_and_written_through_another_handle(handles: list[int], platform: str) -> None:
    """Windows denies that for locked bytes, so the locked one is beyond all content."""
    locks.lock(handles[0])
    if platform == "win32":
        last = os.fstat(handles[0]).st_size + 2**40
        fcntl.fcntl(handles[1], fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, last, 0))
    assert os.read(handles[1], 7) == b"content"
    assert os.lseek(handles[0], 0, os.SEEK_CUR) == 0


def test_an_error_of_the_file_system_is_not_taken_for_a_lock(
    handles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", fails)
    monkeypatch.setattr(fcntl, "fcntl", fails)
    with pytest.raises(OSError, match="no locks") as caught:
        locks.lock(handles[0], seconds=0)
    assert not isinstance(caught.value, BlockingIOError)


def test_a_batch_is_sent_by_one_process_at_a_time(tmp_path: Path) -> None:
    with Journal(str(tmp_path), "batch"):
        with pytest.raises(BusyError):
            Journal(str(tmp_path), "batch")
        with Journal(str(tmp_path), "another"):
            pass
    with Journal(str(tmp_path), "batch"):
        pass


def test_a_lease_shows_that_its_process_is_alive_and_is_deleted_then(tmp_path: Path) -> None:
    with leases.held(str(tmp_path)) as name:
        assert leases.is_alive(str(tmp_path), name)
        (tmp_path / "lease-1-2").touch(0o600)
        assert not leases.is_alive(str(tmp_path), "lease-1-2")
    assert not list(tmp_path.iterdir())

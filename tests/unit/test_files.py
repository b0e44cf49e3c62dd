"""Files are replaced atomically."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from smtpsetup.state import files

if TYPE_CHECKING:
    from pathlib import Path


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

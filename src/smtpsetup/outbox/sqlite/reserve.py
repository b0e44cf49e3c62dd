"""Disk space kept in reserve, so that waiting mail can be sent and removed when the disk is full."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from smtpsetup.state import private_dir

_NAME = "outbox.reserve"
_BYTES = 1_048_576
_LEAST_BYTES = 262_144  # enough to change one mail after the other
_SHARE = 8  # at most one eighth of the free space


def keep(directory: str) -> None:
    """Reserve the space where there is plenty; an error is ignored, since mail can be sent without it."""
    path = os.path.join(directory, _NAME)
    if os.path.exists(path) or not hasattr(os, "posix_fallocate"):
        return
    with suppress(OSError):
        wanted = min(_BYTES, _free(directory) // _SHARE)
        if wanted < _LEAST_BYTES:
            return
        handle = private_dir.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.posix_fallocate(handle, 0, wanted)
        except OSError:
            os.unlink(path)
        finally:
            os.close(handle)


def is_needed(directory: str) -> bool:
    """Whether there is less free space than sending needs."""
    with suppress(OSError):
        return hasattr(os, "statvfs") and _free(directory) < _BYTES
    return False


def give(directory: str) -> bool:
    """Free the reserved space. Returns whether there was any."""
    try:
        os.unlink(os.path.join(directory, _NAME))
    except OSError:
        return False
    return True


def _free(directory: str) -> int:
    """Bytes that this user can still write."""
    if sys.platform == "win32":
        import shutil  # 5 ms

        return shutil.disk_usage(directory).free
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize

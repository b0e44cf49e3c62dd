"""The mail log: one line for each mail, with its recipients, its size, the server's reply and the result."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.core.model import Log, plain_text
from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "mail.log"
_MAX_BYTES = 2_000_000  # a larger log replaces mail.log.1


def append_line(kind: Log, directory: str | None, facts: Mapping[str, object]) -> None:
    """Log the facts as `name=value`, with quotes around values with spaces. Errors of the file are ignored."""
    line = " ".join(f"{name}={_quoted(str(value))}" for name, value in facts.items())
    if kind is Log.SYSLOG:
        _to_syslog(line)
    elif kind is Log.FILE and directory is not None:
        with suppress(OSError):
            _append(directory, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")


def _to_syslog(line: str) -> None:
    if sys.platform != "win32":  # `config.accounts` refuses it there
        import syslog

        syslog.openlog("smtpsetup", syslog.LOG_PID, syslog.LOG_MAIL)
        syslog.syslog(syslog.LOG_INFO, line)


def _quoted(value: str) -> str:
    shown = plain_text(value)
    if shown and " " not in shown and '"' not in shown:
        return shown
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _append(directory: str, line: str) -> None:
    private_dir.prepare(directory)
    path = os.path.join(directory, _NAME)
    # locked: of two processes that rotate at once, the second would overwrite the older log
    handle = locks.open_locked(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(handle, line.encode())
        if os.fstat(handle).st_size > _MAX_BYTES:
            _rotate(path, handle)
    finally:
        os.close(handle)


def _rotate(path: str, handle: int) -> None:
    """Move the log, which is locked, to `.1`. Windows moves no open file: there it is copied, then emptied."""
    if sys.platform == "win32":
        import shutil  # rarely needed

        shutil.copyfile(path, f"{path}.1")
        os.ftruncate(handle, 0)
    else:
        os.replace(path, f"{path}.1")

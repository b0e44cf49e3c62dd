"""One line for each mail: to whom, how large, what the server said, how it ended. For whoever looks for a mail months later."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.model import Log, plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "mail.log"
_LARGEST = 2_000_000  # bytes, then it becomes mail.log.1 in the place of an older one


def note(kind: Log, directory: str | None, facts: Mapping[str, object]) -> None:
    """Write the facts as `name=value`, with quotes where there are blanks. A courtesy: where it cannot be written, sending goes on."""
    line = " ".join(f"{name}={_quoted(str(value))}" for name, value in facts.items())
    if kind is Log.SYSLOG:
        import syslog  # POSIX only, and only where it is asked for

        syslog.openlog("smtpsetup", syslog.LOG_PID, syslog.LOG_MAIL)
        syslog.syslog(syslog.LOG_INFO, line)
    elif kind is Log.FILE and directory is not None:
        with suppress(OSError):
            _append(directory, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")


def _quoted(value: str) -> str:
    shown = plain_text(value)
    if shown and " " not in shown and '"' not in shown:
        return shown
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _append(directory: str, line: str) -> None:
    path = os.path.join(directory, _NAME)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        handle = os.open(path, flags, 0o600)
    try:
        if os.fstat(handle).st_size > _LARGEST:
            os.replace(path, f"{path}.1")
        os.write(handle, line.encode())
    finally:
        os.close(handle)

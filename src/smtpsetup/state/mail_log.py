"""One line for each mail: to whom, how large, what the server said, how it ended.

For whoever looks for a mail months later.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.core.model import Log, plain_text
from smtpsetup.state import locks, private_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "mail.log"
_LARGEST = 2_000_000  # bytes, then it becomes mail.log.1 in the place of an older one


def append_line(kind: Log, directory: str | None, facts: Mapping[str, object]) -> None:
    """Write the facts as `name=value`, with quotes where there are blanks.

    A courtesy: where it cannot be written, sending goes on.
    """
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
    private_dir.prepare(directory)
    path = os.path.join(directory, _NAME)
    handle = _locked(path)
    try:
        os.write(handle, line.encode())
        if os.fstat(handle).st_size > _LARGEST:
            os.replace(path, f"{path}.1")
    finally:
        os.close(handle)


def _locked(path: str) -> int:
    """A handle to the log that no other process writes to.

    Two that moved it away at once would write over the older one.
    """
    while True:
        handle = private_dir.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            locks.lock(handle)
            if os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle  # and not one that was moved away while it was waited for
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)

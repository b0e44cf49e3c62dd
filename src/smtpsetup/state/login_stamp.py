"""When somebody last signed in or changed a password here: a relay that waits because of a login tries again then."""

from __future__ import annotations

import os
from contextlib import suppress

from smtpsetup.state import private_dir


def path_in(directory: str) -> str:
    """The empty file in the state directory whose time that is."""
    return os.path.join(directory, "signed-in")


def note(directory: str | None) -> None:
    """Note that it happened now. Errors are ignored: the mail is only tried later."""
    if directory is None or not os.path.isdir(directory):  # nothing waits there
        return
    with suppress(OSError):
        private_dir.become_owner_of(directory)
        handle = private_dir.open_file(path_in(directory), os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(handle if os.utime in os.supports_fd else path_in(directory))
        finally:
            os.close(handle)

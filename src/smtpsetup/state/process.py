"""Protection of the secrets in the memory of the process."""

from __future__ import annotations

import os


def forbid_core_dumps() -> None:
    """Keep a crash from writing the memory, and the password in it, to the disk."""
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def use_own_home() -> None:
    """Set HOME to the home of the password database where it is missing, `/`, or another user's (as sudo and at do).

    Files of a program that runs as a daemon would otherwise be looked for, and left, in the wrong place.
    """
    if os.name != "posix":
        return
    home = os.environ.get("HOME", "")
    if home not in ("", "/") and _is_own(home):
        return
    import pwd

    try:
        os.environ["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        os.environ.pop("HOME", None)  # a user that is not in the database


def _is_own(home: str) -> bool:
    try:
        return os.stat(home).st_uid == os.geteuid()
    except OSError:
        return True  # it does not exist yet

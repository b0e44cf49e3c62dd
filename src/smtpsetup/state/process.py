"""Protection of the secrets in the memory of the process."""

from __future__ import annotations

import os
import sys


def forbid_core_dumps() -> None:
    """Keep a crash from writing the memory, and the password in it, to the disk."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def use_own_home() -> None:
    """Set HOME to the home of the password database where it is missing, `/`, or another user's (as sudo and at do).

    Files of a program that runs as a daemon would otherwise be looked for, and left, in the wrong place. A home of
    root's that this user can write to is kept: containers run programs under any user so.
    """
    if sys.platform == "win32":
        return
    home = os.environ.get("HOME", "")
    has_home = home not in ("", "/")
    if has_home and _is_usable(home):
        return
    import pwd

    try:
        own = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        own = ""  # a user that is not in the database
    if os.path.isdir(own):
        os.environ["HOME"] = own
    elif not has_home:
        os.environ.pop("HOME", None)


def _is_usable(home: str) -> bool:
    """Whether a home is this user's, or root's and writable, or does not exist yet."""
    if sys.platform == "win32":
        return True
    try:
        owner = os.stat(home).st_uid
    except OSError:
        return True
    return owner == os.geteuid() or (owner == 0 and os.access(home, os.W_OK))

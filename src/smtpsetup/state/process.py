"""The process itself: its memory, its home and its limits."""

from __future__ import annotations

import os
import sys

_MOST_FILES = 65_536  # enough for anything here; some systems fail with more


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


def raise_file_limit() -> int:
    """Let this process open as many files as it may at all. Returns how many that are."""
    if sys.platform == "win32":
        return _MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted

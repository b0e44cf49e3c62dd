"""What a process that holds secrets owes them."""

from __future__ import annotations

import os


def forbid_core_dumps() -> None:
    """Let no crash leave the memory, and the password in it, on the disk."""
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

"""Protection of the secrets in the memory of the process."""

from __future__ import annotations

import os


def forbid_core_dumps() -> None:
    """Keep a crash from writing the memory, and the password in it, to the disk."""
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

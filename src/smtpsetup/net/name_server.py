"""How hosts are found: the system's way, or by the name server that a person has named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smtpsetup.net.dial import Deadline

if TYPE_CHECKING:
    from smtpsetup.net.dial import LookUp

_SECONDS = 5.0  # for the name of a name server, where it is named by one


def look_up_from_environment() -> LookUp | None:
    """What asks the name server in SMTPSETUP_NAMESERVER; None where none is named, and the system looks hosts up.

    Only then is dnspython loaded.
    """
    if not os.environ.get("SMTPSETUP_NAMESERVER"):
        return None
    from smtpsetup.net.dns import configured_look_up  # 30 ms that most runs need not pay

    return configured_look_up(Deadline(_SECONDS))

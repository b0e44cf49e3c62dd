"""What a running relay leaves for `relay --status`, and how it greets."""

from __future__ import annotations

import os

GREETING = "ESMTP smtpsetup relay"
"""A part of the first line that it sends."""


def running_file(directory: str) -> str:
    """The file in the state directory that says where a relay listens."""
    return os.path.join(directory, "relay.json")

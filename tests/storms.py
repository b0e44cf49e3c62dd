"""How large the storms are: STORM=1, which `make test-all` sets, is the whole of each; `.ci/run` runs a twentieth."""

from __future__ import annotations

import os

STORM = float(os.environ.get("STORM", "0.05"))


def share(whole: int, least: int = 1) -> int:
    """That share of a number of mails, kills or parts, and not less than `least`."""
    return max(least, round(whole * STORM))

"""The form in which an error code is explained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence on what happened, the causes it can have (most likely first), and what to do, in order."""

    message: str
    causes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

"""What a check of `doctor` gives: one finding, and whether it is right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.errors import SmtpsetupError


class FindingStatus(StrEnum):
    """Whether what was checked is right."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of the check of that name. `error` is set for what is wrong, and decides the exit code."""

    check: str
    status: FindingStatus
    message: str
    hints: tuple[str, ...] = ()
    error: SmtpsetupError | None = None


def ok(check: str, message: str) -> Finding:
    """The finding that what was checked is right."""
    return Finding(check, FindingStatus.OK, message)


def warning(check: str, message: str, *hints: str) -> Finding:
    """The finding that what was checked works, but should be changed."""
    return Finding(check, FindingStatus.WARNING, message, hints)


def wrong(check: str, error: SmtpsetupError) -> Finding:
    """The finding that what was checked does not work."""
    return Finding(check, FindingStatus.WRONG, error.message, error.hints, error)

"""The inputs of each target: those that are committed, those that runs have found, and findings."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz import targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

HERE = Path(__file__).parent
COMMITTED = HERE / "corpus"
FOUND = HERE / "found"  # what runs have found new; ignored by git
FINDINGS = HERE / "findings"  # inputs that break a rule, with the command to reproduce; ignored by git
_MOST_FILES = 40  # of a target
_MOST_BYTES = 4096  # of a file that is added
_SOURCE = str(HERE.parents[1] / "src")

Line = tuple[str, int, int]
"""A file, and two of its lines that were executed one after the other."""


def inputs(target: str) -> list[Path]:
    """The committed inputs of a target, by name."""
    return sorted((COMMITTED / target).iterdir())


def keep(target: str) -> int:
    """Add to the committed corpus what was found and executes new code, the smallest first. The number of files added.

    A corpus grows up to 40 files.
    """
    seen: set[Line] = set()
    committed = inputs(target)
    for path in committed:
        seen |= executed(targets.TARGETS[target], path.read_bytes())
    found = sorted((FOUND / target).glob("*"), key=lambda path: (path.stat().st_size, path.name))
    added = 0
    for path in found:
        data = path.read_bytes()
        if len(committed) + added >= _MOST_FILES or len(data) > _MOST_BYTES:
            continue
        lines = executed(targets.TARGETS[target], data)
        if lines <= seen:
            continue
        seen |= lines
        (COMMITTED / target / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]).write_bytes(data)
        added += 1
    return added


def executed(function: Callable[[bytes], None], data: bytes) -> set[Line]:
    """The pairs of lines of src/ that a function executes for an input."""
    found: set[Line] = set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_SOURCE):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            found.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        function(data)
    finally:
        sys.settrace(None)
    return found

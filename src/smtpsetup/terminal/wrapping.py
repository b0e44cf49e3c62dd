"""Line wrapping for a terminal: at spaces, but not inside a command between backticks."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_WORD = re.compile(r"(?:`[^`]*`|\S)+")


def breaks(line: str, width: int, *, hang: int = 0) -> list[int]:
    """The positions in one line of text where new lines begin, if a line has `width` columns.

    Continuation lines are indented by `hang`. A word or command that is too long gets a line of its own, unbroken.
    """
    found: list[int] = []
    start = len(line) - len(line.lstrip(" "))
    room = width - start
    for word in _WORD.finditer(line):
        if word.start() > start and width_of(line[start : word.end()]) > room:
            start, room = word.start(), width - hang
            found.append(start)
    return found


def wrapped(text: str, width: int, *, hang: int | None = None) -> str:
    """The text in lines of at most `width` columns; continuation lines are indented by `hang`, or as their line is."""
    lines: list[str] = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" ")) if hang is None else hang
        starts = [0, *breaks(line, width, hang=indent), len(line)]
        pieces = [line[start:end].rstrip(" ") for start, end in pairwise(starts)]
        lines += [pieces[0], *(" " * indent + piece for piece in pieces[1:])]
    return "\n".join(lines)


def width_of(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )

"""Where lines for a terminal are broken.

At blanks, and inside a command between backticks only where no line has room for it.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_WORD = re.compile(r"(?:`[^`]*`|\S)+")


def breaks(line: str, width: int, *, hang: int = 0) -> list[int]:
    """The places in one line of text where new lines begin, if a line has `width` columns.

    Lines behind the first are indented by `hang`.

    A word or command that is longer than a line stands alone on one, unbroken.
    """
    found: list[int] = []
    start, room = len(line) - len(line.lstrip(" ")), width - (len(line) - len(line.lstrip(" ")))
    for word in _WORD.finditer(line):
        if word.start() > start and width_of(line[start : word.end()]) > room:
            start, room = word.start(), width - hang
            found.append(start)
    return found


def wrapped(text: str, width: int, *, hang: int | None = None) -> str:
    """The text in lines of at most `width` columns.

    Those behind the first of a line are indented by `hang`, or as far as that line is.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" ")) if hang is None else hang
        starts = [0, *breaks(line, width, hang=indent), len(line)]
        pieces = [line[start:end].rstrip(" ") for start, end in pairwise(starts)]
        lines += [pieces[0], *(" " * indent + piece for piece in pieces[1:])]
    return "\n".join(lines)


def width_of(text: str) -> int:
    """How wide a text is on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )

"""What a terminal shows in the end of what was printed to it: lines that were overwritten are gone."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|\r\n|[\r\n]|[^\x1b\r\n]+")


def screen(printed: str) -> list[str]:
    """The lines, without colours. It knows the control sequences that rich and smtpsetup use, and raises for others."""
    lines = [""]
    row = column = 0
    for token in _TOKEN.finditer(printed):
        text, arguments, action = token.group(), token.group(1), token.group(2)
        if text in ("\r\n", "\n"):
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text == "\r":
            column = 0
        elif action == "A":
            row = max(row - int(arguments or 1), 0)
        elif action == "K":
            lines[row] = "" if arguments == "2" else lines[row][:column]
        elif action is None:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        elif action not in ("m", "h", "l"):
            raise AssertionError(repr(text))
    return [line.rstrip() for line in lines]

"""Sentences on a terminal: wrapped at blanks, with their commands unbroken and highlighted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.containers import Lines
from rich.text import Text

from smtpsetup.core.model import plain_text
from smtpsetup.terminal.wrapping import breaks

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, OverflowMethod


class Prose(Text):
    """A text that is broken into lines inside a command only if the command is longer than a line."""

    def pieces(self, width: int, hang: int = 0) -> list[Text]:
        """The lines at `width` columns; all but the first of each paragraph are indented by `hang`."""
        lines: list[Text] = []
        for line in self.split(allow_blank=True):
            for number, piece in enumerate(line.divide(breaks(line.plain, width, hang=hang))):
                piece.rstrip()
                piece.pad_left(hang if number else 0)
                lines.append(piece)
        return lines

    def wrap(  # noqa: PLR0913  rich's signature
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """The lines in a table cell, none of them longer than `width`."""
        lines = Lines()
        for piece in self.pieces(width):
            lines.extend(
                piece.wrap(console, width, justify=justify, overflow=overflow, tab_size=tab_size, no_wrap=no_wrap)
            )
        return lines


def prose(text: str, style: str = "") -> Prose:
    """A sentence with its commands (between backticks) and URLs highlighted, and without control characters."""
    shown = Prose("\n".join(plain_text(line) for line in text.split("\n")), style=style)
    shown.highlight_regex(re.compile(r"`[^`]+`"), "bold cyan")
    shown.highlight_regex(re.compile(r"https?://\S+[^\s.,)]"), "underline cyan")
    return shown


def print_lines(out: Console, text: Prose, *, hang: int = 0) -> None:
    """Print line by line. The terminal itself breaks what is longer than a line, so that it can be copied whole."""
    for piece in text.pieces(out.width, hang):
        out.print(piece, soft_wrap=True)

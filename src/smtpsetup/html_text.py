"""The text of an HTML page, for readers without HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = {"script", "style", "title"}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "blockquote"}
_BREAKS = {**dict.fromkeys(_PARAGRAPHS, "\n\n"), **dict.fromkeys(("div", "tr", "table", "ul", "ol", "br"), "\n"), "li": "\n- ", "td": " "}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0
        self._link = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "a":
            self._link = dict(attrs).get("href") or ""
        else:
            self.parts.append(_BREAKS.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "a" and self._link.startswith(("http:", "https:")):
            self.parts.append(f" <{self._link}>")
            self._link = ""
        elif tag in _PARAGRAPHS:
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of(html: str) -> str:
    """What the page shows: blocks on lines of their own, links with their address behind them."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = "\n".join(line.strip() for line in "".join(reader.parts).splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"

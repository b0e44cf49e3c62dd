"""The text of an HTML page, for mail readers that do not show HTML.

html.parser is not used: after an unclosed tag it scans the rest of the page at every "<", so that its time is
quadratic (github.com/python/cpython/issues/135462). Here the time is linear.
"""

from __future__ import annotations

import re
from html import unescape

_SILENT = {"script", "style", "title"}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "blockquote"}
_BREAKS = {
    **dict.fromkeys(_PARAGRAPHS, "\n\n"),
    **dict.fromkeys(("div", "tr", "table", "ul", "ol", "br"), "\n"),
    "li": "\n- ",
    "td": " ",
}
_PIECE = re.compile(r"""<(/?)([a-zA-Z][^\s<>/]*+)((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>|<([!?])|(<)|([^<]+)""")
_HREF = re.compile(r"""(?:^|[\s"'/])href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
# beyond the last code point; unescape would fail on very long numbers
_TOO_LARGE = re.compile(r"&#[0-9]{8,}+;?|&#[xX][0-9a-fA-F]{7,}+;?")


class _Reader:
    """Collects the text of a page in `parts`, from its tags and what stands between them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._silent = 0
        self._link = ""

    def start(self, tag: str, attributes: str) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "a":
            match = _HREF.search(attributes)
            self._link = _decoded(match[1] or match[2] or match[3] or "") if match else ""
        else:
            self.parts.append(_BREAKS.get(tag, ""))

    def end(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "a" and self._link.startswith(("http:", "https:")):
            self.parts.append(f" <{self._link}>")
            self._link = ""
        elif tag in _PARAGRAPHS:
            self.parts.append("\n\n")

    def text(self, words: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", _decoded(words)))


def text_of(html: str) -> str:
    """The visible text of a page: blocks on lines of their own, links followed by their address."""
    reader = _Reader()
    place = 0
    while match := _PIECE.match(html, place):
        place = match.end()
        slash, tag, attributes, declaration, _less, words = match.groups()
        if declaration:
            place = _end_of_declaration(html, match.start())
        elif not tag:
            reader.text(words or "<")
        elif slash:
            reader.end(tag.lower())
        else:
            reader.start(tag.lower(), attributes)
            if tag.lower() in ("script", "style"):
                end = _ENDS[tag.lower()].search(html, place)
                place = end.start() if end else len(html)
    lines = "\n".join(line.strip() for line in "".join(reader.parts).splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


_ENDS = {tag: re.compile(f"</{tag}", re.IGNORECASE) for tag in ("script", "style")}


def _end_of_declaration(html: str, start: int) -> int:
    """Where a comment or a declaration ends; one without an end takes the rest of the page, as in browsers."""
    end = html.find("-->", start + 2) if html.startswith("<!--", start) else html.find(">", start)
    if end < 0:
        return len(html)
    return end + (3 if html.startswith("<!--", start) else 1)


def _decoded(text: str) -> str:
    return unescape(_TOO_LARGE.sub("\ufffd", text)) if "&" in text else text

"""Lists of addresses as programs write them (RFC 5322 section 3.4).

They may contain display names, comments, groups, and local names such as `root`. `email.utils.getaddresses` silently
drops what it does not understand, and what that is depends on the Python version. Here it is an error.
"""

from __future__ import annotations

from typing import NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text

_SHOWN = 100  # characters of a list that cannot be understood


class Entry(NamedTuple):
    """One entry of an address list, as far as it can be understood: `address` may be a local name such as `root`."""

    name: str
    address: str


def entries(text: str, *, may_be_empty: bool = True) -> list[Entry]:
    """The entries of a list, those of groups included.

    Empty entries are left out, or refused where `may_be_empty` is false: in a script, a variable without a value leaves
    one. Raises SmtpsetupError (`config.address-malformed`) for one that cannot be understood.
    """
    if any(char < " " or char == "\x7f" for char in text):
        raise _not_understood(text)
    found = [_entry(part, comment) for part, comment in _parts(text)]
    if not may_be_empty and None in found:
        raise _not_understood(text)
    return [entry for entry in found if entry]


class _Reader:
    """Splits a list into entries, one character at a time. `parts` has the text of each entry, and its comments.

    The name and the end of a group are not entries.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[str, str]] = []
        self._words: list[str] = []
        self._comment: list[str] = []
        self._depth = 0
        self._is_quoted = self._is_escaped = self._in_brackets = False

    @property
    def is_open(self) -> bool:
        """Whether a quote, a comment or a bracket is still open."""
        return self._is_quoted or self._in_brackets or self._depth > 0

    def take(self, char: str) -> None:
        """Process the next character."""
        if self._is_escaped:
            (self._comment if self._depth else self._words).append(char)
            self._is_escaped = False
        elif self._depth:
            self._take_in_comment(char)
        elif self._is_quoted:
            self._is_escaped, self._is_quoted = char == "\\", char != '"'
            self._words.append(char)
        else:
            self._take_plain(char)

    def _take_in_comment(self, char: str) -> None:
        self._is_escaped = char == "\\"
        self._depth += (char == "(") - (char == ")")
        if not self._is_escaped:
            self._comment.append(char if self._depth else " ")

    def _take_plain(self, char: str) -> None:
        # a parenthesis inside a word is no comment
        is_apart = not self._words or self._words[-1] in ' ">'
        if char == "(" and is_apart:
            self._depth = 1
        elif char in ",;" and not self._in_brackets:
            self.end()
        elif (
            char == ":"
            and self._words
            and self._words[0] != ":"
            and not (self._in_brackets or "[" in self._words or "@" in self._words)
        ):
            self._words.clear()  # what stood there was a group's name
            self._comment.clear()
        else:
            self._is_quoted = char == '"'
            self._in_brackets = char == "<" or (self._in_brackets and char != ">")
            self._words.append(char)

    def end(self) -> None:
        """Finish the current entry."""
        self.parts.append(("".join(self._words), "".join(self._comment)))
        self._words.clear()
        self._comment.clear()


def _parts(text: str) -> list[tuple[str, str]]:
    reader = _Reader()
    for char in text:
        reader.take(char)
    if reader.is_open:
        raise _not_understood(text)
    reader.end()
    return reader.parts


def _entry(part: str, comment: str) -> Entry | None:
    text = part.strip()
    if not text:
        return None
    before, bracket, rest = _at_bracket(text)
    if not bracket:
        if " " in text and not text.startswith('"'):
            raise _not_understood(text)
        return Entry(" ".join(comment.split()), text)
    address, closing, after = rest.partition(">")
    if not closing or after.strip():
        raise _not_understood(text)
    address = address.strip()
    if address.startswith("@") and ":" in address:  # a route, which nobody uses any more (RFC 5322 section 4.4)
        address = address.rpartition(":")[2]
    if not address:
        return None  # <> names nobody
    return Entry(_name(before.strip()), address)


def _at_bracket(text: str) -> tuple[str, str, str]:
    """The text before the first `<` outside quotes, the `<`, and the text after it; without one, all the text first."""
    is_quoted = False
    for place, char in enumerate(text):
        if char == '"' and (place == 0 or text[place - 1] != "\\"):
            is_quoted = not is_quoted
        if char == "<" and not is_quoted:
            return text[:place], "<", text[place + 1 :]
    return text, "", ""


def _name(text: str) -> str:
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        inner, is_escaped = [], False
        for char in text[1:-1]:
            if char == "\\" and not is_escaped:
                is_escaped = True
                continue
            inner.append(char)
            is_escaped = False
        return "".join(inner).strip()
    return text


def _not_understood(text: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.address-malformed",
        _("This is not a list of addresses: {text}").format(text=plain_text(text[:_SHOWN])),
        hints=(_("Write it as name@domain, or Name <name@domain>, with commas between them."),),
        exit_code=EX_DATAERR,
    )

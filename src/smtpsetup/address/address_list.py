"""Lists of addresses as programs write them (RFC 5322 section 3.4).

They may contain display names, comments, groups, and local names such as `root`. `email.utils.getaddresses` silently
drops what it does not understand, and what that is depends on the Python version. Here it is an error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text

# patterns are compiled when they are first used: most lists need none
_BARE = r"[^\s\"<>(),;:@]+@[^\s\"<>(),;:@]+"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"  # RFC 5322 section 3.2.3
_SHOWN = 100  # characters of an entry that cannot be understood


class Entry(NamedTuple):
    """One entry of an address list, as far as it can be understood: `address` may be a local name such as `root`."""

    name: str
    address: str


def entries(text: str, *, may_be_empty: bool = True) -> list[Entry]:
    """The entries of a list, those of groups included.

    Empty entries are left out, or refused where `may_be_empty` is false: in a script, a variable without a value leaves
    one. Raises SmtpsetupError (`config.address-malformed`) for one that cannot be understood.
    """
    found, faults = understood(text)
    if faults:
        raise next(iter(faults.values()))
    if not may_be_empty and (None in found or len(found) != len(_parts(text)[0])):
        raise not_understood(text)
    return [entry for entry in found if entry]


def understood(text: str) -> tuple[list[Entry | None], dict[str, SmtpsetupError]]:
    """The entries of a list, None for empty ones, and the error for each that cannot be understood, by its text."""
    if any(char < " " or char == "\x7f" for char in text):
        return [], {text: not_understood(text)}
    found: list[Entry | None] = []
    faults: dict[str, SmtpsetupError] = {}
    parts, rest = _parts(text)
    for part, comment in parts:
        words = part.split()
        if len(words) > 1 and all(re.fullmatch(_BARE, word) for word in words):  # addresses without commas between them
            found += [Entry("", _plain(word)) for word in words]
            continue
        try:
            found.append(_entry(part, comment))
        except SmtpsetupError as error:
            faults[part.strip()] = error
    if rest:
        faults[rest] = not_understood(rest)
    return found, faults


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
        self._is_past_name = False  # an address or a literal has begun: a colon ends no group's name

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
        if char == "(" and self._words[-1:] != ["$"]:  # $(…) is left of a shell's substitution, and no comment
            self._depth = 1
        elif char in ",;" and not self._in_brackets:
            self.end()
        elif char == ":" and self._words and self._words[0] != ":" and not (self._in_brackets or self._is_past_name):
            self._words.clear()  # what stood there was a group's name
            self._comment.clear()
        else:
            self._is_quoted = char == '"'
            self._in_brackets = char == "<" or (self._in_brackets and char != ">")
            self._is_past_name = self._is_past_name or char in "[@"
            self._words.append(char)

    def end(self) -> None:
        """Finish the current entry."""
        self.parts.append(("".join(self._words), "".join(self._comment)))
        self._is_past_name = False
        self._words.clear()
        self._comment.clear()


def _parts(text: str) -> tuple[list[tuple[str, str]], str]:
    """The entries with their comments, and the rest from an entry on whose quote, comment or bracket has no end."""
    reader = _Reader()
    start = 0
    for place, char in enumerate(text):
        count = len(reader.parts)
        reader.take(char)
        start = place + 1 if len(reader.parts) > count else start
    if reader.is_open:
        return reader.parts, text[start:].strip()
    reader.end()
    return reader.parts, ""


def _entry(part: str, comment: str) -> Entry | None:
    text = part.strip()
    if not text:
        return None
    before, bracket, rest = _at_bracket(text)
    if not bracket:
        if " " in text and not text.startswith('"'):
            raise not_understood(text)
        return Entry(" ".join(comment.split()), _plain(text))
    address, closing, after = rest.partition(">")
    if not closing or after.strip():
        raise not_understood(text)
    address = address.strip()
    if address.startswith("@") and ":" in address:  # a route, which nobody uses any more (RFC 5322 section 4.4)
        address = address.rpartition(":")[2]
    if not address:
        return None  # <>, which is nobody
    return Entry(_name(before.strip()), _plain(address))


def _plain(address: str) -> str:
    """An address without quotes that its local part does not need, and without a dot at the end of its domain."""
    local, at, domain = address.rpartition("@")
    if '"' in local:
        local = re.sub(_QUOTED, _without_quotes, local)
    return local + at + (domain.removesuffix(".") if at else domain)


def _without_quotes(quoted: re.Match[str]) -> str:
    words = re.sub(r"\\(.)", r"\1", quoted[1])
    return words if re.fullmatch(_ATOMS, words) else quoted[0]


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


def not_understood(text: str) -> SmtpsetupError:
    """The error for a text that is not a list of addresses."""
    return SmtpsetupError(
        "config.address-malformed",
        _("This is not a list of addresses: {text}").format(text=plain_text(text[:_SHOWN])),
        hints=(_("Write it as name@domain, or Name <name@domain>, with commas between them."),),
        exit_code=EX_DATAERR,
    )

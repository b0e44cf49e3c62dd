"""A rule that maps failures to an error code, and the advice that it may have of its own."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from smtpsetup.core.failure import Failure, Kind, Reply
from smtpsetup.core.model import Stage

TRANSACTION = (Stage.MAIL, Stage.RCPT, Stage.DATA)
_MAX_SEARCHED = 2000  # characters of a reply: patterns on a longer text would take too long

# names, mail addresses and URLs may contain any word; "Recipient address rejected" is only the place where Postfix
# says what follows
_NO_WORDS = re.compile(
    r"<[^<>\s]*>|https?://\S+|\S+@\S+|\[[^\]\s]*\]|^[\w-]+(\.[\w-]+)+|recipient address rejected:?", re.IGNORECASE
)


class Advice(NamedTuple):
    """Causes and hints that replace those of an Explanation; `""` leaves the one who can fix it as there."""

    causes: tuple[str, ...]
    hints: tuple[str, ...]
    responsible: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule fits a failure if every condition that is set is met.

    `codes` are reply codes or their first digits. `enhanced`, `phrase` and `link` are patterns for the enhanced status
    code, the words of the text, and the whole text with its addresses. `is_unknown` requires that the message may
    have been accepted. With `only_offered`, the server must offer no SASL mechanisms but these. `advice` is what the
    rule knows better than the Explanation of its code.
    """

    error: str
    stages: tuple[Stage, ...] = ()
    kind: Kind = Kind.REPLY
    codes: tuple[int, ...] = ()
    enhanced: str = ""
    phrase: str = ""
    link: str = ""
    is_unknown: bool = False
    ports: tuple[int, ...] = ()
    only_offered: tuple[str, ...] = ()
    advice: Advice | None = None

    @property
    def is_by_words(self) -> bool:
        """Whether the server's words decide, not codes alone."""
        return bool(self.phrase or self.link)

    def fits(self, failure: Failure) -> bool:
        """Whether this rule applies to a failure."""
        if (
            self.kind is not failure.kind
            or (self.stages and failure.stage not in self.stages)
            or self.is_unknown > failure.is_unknown
        ):
            return False
        if (self.ports and failure.server.port not in self.ports) or (
            self.only_offered and not set(failure.offered) <= set(self.only_offered)
        ):
            return False
        if failure.reply is None:
            return not (self.codes or self.enhanced or self.is_by_words)
        return self._fits_reply(failure.reply)

    def _fits_reply(self, reply: Reply) -> bool:
        if self.codes and not any(str(reply.code).startswith(str(code)) for code in self.codes):
            return False
        if self.enhanced and not re.fullmatch(self.enhanced, reply.enhanced):
            return False
        if self.link and not re.search(self.link, reply.text[:_MAX_SEARCHED]):
            return False
        return not self.phrase or re.search(self.phrase, _searchable(reply.text), re.IGNORECASE) is not None


def words(*alternatives: str) -> str:
    """A pattern that fits where one of the alternatives does."""
    return "|".join(alternatives)


@functools.lru_cache(maxsize=2)  # many rules search the same text
def _searchable(text: str) -> str:
    """The text on one line, without what may contain any word."""
    line = " ".join(text[:_MAX_SEARCHED].split())
    return " ".join(_NO_WORDS.sub("", line).split())

"""What an error code means, whatever the account: for `smtpsetup explain` and the documents."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import DOCUMENTATION
from smtpsetup.core.exit_codes import EX_TEMPFAIL, EXIT_CODES
from smtpsetup.core.i18n import gettext as _
from smtpsetup.diagnosis.advice import AFTER_LOGIN
from smtpsetup.diagnosis.explanation import EXPLAINED
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.raised_explanations import RAISED
from smtpsetup.diagnosis.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping


class Meaning(NamedTuple):
    """An error code: what happened, its possible causes, and what to do, in order; `responsible` can mend it.

    `instead` has causes and steps that fit better where the server's words or the login say more.
    """

    code: str
    exit_code: int
    text: str
    causes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    responsible: str = ""

    @property
    def stage(self) -> str:
        """The stage, or another part before the dot (docs/errors.md)."""
        return self.code.partition(".")[0]

    @property
    def may_be_retried(self) -> bool:
        """Whether the same call may work later."""
        return self.exit_code == EX_TEMPFAIL


def meaning_of(code: str) -> Meaning:
    """The meaning of an error code, in the user's language. Raises KeyError for an unknown one."""
    exit_code = EXIT_CODES[code]
    explanation = EXPLANATIONS.get(code)
    if explanation is None:
        return Meaning(code, exit_code, _(RAISED[code]))
    words = _words()
    advice = dict.fromkeys(rule.advice for rule in RULES if rule.error == code and rule.advice)
    advice |= dict.fromkeys([AFTER_LOGIN[code]] if code in AFTER_LOGIN else [])
    text = _(explanation.message).format_map(words)
    return Meaning(
        code,
        exit_code,
        text[:1].upper() + text[1:],
        tuple(_(cause).format_map(words) for cause in explanation.causes),
        tuple(_(EXPLAINED.get(hint, hint)).format_map(words) for hint in explanation.hints),
        tuple(" ".join(_(part).format_map(words) for part in (*one.causes, *one.hints)) for one in advice),
        _(explanation.responsible),
    )


def _words() -> Mapping[str, object]:
    """What stands for the values of a single failure."""
    return collections.defaultdict(
        lambda: "…",
        {
            "server": _("the server"),
            "host": _("HOST"),
            "port": _("PORT"),
            "username": _("ADDRESS"),
            "domain": _("the domain"),
            "account": _("ACCOUNT"),
            "address": _("ADDRESS"),
            "sender": _("the sender"),
            "recipient": _("the recipient"),
            "configure": "smtpsetup configure " + _("ADDRESS"),
            "sign_in": "smtpsetup login " + _("ACCOUNT"),
            "docs": DOCUMENTATION,
        },
    )

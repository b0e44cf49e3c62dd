"""The findings of `doctor`, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import plain_text
from smtpsetup.render.human import fields, say, show
from smtpsetup.render.prose import prose
from smtpsetup.setup.findings import FindingStatus

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.setup.findings import Finding

_STYLES = {FindingStatus.OK: "green", FindingStatus.WARNING: "yellow", FindingStatus.WRONG: "bold red"}


def title(account: Account) -> None:
    """Print the name of the account that the findings below are about."""
    show(Group(Text(), Text(plain_text(account.name), style="bold")))


def finding(one: Finding) -> None:
    """Print a finding and, below it, what to change."""
    words = {FindingStatus.OK: _("ok"), FindingStatus.WARNING: _("warning"), FindingStatus.WRONG: _("wrong")}
    width = max(len(word) for word in words.values())
    show(fields([(Text(words[one.status].ljust(width), style=_STYLES[one.status]), prose(one.message))]))
    for hint in one.hints:
        say(f"  {hint}", hang=2)


def summary(findings: list[Finding]) -> None:
    """Print whether anything is wrong."""
    wrong = sum(one.status is FindingStatus.WRONG for one in findings)
    warnings = sum(one.status is FindingStatus.WARNING for one in findings)
    if wrong:
        text = ngettext("{n} thing is wrong.", "{n} things are wrong.", wrong).format(n=wrong)
    elif warnings:
        text = ngettext(
            "It will work; {n} thing could be better.", "It will work; {n} things could be better.", warnings
        ).format(n=warnings)
    else:
        text = _("All is well.")
    show(Group(Text(), prose(text, "bold")))

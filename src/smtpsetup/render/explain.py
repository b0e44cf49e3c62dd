"""The result of `explain`, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.render.human import bullets, fields, indented, show
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.diagnosis.meaning import Meaning


def meaning(found: Meaning, command: str | None) -> None:
    """Print what a code means; `command` shows the error, None where none can."""
    parts: list[RenderableType] = [Text(found.code, style="bold"), prose(found.text)]
    if found.causes:
        title = ngettext("Cause:", "Possible causes:", len(found.causes))
        parts += [Text(), Text(title), indented(bullets("•", found.causes))]
    if found.steps:
        parts += [Text(), Text(_("What to do:")), indented(bullets("{number}.", found.steps))]
    if found.instead:
        parts += [
            Text(),
            prose(_("If the server's words or the login say more, it is one of these instead:")),
            indented(bullets("•", found.instead)),
        ]
    later = _("{n}: the same command may work later") if found.may_be_retried else "{n}"
    rows: list[tuple[RenderableType, RenderableType | None]] = [
        (_("Exit code"), later.format(n=found.exit_code)),
        (_("Who can change it:"), found.responsible or None),
        (_("See it"), prose(f"`{command}`") if command else None),
    ]
    show(Group(*parts, Text(), fields(rows)))


def codes(listed: list[Meaning]) -> None:
    """Print every code with the beginning of what it means."""
    show(fields([(one.code, prose(one.text)) for one in listed]))
    show(Group(Text(), prose(_("More of one: `smtpsetup explain CODE`."))))

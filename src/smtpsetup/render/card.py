"""The result of `card`, for people: each field on a line of its own, so that its value can be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.relay.card import PROVIDER, RELAY
from smtpsetup.render.human import indented, say, show
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from smtpsetup.relay.card import Card, Line


def card(found: Card) -> None:
    """Print the fields of the form, first those for the relay."""
    here = _("For a program on this machine, through the relay")
    network = _("For a program on this machine or in its network, through the relay")
    titles = {
        RELAY: network if found.is_for_network else here,
        PROVIDER: _("For a program that runs anywhere, at the provider directly"),
    }
    for kind, title in titles.items():
        lines = [line for line in found.lines if line.card == kind]
        if not lines:
            continue
        show(Group(Text(title, style="bold"), indented(form(lines)), Text()))
    for remark in (*found.start, *found.remarks):
        say(remark)


def form(lines: list[Line]) -> Table:
    """Fields, each on a line: its name, what to fill in, and a remark."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold", style="bold")
    table.add_column(overflow="fold", style="dim")
    for line in lines:
        table.add_row(line.label, Text(plain_text(line.value)), prose(line.note))
    return table

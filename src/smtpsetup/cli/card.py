"""`smtpsetup card`."""

from __future__ import annotations

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click, client_names
from smtpsetup.cli.open_outbox import state_directory
from smtpsetup.cli.relay_place import choose_place, system_option
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay import clients
from smtpsetup.relay.card import Subject, card
from smtpsetup.relay.status import where


@click.command(
    "card",
    cls=Command,
    help=_(
        "What to enter in a program's mail settings, field by field: for the relay, and for the provider where it "
        "takes a password."
    ),
    short_help=_("What to enter in a program's mail settings."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"), shell_complete=by_click(account_names))
@click.option(
    "--client",
    metavar=_("NAME"),
    shell_complete=by_click(client_names),
    help=_("For this client of the relay (default: the only one)."),
)
@system_option
@common_options
def card_command(state: State, account: str | None, client: str | None, system: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Show the fields."""
    choose_place(state, is_system=system)
    known = clients.load(state_directory())
    chosen = clients.found(known, client) if client else next(iter(known.values())) if len(known) == 1 else None
    named = account or (chosen.account if chosen else "") or None
    found = card(Subject(state.config().account(named), chosen, tuple(known)), where(state_directory()))
    state.output(lambda: views.relay_json.card(found), lambda: views.card.card(found))

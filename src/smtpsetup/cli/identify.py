"""`smtpsetup identify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.state import State, common_options
from smtpsetup.i18n import gettext as _
from smtpsetup.workflows.identify import UnknownDomainError, identify, without_smtp

if TYPE_CHECKING:
    from smtpsetup.workflows.identify import Identification


@click.command("identify", help=_("Say who runs an address's mail, which server to use and what to switch on first."))
@click.argument("address")
@click.option("--offline", is_flag=True, expose_value=False, help=_("Use the provider table alone. This version always does."))
@common_options
@click.pass_obj
def identify_command(state: State, address: str) -> None:
    """Parse, identify, render."""
    found = find(state, address)
    error = without_smtp(found)
    if state.json:
        view = views.json.identification(found)
        if error is None:
            state.write_json(view)
            return
        error.result = view
    else:
        views.human.identification(found)
    if error:
        raise error


def find(state: State, address: str) -> Identification:
    """Identify an address; for a slip of the keyboard, ask a person whether the domain next to it was meant."""
    table = state.table()
    try:
        return identify(address, table)
    except UnknownDomainError as error:
        if error.suggestion is None or not state.may_ask:
            raise
        if not confirm(_("Did you mean {address}?").format(address=error.suggestion), default=True):
            raise
        return identify(error.suggestion, table)

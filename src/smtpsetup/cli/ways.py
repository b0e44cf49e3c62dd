"""The menu of `configure` for a provider that takes no password from mail programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import ask_number, confirm
from smtpsetup.core.exit_codes import EX_NOPERM
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import ProviderStatus
from smtpsetup.setup.ways import WayKind, ways_for

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.cli.state import State
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.providers.row import Provider


def offer_ways(state: State, address: Address, provider: Provider, needed: SmtpsetupError | None = None) -> bool:
    """Let a person choose how to send from there. Returns whether they stay with the provider.

    False where no person can be asked or there is nothing to choose. Once another way has been explained, raises
    click's Exit with the exit code of `needed`, the error for doing without a choice; also raises DeclinedError.
    """
    ways = ways_for(provider, is_own_domain=state.table().by_domain(address.domain) != provider)
    if not ways or not state.may_ask or state.json:
        return False
    if provider.needs_paid_plan:
        text = _("{provider} lets other programs send on a paid plan only. What works today:")
    elif provider.status is ProviderStatus.UNAVAILABLE:
        text = _("Other programs cannot send through {provider}. What works today:")
    else:
        text = _("{provider} takes no password from other programs. What works today:")
    views.human.note("\n" + text.format(provider=provider.name))
    for number, way in enumerate(ways, start=1):
        views.human.note(f"  {number}. {way.text} ({way.effort}).", hang=5)
    question = _("Which one? (1-{n}, Enter to stop)").format(n=len(ways))
    chosen = ask_number(question, len(ways))
    _explain(state, provider, ways[chosen - 1].kind, needed.exit_code if needed else EX_NOPERM)
    return True


def _explain(state: State, provider: Provider, kind: WayKind, exit_code: int) -> None:
    """Say how to go the way; raise click's Exit where it leads to another address."""
    if kind is WayKind.RELAY:
        views.human.note(_("Sign in first. At the end you are told how the program gets its access."))
    elif kind is WayKind.PAID_PLAN:
        views.human.steps(provider.enable_steps)
        if not confirm(_("Is that done?"), default=False):
            views.human.note(_("Come back when it is: the same command goes on from here."))
            raise click.exceptions.Exit(exit_code)
    elif kind is WayKind.OWN_DOMAIN:
        views.human.steps(
            (
                _("Order a domain and a mailbox at one of these hosts."),
                _("Then come back: `smtpsetup configure info@YOUR-DOMAIN`."),
            )
        )
    elif kind is WayKind.GMAIL:
        gmail = state.table().by_name("gmail")
        views.human.steps(
            (
                _("Make an address at https://accounts.google.com/signup. Recipients see it as the sender."),
                *(gmail.enable_steps[:2] if gmail else ()),
                _("Then come back: `smtpsetup configure NAME@gmail.com`, and enter the app password."),
            )
        )
    if kind in (WayKind.OWN_DOMAIN, WayKind.GMAIL):
        raise click.exceptions.Exit(exit_code)

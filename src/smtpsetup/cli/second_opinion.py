"""What the owner of a domain says about its server, asked after a refused login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.cli.identify import config_allows_ispdb

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.providers.table import Provider

_SECONDS = 5.0


def ask_owner_of(state: State, account: Account, provider: Provider | None) -> Callable[[], Candidate | None] | None:
    """The question to the owner of the account's domain; None where the provider's row is recent and well supported."""
    address = parse_address(account.address)
    if provider is None or not provider.deserves_second_opinion or state.table().by_domain(address.domain) != provider:
        return None

    def ask() -> Candidate | None:
        from smtpsetup.setup.discover import owners_word  # needed after a refused login only

        return owners_word(address, provider, state.table(), seconds=_SECONDS, ask_ispdb=config_allows_ispdb(state))

    return ask

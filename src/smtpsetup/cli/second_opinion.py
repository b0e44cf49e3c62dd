"""What the owner of a domain says about its server, asked after a refused login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.cli.identify import Search, config_allows_ispdb

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.providers.row import Provider

_SECONDS = 5.0


def ask_owner_of(
    state: State, account: Account, provider: Provider | None, search: Search | None = None
) -> Callable[[], Candidate | None] | None:
    """The question to the owner of the account's domain, within the limits of `search`.

    None where nobody may be asked, or the provider's row is recent and well supported.
    """
    address = parse_address(account.address)
    if search and search.offline:
        return None
    if provider is None or not provider.deserves_second_opinion or state.table().by_domain(address.domain) != provider:
        return None

    def ask() -> Candidate | None:
        from smtpsetup.setup.discover import owners_word  # needed after a refused login only

        ask_ispdb = (search is None or search.ask_ispdb) and config_allows_ispdb(state)
        return owners_word(address, provider, state.table(), seconds=_SECONDS, ask_ispdb=ask_ispdb)

    return ask

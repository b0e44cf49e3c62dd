"""The table of providers as it is on this machine today, and who of them runs an account's server."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from smtpsetup.address.hosts import is_loopback
from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.providers.table import Table

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.providers.table import Provider


def table_of_today() -> Table:
    """The table, with a person's own rows."""
    return Table(datetime.datetime.now(datetime.UTC).astimezone().date(), own_files=paths.own_provider_tables())


def provider_of(account: Account) -> Provider | None:
    """Who runs the account's server: by the provider's id, else by the server's host.

    None for a server on this machine that no row is named for.

    Raises SmtpsetupError where a table of the person's own cannot be used.
    """
    if account.provider:
        return table_of_today().by_id(account.provider)
    host = account.server.host
    return None if is_loopback(host) else table_of_today().by_server_host(host, account.address.rpartition("@")[2])


def known_provider(account: Account) -> Provider | None:
    """As `provider_of`.

    A broken table of the person's own must not hide what became of a mail: then nobody is known.
    """
    try:
        return provider_of(account)
    except SmtpsetupError:
        return None

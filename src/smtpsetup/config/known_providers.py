"""The provider table of this machine, and the provider of an account."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from smtpsetup.address.hosts import is_loopback
from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import TransportKind
from smtpsetup.providers.table import Table

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.providers.row import Provider


def table_of_today() -> Table:
    """The provider table as of today, with the rows of the system and the user."""
    return Table(datetime.datetime.now(datetime.UTC).astimezone().date(), own_files=paths.own_provider_tables())


_ROWS_OF_APIS = {TransportKind.GRAPH: "microsoft365", TransportKind.GMAIL: "google-workspace"}


def row_of_api(kind: TransportKind, domain: str = "") -> Provider | None:
    """The provider whose API a transport is: the one that runs the domain, else the one for domains of one's own.

    None for SMTP. Raises SmtpsetupError as `provider_of`.
    """
    if kind is TransportKind.SMTP:
        return None
    table = table_of_today()
    row = table.by_domain(domain) if domain else None
    return row if row and row.api and row.api.transport is kind else table.by_id(_ROWS_OF_APIS[kind])


def provider_of(account: Account) -> Provider | None:
    """The provider of an account's server, by its id in the account or else by the host of the server.

    None if it is not known. Raises SmtpsetupError if a provider table of the system or the user has a fault.
    """
    if account.provider:
        return table_of_today().by_id(account.provider)
    if account.transport is not TransportKind.SMTP:
        return row_of_api(account.transport, account.address.rpartition("@")[2])
    host = account.server.host
    return None if is_loopback(host) else table_of_today().by_server_host(host, account.address.rpartition("@")[2])


def known_provider(account: Account) -> Provider | None:
    """As `provider_of`, but None if a provider table has a fault, which must not hide the result of a mail."""
    try:
        return provider_of(account)
    except SmtpsetupError:
        return None

"""The settings to use: what is known, overridden by what the user gave. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.core.model import Auth, Server
from smtpsetup.providers.settings import DEFAULT_PORTS, servers_for, username_for, usual_security

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.core.model import Security
    from smtpsetup.providers.row import Provider


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings that the user gave; for those that are None the provider's row decides."""

    host: str | None = None
    port: int | None = None
    security: Security | None = None
    username: str | None = None
    auth: Auth | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about an address: servers and authentication best first; `username` is None if it is not known."""

    servers: tuple[Server, ...]
    username: str | None
    auth: tuple[Auth, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings; None for those that only the user knows."""

    server: Server | None
    username: str | None
    auth: Auth


def known_for(address: Address, provider: Provider | None) -> Known:
    """What the provider's row says of an address; without a row, what is usual."""
    username, _note = username_for(address, provider)
    return Known(servers_for(address, provider) if provider else (), username, provider.auth if provider else ())


def propose(known: Known, typed: Overrides) -> Proposal:
    """The settings to use: those given, then those known, then the usual ones (RFC 8314 section 3)."""
    auth = typed.auth or next(iter(known.auth), Auth.PASSWORD)
    username = known.username if typed.username is None else typed.username
    return Proposal(_server(known.servers, typed), "" if auth is Auth.NONE else username, auth)


def _server(known: tuple[Server, ...], typed: Overrides) -> Server | None:
    fits = [
        server
        for server in known
        if typed.host in (None, server.host)
        and typed.port in (None, server.port)
        and typed.security in (None, server.security)
    ]
    if fits:
        return fits[0]
    host = typed.host or (known[0].host if known else None)
    if host is None:
        return None
    security = typed.security or usual_security(typed.port)
    return Server(host, typed.port or DEFAULT_PORTS[security], security)

"""From what is known and what was typed to the settings to use. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.core.model import Auth, Server
from smtpsetup.providers.settings import DEFAULT_PORTS, servers_for, username_for, usual_security

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.core.model import Security
    from smtpsetup.providers.table import Provider


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person typed: every part may be missing, and then the provider's row decides."""

    host: str | None = None
    port: int | None = None
    security: Security | None = None
    username: str | None = None
    auth: Auth | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about sending from an address before anything is typed: servers and proofs best first.

    None where only the person can say.
    """

    servers: tuple[Server, ...]
    username: str | None
    username_note: str
    auth: tuple[Auth, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings as far as they are known; None where only the person can say."""

    server: Server | None
    username: str | None
    username_note: str
    auth: Auth


def known_for(address: Address, provider: Provider | None) -> Known:
    """What the provider's row says; without one, what is usual."""
    username, note = username_for(address, provider)
    return Known(servers_for(address, provider) if provider else (), username, note, provider.auth if provider else ())


def propose(known: Known, typed: Overrides) -> Proposal:
    """The settings to use: what was typed wins, then what is known, then the usual values (RFC 8314 section 3)."""
    username, note = known.username, known.username_note
    auth = typed.auth or next(iter(known.auth), Auth.PASSWORD)
    if typed.username is not None:
        username, note = typed.username, ""
    if auth is Auth.NONE:
        username, note = "", ""
    return Proposal(_server(known.servers, typed), username, note, auth)


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

"""The parts of a planned small internet: addresses, domains with their records and pages, settings files, the zone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

WEB = "185.20.10.1"
SILENT = "185.20.10.2"
EMPTY = "185.20.10.3"
GOOD, NO_AUTH, STRIPPED, WRONG_NAME, EXPIRED, UNKNOWN_CA, CLEAR_LOGIN, MUTE, ONLY_587, TOKENS_ONLY, SLOW, REFUSING = (
    f"185.20.10.{n}" for n in range(11, 23)
)
SMTP: dict[str, dict[str, Any]] = {
    GOOD: {},
    NO_AUTH: {"auth": ""},
    STRIPPED: {"no_starttls": True, "ports": [587]},
    WRONG_NAME: {"certificate": "wrong-name"},
    EXPIRED: {"certificate": "expired"},
    UNKNOWN_CA: {"certificate": "unknown-ca"},
    CLEAR_LOGIN: {"no_starttls": True, "auth_in_clear": True, "auth": "LOGIN", "ports": [587]},
    MUTE: {"silent": True},
    ONLY_587: {"ports": [587]},
    TOKENS_ONLY: {"auth": "XOAUTH2 OAUTHBEARER"},
    SLOW: {"slow": 0.6},
    REFUSING: {"password_ok": False},
}
XML = "/mail/config-v1.1.xml"
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
JSON = "/.well-known/user-agent-configuration.json"


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    security: str
    username: str = "%EMAILADDRESS%"
    auth: str = "password-cleartext"


def autoconfig(*servers: Server) -> str:
    """A settings file of the autoconfig format."""
    inner = "".join(
        f"<outgoingServer "
        f'type="smtp"><hostname>{one.host}</hostname><port>{one.port}</port><socketType>{one.security}</socketType>'
        f"<username>{one.username}</username><authentication>{one.auth}</authentication></outgoingServer>"
        for one in servers
    )
    incoming = (
        "<incomingServer "
        'type="imap"><hostname>imap.example.net</hostname><port>993</port><socketType>SSL</socketType></incomingServer>'
    )
    return (
        f'<?xml version="1.0"?><clientConfig version="1.1"><emailProvider '
        f'id="x"><domain>x</domain>{incoming}{inner}</emailProvider></clientConfig>'
    )


def pacc(host: str, **more: Any) -> str:
    """A PACC document."""
    return json.dumps(
        {
            "protocols": {"submit": {"host": host}},
            "authentication": {"password": True, **more},
            "info": {"provider": {"name": "X"}},
        }
    )


def digest(body: str) -> str:
    """The text of the DNS record for a document."""
    return f"v=UAAC1; a=sha256; d={base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}"


@dataclass(frozen=True)
class Domain:
    """A domain's records (names below it, `@` for itself), web pages by host label and path, and its right answer."""

    name: str
    records: tuple[str, ...]
    answer: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)


def found(
    source: str, server: str, *, provider: str | None = None, confirm: bool = False, **more: Any
) -> dict[str, Any]:
    """The right answer, `server` as host:port."""
    return {"exit": 0, "source": source, "server": server, "provider": provider, "confirm": confirm, **more}


def failed(exit_code: int, code: str) -> dict[str, Any]:
    """The right error."""
    return {"exit": exit_code, "code": code}


def page(body: str, **more: Any) -> dict[str, Any]:
    """A web page."""
    return {"body": body, **more}


def mx(*hosts: str) -> tuple[str, ...]:
    """MX records, the first the most preferred."""
    return tuple(f"@ MX {10 * number} {host}." for number, host in enumerate(hosts, start=1))


def at_provider(name: str, host: str, provider: str, server: str, *extra: str, **more: Any) -> Domain:
    """A domain whose MX points to a provider of the table."""
    return Domain(name, (*mx(host), f"@ A {WEB}", *extra), found("mx", server, provider=provider, confirm=True, **more))


def with_pacc(name: str, body: str, *texts: str, answer: dict[str, Any], exchange: str = "") -> Domain:
    """A domain with that PACC document and those TXT records, by default the one with its digest."""
    announced = (f'_ua-auto-config TXT "{text}"' for text in texts or (digest(body),))
    records = (*mx(exchange or f"mx.{name}"), f"ua-auto-config A {WEB}", *announced)
    return Domain(name, records, answer, {"ua-auto-config": {JSON: page(body)}})


def own_file(
    name: str, *servers: Server, host: str = "autoconfig", path: str = XML
) -> dict[str, dict[str, dict[str, Any]]]:
    """Pages with a domain's own settings file."""
    return {host: {path: page(autoconfig(*servers))}}


def zone(domains: tuple[Domain, ...], elsewhere: tuple[str, ...]) -> str:
    """The root zone with all of them."""
    lines = ["$TTL 60", "@ IN SOA a.root. b.root. 1 3600 600 86400 60", "@ IN NS a.root.", "a.root. IN A 127.0.0.1"]
    for domain in domains:
        for record in domain.records:
            name, rest = record.split(" ", 1)
            lines.append(f"{domain.name if name == '@' else f'{name}.{domain.name}'}. IN {rest}")
    lines += [f"{name} IN {rest}" for name, rest in (record.split(" ", 1) for record in elsewhere)]
    return "\n".join([*lines, ""])


def world(
    domains: tuple[Domain, ...],
    elsewhere: tuple[str, ...],
    elsewhere_pages: dict[str, Any],
    **changes: Any,
) -> dict[str, Any]:
    """The plan from which `world.py` builds. The names and pages elsewhere belong to none of the domains."""
    pages = dict(elsewhere_pages)
    certificates: dict[str, str] = {}
    for domain in domains:
        pages |= {f"{label}.{domain.name}".lstrip("."): paths for label, paths in domain.pages.items()}
        certificates |= {f"{label}.{domain.name}".lstrip("."): kind for label, kind in domain.certificates.items()}
    return {
        "zone": zone(domains, elsewhere),
        "web": [WEB],
        "silent": [SILENT],
        "empty": [EMPTY],
        "smtp": SMTP,
        "pages": pages,
        "certificates": certificates,
        "nameserver": "127.0.0.1",
        "delay": 0,
        "dns_behaviour": {},
        **changes,
    }

"""Validation of every source's settings: hosts, ports and login names that can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.address.address import InvalidDomainError, domain_forms
from smtpsetup.address.hosts import is_loopback
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server, plain_text

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.core.model import Auth

_HIGHEST_PORT = 65535
_RELAY_PORT = 25
_SHOWN = 80  # characters of an invalid host
_USERNAME_CHARACTERS = 320  # RFC 3696 section 3: 64 + 1 + 255


class UnusableError(ValueError):
    """A setting that must not be used; the message is for people."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One server as a source names it. `username` is None and `auth` empty if the source does not say."""

    server: Server
    username: str | None = None
    auth: tuple[Auth, ...] = ()


def server_named(host: str, port: int, security: Security) -> Server:
    """A server on the internet, with TLS and a port other than 25. Raises UnusableError for any other."""
    shown = plain_text(host[:_SHOWN])
    try:
        name = domain_forms(host.strip().rstrip("."))[0]
    except InvalidDomainError as error:
        raise UnusableError(_("{host} is not a host: {reason}").format(host=shown, reason=error.reason)) from error
    last = name.rpartition(".")[2]
    if "." not in name or last.isdigit() or last == "localhost" or is_loopback(name):
        raise UnusableError(_("{host} is not the name of a host on the internet").format(host=shown))
    if port == _RELAY_PORT:
        raise UnusableError(_("{host}: port 25 is for mail between servers").format(host=shown))
    if not 0 < port <= _HIGHEST_PORT:
        raise UnusableError(_("{host}: there is no port {port}").format(host=shown, port=port))
    if security is Security.NONE:
        raise UnusableError(_("{host}: a password would cross the network in the clear").format(host=shown))
    return Server(name, port, security)


def filled(text: str, address: Address, *, in_host: bool = False) -> str:
    """Replace the autoconfig format's placeholders by the address. Raises UnusableError for an invalid login name."""
    domain = address.domain if in_host else address.unicode_domain
    placeholders = {"%EMAILDOMAIN%": domain}
    if not in_host:
        placeholders |= {"%EMAILADDRESS%": f"{address.mailbox}@{domain}", "%EMAILLOCALPART%": address.mailbox}
    for placeholder, value in placeholders.items():
        text = text.replace(placeholder, value)
    if not in_host and (not text.isprintable() or len(text) > _USERNAME_CHARACTERS):
        raise UnusableError(
            _("the login name {name} cannot be one").format(name=plain_text(text[:_USERNAME_CHARACTERS]))
        )
    return text


def best_first(settings: list[Setting]) -> list[Setting]:
    """Implicit TLS before STARTTLS (RFC 8314 section 3), otherwise in the source's order."""
    return sorted(settings, key=lambda setting: setting.server.security is not Security.TLS)

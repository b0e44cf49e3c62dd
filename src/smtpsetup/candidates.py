"""From an address, a provider and what the person typed to the settings to use. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpsetup.addresses import InvalidDomainError, domain_forms
from smtpsetup.i18n import gettext as _
from smtpsetup.model import Security, Server

if TYPE_CHECKING:
    from smtpsetup.addresses import Address
    from smtpsetup.providers import Provider

DEFAULT_PORTS = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}
_IPV4 = r"\d{1,3}(\.\d{1,3}){3}"


class InvalidHostError(ValueError):
    """A host that cannot be one; the message is for people."""


def checked_host(text: str) -> str:
    """A server's host as typed by a person: a domain name (returned as A-labels) or an IP address. Raises InvalidHostError."""
    host = text.strip().rstrip(".").strip("[]")
    if not host:
        raise InvalidHostError(_("The host is empty."))
    if "://" in host or "/" in host:
        raise InvalidHostError(_("{host} is a web address. A host has no scheme and no slash, for example send.one.com.").format(host=host))
    if any(char.isspace() for char in host):
        raise InvalidHostError(_("There is a space in the host {host}.").format(host=host))
    if "@" in host:
        raise InvalidHostError(_("{host} is a mail address; the host is the name of the server.").format(host=host))
    if host.count(":") == 1:
        name, _colon, port = host.partition(":")
        raise InvalidHostError(_("Give the host and the port apart: --host {host} --port {port}.").format(host=name, port=port))
    if ":" in host or re.fullmatch(_IPV4, host):
        return _checked_ip(host)
    try:
        return domain_forms(host)[0]
    except InvalidDomainError as error:
        raise InvalidHostError(_("{host} is not a host: {reason}.").format(host=host, reason=error.reason)) from error


def _checked_ip(host: str) -> str:
    import ipaddress  # only for hosts given as an IP address

    try:
        return str(ipaddress.ip_address(host))
    except ValueError as error:
        raise InvalidHostError(_("{host} is not an IP address.").format(host=host)) from error


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address alone."""
    return host in {"localhost", "::1"} or bool(host.startswith("127.") and re.fullmatch(_IPV4, host))


def servers_for(address: Address, provider: Provider) -> tuple[Server, ...]:
    """The provider's servers, best first, with the address's domain filled in."""
    fill = {"{domain}": address.domain, "{domain-with-dashes}": address.domain.replace(".", "-")}

    def filled(host: str) -> str:
        for mark, value in fill.items():
            host = host.replace(mark, value)
        return host

    return tuple(Server(filled(server.host), server.port, server.security) for server in provider.servers)


def username_for(address: Address, provider: Provider | None) -> tuple[str | None, str]:
    """The login name for an address and a sentence about it; None where only the person knows it."""
    form = provider.username.form if provider else "address"
    fixed = provider.username.value if provider else ""
    label = provider.username.label if provider else ""
    mailbox = address.mailbox
    has_tag = mailbox != address.local
    known: dict[str, tuple[str | None, str]] = {
        "address": (
            f"{mailbox}@{address.unicode_domain}",
            _("Your login is the address without what follows the +.") if has_tag else _("Your login is the whole address."),
        ),
        "local-part": (mailbox, _("Your login is the part before the @.")),
        "local-part.domain": (f"{mailbox}.{address.domain}", _("Your login is the address with a dot in place of the @.")),
        "fixed": (fixed, _("The login is always the word {value}.").format(value=fixed)),
        "own": (None, _("Your login is not the address but: {label}.").format(label=label)),
        "none": ("", ""),
    }
    name, note = known[form]
    return name, (provider.username.note if provider and provider.username.note else note)


def usual_security(port: int | None) -> Security:
    """Implicit TLS on 465 and where no port is given, otherwise the required upgrade; never plaintext unless asked for."""
    return Security.TLS if port in (None, 465, 2465, 8465) else Security.STARTTLS

"""The hosts of servers, as users type them."""

from __future__ import annotations

import re

from smtpsetup.address.address import InvalidDomainError, domain_forms
from smtpsetup.core.i18n import gettext as _

_IPV4 = r"\d{1,3}(\.\d{1,3}){3}"


class InvalidHostError(ValueError):
    """Not a valid host; the message is in the user's language."""


def checked_host(text: str) -> str:
    """The host in a user's text: a domain name (returned as A-labels) or an IP address. Raises InvalidHostError."""
    host = text.strip().rstrip(".").strip("[]")
    if not host:
        raise InvalidHostError(_("The host is empty."))
    if "://" in host or "/" in host:
        raise InvalidHostError(
            _("{host} is a web address. A host has no scheme and no slash, for example send.one.com.").format(host=host)
        )
    if any(char.isspace() for char in host):
        raise InvalidHostError(_("There is a space in the host {host}.").format(host=host))
    if "@" in host:
        raise InvalidHostError(_("{host} is a mail address; the host is the name of the server.").format(host=host))
    if host.count(":") == 1:
        name, _colon, port = host.partition(":")
        raise InvalidHostError(
            _("Give the host and the port apart: --host {host} --port {port}.").format(host=name, port=port)
        )
    if ":" in host or re.fullmatch(_IPV4, host):
        return _checked_ip(host)
    try:
        return domain_forms(host)[0]
    except InvalidDomainError as error:
        raise InvalidHostError(_("{host} is not a host: {reason}.").format(host=host, reason=error.reason)) from error


def _checked_ip(host: str) -> str:
    import ipaddress  # only for IP addresses

    try:
        return str(ipaddress.ip_address(host))
    except ValueError as error:
        raise InvalidHostError(_("{host} is not an IP address.").format(host=host)) from error


def is_loopback(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address. Nothing is looked up."""
    return host in {"localhost", "::1"} or bool(host.startswith("127.") and re.fullmatch(_IPV4, host))

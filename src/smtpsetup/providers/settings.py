"""The settings of an address at a provider. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.providers.row import Provider

DEFAULT_PORTS = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}


def servers_for(address: Address, provider: Provider, mx_host: str = "") -> tuple[Server, ...]:
    """The provider's servers, best first, with the domain of the address and its MX host inserted.

    Without an MX host, servers that are named by it are left out.
    """

    def inserted(host: str) -> str:
        with_dashes = address.domain.replace(".", "-")
        named = host.replace("{domain}", address.domain).replace("{domain-with-dashes}", with_dashes)
        return named.replace("{mx}", mx_host)

    known = (server for server in provider.servers if mx_host or "{mx}" not in server.host)
    return tuple(server._replace(host=inserted(server.host)) for server in known)


def username_for(address: Address, provider: Provider | None) -> tuple[str | None, str]:
    """The user name for an address and a sentence about it; None if only the user knows the name."""
    form = provider.username.form if provider else "address"
    fixed = provider.username.value if provider else ""
    label = provider.username.label if provider else ""
    mailbox = address.mailbox
    has_tag = mailbox != address.local
    known: dict[str, tuple[str | None, str]] = {
        "address": (
            f"{mailbox}@{address.unicode_domain}",
            _("Your login is the address without what follows the +.")
            if has_tag
            else _("Your login is the whole address."),
        ),
        "local-part": (mailbox, _("Your login is the part before the @.")),
        "local-part.domain": (
            f"{mailbox}.{address.domain}",
            _("Your login is the address with a dot in place of the @."),
        ),
        "fixed": (fixed, _("The login is always the word {value}.").format(value=fixed)),
        "own": (None, _("Your login is not the address but: {label}.").format(label=label)),
        "none": ("", ""),
    }
    name, note = known[form]
    return name, (provider.username.note if provider and provider.username.note else note)


def usual_security(port: int | None) -> Security:
    """Implicit TLS without a port and on 465, 2465 and 8465, otherwise STARTTLS; never plaintext."""
    return Security.TLS if port in (None, 465, 2465, 8465) else Security.STARTTLS

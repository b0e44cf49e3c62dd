"""Whether a relay may listen where it is told to: nobody but its clients may send through it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay.clients import network

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.relay.clients import Client

_ROUTES = "/proc/net/route"  # proc(5)
_ROUTE_GATEWAY = 0x2  # RTF_GATEWAY of <linux/route.h>


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can connect to an address or a name."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host or None, None, flags=socket.AI_PASSIVE)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def check(hosts: Iterable[str], clients: Mapping[str, Client], *, has_tls: bool) -> None:
    """Raise SmtpsetupError (`relay.exposed`) where a password would cross a network in clear text.

    Without TLS no password is taken there, so that a relay without a client by address would take no mail at all.
    """
    exposed = [host for host in hosts if not is_loopback(host)]
    if not exposed or has_tls or any(client.nets for client in clients.values()):
        return
    raise SmtpsetupError(
        "relay.exposed",
        _(
            "The relay would listen on {host}, which others can reach, and passwords would cross the network in clear "
            "text."
        ).format(host=exposed[0]),
        hints=(
            _("Take connections from this machine only: leave `--host` out."),
            _("Or let it encrypt: add `--tls` (smtpsetup makes a certificate), or `--tls-cert FILE --tls-key FILE`."),
            _(
                "Or name the addresses of devices that cannot log in: `smtpsetup relay add-client NAME --net "
                "192.168.1.20`."
            ),
        ),
    )


def refuse_itself(account: Account, ports: Collection[int]) -> None:
    """Raise SmtpsetupError for an account whose server is the relay at these ports: its mail would go round."""
    if account.server.port in ports and is_loopback(account.server.host):
        raise SmtpsetupError(
            "config.invalid",
            _("The server of the account {account} is this relay itself.").format(account=account.name),
            hints=(_("Give the relay another port: `--port 2526`."),),
        )


def warnings(clients: Mapping[str, Client], *, is_exposed: bool) -> list[str]:
    """Sentences on clients that are let in more widely than their owner may think."""
    found = []
    gateways = _gateways()
    for client in clients.values():
        nets = [network(text) for text in client.nets]
        if any(one.is_loopback for one in nets):
            found.append(
                _(
                    "{name} needs no login from this machine: every program and every user here can send with it."
                ).format(name=client.name)
            )
        if is_exposed:
            text = _(
                "{name} needs no login from {address}, which is a gateway of this machine: behind a bridge of "
                "containers or NAT, everybody may seem to come from there."
            )
            found += [
                text.format(name=client.name, address=gateway)
                for gateway in gateways
                if any(gateway in one for one in nets)
            ]
        if client.old_tls:
            found.append(
                _(
                    "{name} may use TLS 1.0 and 1.1, which can be broken. Remove the client once the device is "
                    "replaced."
                ).format(name=client.name)
            )
    return found


def _gateways() -> list[ipaddress.IPv4Address]:
    """The gateways in this machine's routes over IPv4."""
    try:
        with open(_ROUTES, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return []
    return [
        ipaddress.IPv4Address(bytes.fromhex(row[2])[::-1])
        for row in rows
        if len(row) > 3 and int(row[3], 16) & _ROUTE_GATEWAY  # noqa: PLR2004  the column of the flags
    ]

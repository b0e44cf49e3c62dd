"""The fields of a program's settings form: for the relay, and for the provider directly where a password works."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security, TransportKind
from smtpsetup.relay.clients import network
from smtpsetup.relay.running import USUAL_PORT, own_address

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.running import Where

RELAY, PROVIDER = "relay", "provider"


class Line(NamedTuple):
    """A field: which form it is of (RELAY or PROVIDER), its name, what to fill in, and a remark or `""`."""

    card: str
    label: str
    value: str
    note: str = ""


class Card(NamedTuple):
    """The fields, how the relay is to be started where it does not run so, and what is to be known besides."""

    lines: tuple[Line, ...]
    start: tuple[str, ...]
    remarks: tuple[str, ...]
    is_for_network: bool
    has_new_password: bool


class Subject(NamedTuple):
    """What a card is for: an account, and a client of the relay or None.

    `names` are those of all clients, and `password` is that of the client where it is known, as it is once.
    """

    account: Account
    client: Client | None
    names: tuple[str, ...] = ()
    password: Secret | None = None


def card(subject: Subject, place: Where) -> Card:
    """The card for a relay at that place."""
    client, account = subject.client, subject.account
    is_device = client is not None and any(not network(text).is_loopback for text in client.nets)
    reached_at = place
    if is_device and place.is_loopback:  # the device is elsewhere
        reached_at = place._replace(host=own_address() or place.host, has_starttls=False, tls_port=0)
    lines = [*_relay(subject, reached_at), *(_provider(account) if _takes_password(account) else ())]
    has_new_password = subject.password is not None and not (client and client.nets)
    return Card(
        tuple(lines),
        tuple(_start(place, is_device=is_device)),
        (_elsewhere(account),),
        is_for_network=not reached_at.is_loopback,
        has_new_password=has_new_password,
    )


def _takes_password(account: Account) -> bool:
    return account.transport is TransportKind.SMTP and account.auth not in (Auth.OAUTH2, Auth.NONE)


def _relay(subject: Subject, place: Where) -> list[Line]:
    client = subject.client
    senders = client.senders if client and client.senders else (subject.account.address,)
    with_tls = _("or {port}, with SSL/TLS").format(port=place.tls_port) if place.tls_port else ""
    return [
        Line(RELAY, _("Server"), place.host, _("also called: host, SMTP server, outgoing server")),
        Line(RELAY, _("Port"), str(place.port), with_tls),
        Line(RELAY, _("Encryption"), *_encryption(place)),
        *_login(subject),
        Line(RELAY, _("Sender"), senders[0], _("also called: from, reply address, your address")),
    ]


def _encryption(place: Where) -> tuple[str, str]:
    if place.is_loopback:
        also = _("STARTTLS works, too") if place.has_starttls else ""
        note = _("also called: no encryption, off; the mail does not leave this machine unencrypted")
        return _("none"), "; ".join(text for text in (note, also) if text)
    if place.has_starttls:
        return _("STARTTLS"), _("also called: TLS; the certificate is the relay's own: let the program accept it")
    return _("none"), _("also called: no encryption, off; the mail crosses your network unencrypted")


def _login(subject: Subject) -> list[Line]:
    client = subject.client
    if client and client.nets:
        return [Line(RELAY, _("Login"), _("none"), _("no user name and no password"))]
    login = Line(RELAY, _("Login"), _("yes"), _("also called: SMTP authentication, PLAIN, LOGIN, normal password"))
    if client is None:
        note = _("add one first: `smtpsetup relay add-client NAME`")
        if subject.names:
            note = _("one of {names}: `smtpsetup card --client NAME`").format(names=", ".join(subject.names))
        return [Line(RELAY, _("User name"), _("NAME"), note), login]
    lost = _("if it is lost: `smtpsetup relay renew {name}`").format(name=client.name)
    password = (subject.password.reveal(), "") if subject.password else (_("the one that `add-client` showed"), lost)
    return [Line(RELAY, _("User name"), client.name), Line(RELAY, _("Password"), *password), login]


def _provider(account: Account) -> list[Line]:
    encryption, words = {
        Security.TLS: (_("SSL/TLS"), _("also called: SSL, TLS, implicit TLS, SMTPS")),
        Security.STARTTLS: (_("STARTTLS"), _("also called: TLS, explicit TLS, “TLS if available”")),
        Security.NONE: (_("none"), ""),
    }[account.server.security]
    secret = {
        Auth.APP_PASSWORD: _("the app password, not the one of the web page"),
        Auth.API_KEY: _("the API key"),
        Auth.TOKEN: _("the token"),
    }.get(account.auth, _("the same as for the mailbox"))
    return [
        Line(PROVIDER, _("Server"), account.server.host, _("also called: host, SMTP server, outgoing server")),
        Line(PROVIDER, _("Port"), str(account.server.port)),
        Line(PROVIDER, _("Encryption"), encryption, words),
        Line(PROVIDER, _("User name"), account.username),
        Line(PROVIDER, _("Password"), secret),
        Line(PROVIDER, _("Login"), _("yes"), _("also called: SMTP authentication, PLAIN, LOGIN, normal password")),
        Line(PROVIDER, _("Sender"), account.address, _("also called: from, reply address, your address")),
    ]


def _start(place: Where, *, is_device: bool) -> list[str]:
    """How to start the relay where it does not run, or where the program could not reach it."""
    port = f" --port {place.port}" if place.port != USUAL_PORT else ""
    if is_device and place.is_loopback:
        stop = _("Stop the relay with Ctrl-C first.") + " " if place.is_running else ""
        text = _("Start the relay so that the device reaches it: `{command}`.")
        return [stop + text.format(command=f"smtpsetup relay --host 0.0.0.0{port}")]
    if not place.is_running:
        command = f"smtpsetup relay{port}"
        text = _("Start the relay: `{command}`, or let it start by itself from now on: `{command} --install`.")
        return [text.format(command=command)]
    if not place.is_loopback and not (place.has_starttls or place.tls_port):
        return [_("From other machines the relay takes no password, since it offers no TLS: start it with `--tls`.")]
    return []


def _elsewhere(account: Account) -> str:
    """What helps where the program runs on somebody else's machine, such as a hosted order system."""
    if _takes_password(account):
        return _(
            "If the program runs somewhere else, such as a web shop: it cannot reach the relay. Fill in the "
            "fields of the provider there."
        )
    return _(
        "If the program runs somewhere else, such as a web shop: it cannot reach the relay, and the provider of "
        "{address} takes no password. Use an address of a domain of your own, at a host that takes passwords, or a "
        "relay service: `smtpsetup providers list`."
    ).format(address=account.address)

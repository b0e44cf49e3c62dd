"""The fields of a program's settings form: for the relay, and for the provider directly where a password works."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.running import Where

RELAY, PROVIDER = "relay", "provider"


class Line(NamedTuple):
    """A field: which card it is on (RELAY or PROVIDER), its name, what to fill in, and a remark or `""`."""

    card: str
    label: str
    value: str
    note: str = ""


class Card(NamedTuple):
    """The fields, and what is to be known besides."""

    lines: tuple[Line, ...]
    remarks: tuple[str, ...]


def card(account: Account, where: Where, client: Client | None, names: tuple[str, ...]) -> Card:
    """The card of an account, for this client of the relay; `names` are those of all of them."""
    lines = [
        *relay_lines(account, where, client, names=names),
        *(_provider(account) if _takes_password(account) else ()),
    ]
    return Card(tuple(lines), tuple(_remarks(account, where, client)))


def _takes_password(account: Account) -> bool:
    return account.auth not in (Auth.OAUTH2, Auth.NONE)


def relay_lines(
    account: Account, where: Where, client: Client | None, password: Secret | None = None, names: tuple[str, ...] = ()
) -> list[Line]:
    """The fields for the relay; with the password of a client where it is known, as it is once."""
    senders = client.senders if client and client.senders else (account.address,)
    return [
        Line(RELAY, _("Server"), where.host, _("also called: host, SMTP server, outgoing server")),
        Line(RELAY, _("Port"), str(where.port)),
        Line(RELAY, _("Security"), *_relay_security(where)),
        *_login(client, password, names),
        Line(RELAY, _("Sender"), senders[0], _("also called: from, reply address, your address")),
    ]


def _login(client: Client | None, password: Secret | None, names: tuple[str, ...]) -> list[Line]:
    if client and client.nets:
        return [Line(RELAY, _("Authentication"), _("none"), _("no user name and no password"))]
    name, note = client.name if client else _("NAME"), ""
    if client is None:
        note = _("add one first: `smtpsetup relay add-client NAME`")
        if names:
            note = _("one of {names}: `smtpsetup card --client NAME`").format(names=", ".join(names))
    lost = _("if it is lost: `smtpsetup relay renew {name}`").format(name=name)
    return [
        Line(RELAY, _("User name"), name, note),
        Line(
            RELAY,
            _("Password"),
            password.reveal() if password else _("the one that `add-client` showed"),
            "" if password else lost,
        ),
        Line(RELAY, _("Authentication"), _("yes"), _("also called: SMTP login, PLAIN, LOGIN, normal password")),
    ]


def _relay_security(where: Where) -> tuple[str, str]:
    if where.has_starttls:
        words = _(
            "also called: TLS, “if available”; the certificate is the relay's own, so accept it or switch the check off"
        )
        return _("STARTTLS"), words
    return _("none"), _("also called: no encryption, plain, off; the mail does not leave this machine unencrypted")


def _provider(account: Account) -> list[Line]:
    security, words = {
        Security.TLS: (_("SSL/TLS"), _("also called: SSL, TLS, implicit TLS, SMTPS")),
        Security.STARTTLS: (_("STARTTLS"), _("also called: TLS, explicit TLS, “TLS if available”")),
        Security.NONE: (_("none"), ""),
    }[account.server.security]
    secret = {
        Auth.APP_PASSWORD: _("the app password, not the one of the web page"),
        Auth.API_KEY: _("the API key"),
        Auth.TOKEN: _("the token"),
    }.get(account.auth, _("that of the mailbox"))
    return [
        Line(PROVIDER, _("Server"), account.server.host, _("also called: host, SMTP server, outgoing server")),
        Line(PROVIDER, _("Port"), str(account.server.port)),
        Line(PROVIDER, _("Security"), security, words),
        Line(PROVIDER, _("User name"), account.username),
        Line(PROVIDER, _("Password"), secret),
        Line(PROVIDER, _("Authentication"), _("yes"), _("also called: SMTP login, PLAIN, LOGIN, normal password")),
        Line(PROVIDER, _("Sender"), account.address, _("also called: from, reply address, your address")),
    ]


def _remarks(account: Account, where: Where, client: Client | None) -> list[str]:
    found = []
    if not where.is_running:
        found.append(
            _("The relay is not running: start it with `smtpsetup relay`, or for good: `smtpsetup relay --install`.")
        )
    if where.is_loopback:
        found.append(_("The relay can be reached from this machine only, by programs that run here."))
    if client and client.senders and account.address not in client.senders:
        found.append(_("{name} may use no other sender.").format(name=client.name))
    found.append(_elsewhere(account))
    return found


def _elsewhere(account: Account) -> str:
    """What helps where the program runs on somebody else's machine, such as a hosted order system."""
    if _takes_password(account):
        return _(
            "If the program runs somewhere else, such as a shop in the web: it cannot reach this machine. Fill in the "
            "fields of the provider there."
        )
    return _(
        "If the program runs somewhere else, such as a shop in the web: it cannot reach this machine, and {address} "
        "takes no password there. Use an address of a domain of your own, at a host that takes passwords, or a relay "
        "service: `smtpsetup providers list`."
    ).format(address=account.address)

"""The questions of `configure` about settings that are neither typed nor found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, ask, confirm
from smtpsetup.cli.types import HOST, PORT, SecurityType
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server
from smtpsetup.providers.settings import DEFAULT_PORTS, usual_security
from smtpsetup.setup.identify import domain_shown, source_sentence, why_unconfirmed

if TYPE_CHECKING:
    from smtpsetup.cli.state import State
    from smtpsetup.providers.row import Provider
    from smtpsetup.providers.table import Table
    from smtpsetup.setup.identify import Identification


def ask_provider(state: State) -> Provider | None:
    """Ask for the provider of an unknown domain; None where the person will type in the server."""
    views.human.note(
        _(
            "If you know who you buy the mail from, the server is perhaps in the table. Otherwise its name is on "
            "their help page."
        )
    )
    table = state.table()
    while True:
        name = ask(
            _("Mail provider, such as one.com (Enter to type in the server)"), default="", show_default=False
        ).strip()
        provider = table.by_name(name) if name else None
        if provider is None and name:
            views.human.note(no_such_provider(table, name))
            continue
        if provider:
            views.provider.provider(provider)
        return provider


def no_such_provider(table: Table, name: str) -> str:
    """A sentence that a provider is not in the table, with the ids of similar ones."""
    import difflib  # needed for unknown names only

    known = {key.lower(): row.id for row in table.all() for key in (row.id, row.name, *row.domains)}
    close = dict.fromkeys(known[key] for key in difflib.get_close_matches(name.lower(), known, cutoff=0.7))
    text = _("The provider table has no row {name}.").format(name=name)
    meant = _("Did you mean {names}?").format(names=", ".join(close))
    return f"{text} {meant}" if close else text


def confirm_host(state: State, found: Identification, server: Server, accepted: str | None) -> None:
    """Ask before a password goes to a host that nothing vouches for, unless it is `accepted` (--accept-host).

    Raises SmtpsetupError where the host is not confirmed, DeclinedError for a no, click.Abort.
    """
    if accepted == server.host or not found.is_unconfirmed(server.host):
        return
    if state.may_ask and accepted is None:
        views.human.note(why_unconfirmed(found))
        if not confirm(_("Send your password to {host}?").format(host=server.host), default=False):
            raise DeclinedError
        return
    domain = domain_shown(found.address)
    message = _("The server {host} is outside {domain} and was not confirmed.").format(host=server.host, domain=domain)
    if found.only_suggested:
        message = _("The server {host} of {domain} is known from old sources only and was not confirmed.").format(
            host=server.host, domain=domain
        )
    if accepted is not None:
        message = _("You agreed to {accepted}, but the server that was found is {host}, outside {domain}.").format(
            accepted=accepted, host=server.host, domain=domain
        )
    raise SmtpsetupError(
        "config.invalid",
        message,
        causes=(why_unconfirmed(found) if found.only_suggested else source_sentence(found),),
        hints=(
            _("Make sure that it is your provider's: `smtpsetup identify {address} --all`.").format(
                address=found.address
            ),
            _("Then agree to it: `smtpsetup configure {address} --accept-host {host}`.").format(
                address=found.address, host=server.host
            ),
        ),
    )


def ask_server(state: State, typed_port: int | None, typed_security: str | None) -> Server:
    """Ask for what was not typed of the server. Raises click.UsageError where nobody can be asked."""
    if not state.may_ask:
        raise click.UsageError(_("Give the server: `--host HOST`."))
    host = ask(_("Outgoing mail server (host)"), type=HOST)
    security = typed_security or ask(
        _("Security"),
        type=SecurityType([str(Security.TLS), str(Security.STARTTLS)]),
        default=str(usual_security(typed_port)),
    )
    port = typed_port or ask(_("Port"), type=PORT, default=DEFAULT_PORTS[Security(security)])
    return Server(host, port, Security(security))


def ask_username(state: State, provider: Provider | None) -> str:
    """Ask for a login name that differs from the address. Raises click.UsageError where nobody can be asked."""
    label = provider.username.label if provider and provider.username.label else _("Login name")
    if not state.may_ask:
        raise click.UsageError(_("Give the login with --username ({label}).").format(label=label))
    return str(ask(label))

"""What `configure` asks a person for, where nobody else knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import ask, confirm
from smtpsetup.cli.types import HOST, PORT, SecurityType
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server
from smtpsetup.providers.settings import DEFAULT_PORTS, usual_security
from smtpsetup.setup.identify import addresses_shown, said_by

if TYPE_CHECKING:
    from smtpsetup.cli.state import State
    from smtpsetup.providers.table import Provider, Table
    from smtpsetup.setup.identify import Identification


def ask_provider(state: State) -> Provider | None:
    """Who runs the mail of an unknown domain, if the person knows; None for a server that the table does not have."""
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
            views.human.provider(provider)
        return provider


def no_such_provider(table: Table, name: str) -> str:
    """That a provider is not in the table, with those that may have been meant."""
    import difflib  # only for a name that is not there

    known = {key.lower(): row.id for row in table.all() for key in (row.id, row.name, *row.domains)}
    close = dict.fromkeys(known[key] for key in difflib.get_close_matches(name.lower(), known, cutoff=0.7))
    text = _("The provider table has no row {name}.").format(name=name)
    meant = _("Did you mean {names}?").format(names=", ".join(close))
    return f"{text} {meant}" if close else text


def confirm_host(state: State, found: Identification, server: Server, accepted: str | None) -> None:
    """A password goes to a host that somebody vouches for, or to which the person says yes.

    Raises SmtpsetupError, click.Abort.
    """
    if accepted == server.host or not found.is_unconfirmed(server.host):
        return
    if state.may_ask and accepted is None:
        views.human.note(
            _("The server is outside {domain}, and only sources that can be forged name it.").format(
                domain=found.address.unicode_domain
            )
        )
        if not confirm(_("Send your password to {host}?").format(host=server.host), default=False):
            raise click.Abort
        return
    domain = addresses_shown(found.address)
    message = _("The server {host} is outside {domain} and was not confirmed.").format(host=server.host, domain=domain)
    if accepted is not None:
        message = _("You agreed to {accepted}, but the server that was found is {host}, outside {domain}.").format(
            accepted=accepted, host=server.host, domain=domain
        )
    raise SmtpsetupError(
        "config.invalid",
        message,
        causes=(said_by(found),),
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
    """The server, as far as it was not typed already. Raises click.UsageError where nobody can be asked."""
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
    """The login name that only the customer knows. Raises click.UsageError where nobody can be asked."""
    label = provider.username.label if provider and provider.username.label else _("Login name")
    if not state.may_ask:
        raise click.UsageError(_("Give the login with --username ({label}).").format(label=label))
    return str(ask(label))

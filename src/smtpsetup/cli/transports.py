"""The transport of an account, for `configure`: SMTP, or the API of its provider."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, ask_number, confirm
from smtpsetup.config import endpoint
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Server, TransportKind

if TYPE_CHECKING:
    from smtpsetup.cli.account_settings import Options
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.providers.row import Provider


def chosen_transport(options: Options, existing: Account | None) -> TransportKind:
    """The transport that was typed, else that of the saved account unless another server was typed.

    Raises click.UsageError for options that conflict.
    """
    typed = TransportKind(options.transport) if options.transport else None
    names_server = options.host is not None or options.port is not None or options.security is not None
    usual = existing.transport if existing and not names_server else TransportKind.SMTP
    kind = typed or usual
    if kind is TransportKind.SMTP:
        if options.endpoint or options.how.large_mail:
            raise click.UsageError(_("--endpoint goes with `--transport graph` or `gmail`, --large-mail with `graph`."))
        return kind
    if names_server:
        raise click.UsageError(_("An API has no mail server: leave out --host, --port and --security."))
    if options.auth not in (None, "oauth2"):
        raise click.UsageError(
            _("{api} takes OAuth2 alone: leave out --auth.").format(api=views.human.TRANSPORT_NAMES[kind])
        )
    return kind


def offered_transport(state: State, provider: Provider | None, options: Options) -> TransportKind | None:
    """Let a person choose between SMTP and the API of a provider whose SMTP is often switched off.

    None where there is nothing to choose, or nobody to ask. Raises DeclinedError, click.Abort.
    """
    api = provider.api if provider else None
    is_decided = options.transport or options.auth or options.host or options.how != type(options.how)()
    if not (provider and api and api.smtp_may_be_off) or is_decided or not state.may_ask or state.json:
        return None
    text = _("At {provider}, programs often cannot log in over SMTP. How should mail be sent?")
    views.human.note("\n" + text.format(provider=provider.name))
    ways = (
        _("Over HTTPS by {api}: you need a client id, then sign in once (15 minutes).").format(
            api=views.human.TRANSPORT_NAMES[api.transport]
        ),
        _("Over SMTP: an administrator must have switched it on for the mailbox."),
    )
    for number, way in enumerate(ways, start=1):
        views.human.note(f"  {number}. {way}", hang=5)
    chosen = ask_number(_("Which one? (1-{n}, Enter to stop)").format(n=len(ways)), len(ways))
    return api.transport if chosen == 1 else TransportKind.SMTP


def with_api(account: Account, kind: TransportKind, auth: str | None) -> Account:
    """A saved account that is to send by an API from now on. Raises SmtpsetupError, click.UsageError."""
    if kind is TransportKind.SMTP:
        command = f"smtpsetup configure {shlex.quote(account.address)} --transport smtp"
        raise click.UsageError(_("For SMTP, the server has to be set up: `{command}`.").format(command=command))
    if auth not in (None, "oauth2"):
        raise click.UsageError(
            _("{api} takes OAuth2 alone: leave out --auth.").format(api=views.human.TRANSPORT_NAMES[kind])
        )
    from smtpsetup.config.known_providers import row_of_api  # only for accounts with an API

    row = row_of_api(kind, account.address.rpartition("@")[2])
    address = endpoint.USUAL[kind]
    return account._replace(
        transport=kind,
        endpoint=address,
        server=endpoint.server_of(address),
        provider=row.id if row else "",
        oauth2=None,  # a token is for one service
        ca_file=None,
        tls_fingerprint=None,
    )


def endpoint_of(state: State, kind: TransportKind, options: Options, existing: Account | None) -> tuple[str, Server]:
    """The base address of the API and its server.

    A host that is not the vendor's needs `--accept-host`, or a yes.

    Raises SmtpsetupError, click.UsageError, DeclinedError.
    """
    is_kept = existing is not None and existing.transport is kind
    address = options.endpoint or (existing.endpoint if is_kept and existing else "") or endpoint.USUAL[kind]
    address = address.rstrip("/")
    try:
        server = endpoint.server_of(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--endpoint") from error
    is_known = is_kept and existing is not None and existing.server.host == server.host
    if not (is_known or endpoint.is_vendors(kind, server.host) or options.accept_host == server.host):
        _confirm(state, kind, server, options)
    return address, server


def _confirm(state: State, kind: TransportKind, server: Server, options: Options) -> None:
    text = _("{host} is no host of {api} that is known: it would get the access token.")
    message = text.format(host=server.host, api=views.human.TRANSPORT_NAMES[kind])
    if state.may_ask and options.accept_host is None:
        views.human.note(message)
        if not confirm(_("Send the access token to {host}?").format(host=server.host), default=False):
            raise DeclinedError
        return
    hint = _("If it is right, agree to it: `--accept-host {host}`.").format(host=server.host)
    raise SmtpsetupError("config.invalid", message, hints=(hint,))

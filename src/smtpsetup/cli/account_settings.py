"""The settings that `configure` knows before the login: typed, saved, found out or asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.address.hosts import is_loopback
from smtpsetup.cli import places, views
from smtpsetup.cli.ask import DeclinedError, ask, confirm
from smtpsetup.cli.identify import find
from smtpsetup.cli.questions import ask_provider, ask_server, ask_username, confirm_host, no_such_provider
from smtpsetup.cli.sign_in_options import SignInOptions
from smtpsetup.cli.state import tell
from smtpsetup.cli.transports import chosen_transport, endpoint_of, offered_transport
from smtpsetup.cli.ways import offer_ways
from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, ProviderStatus, Security, TransportKind
from smtpsetup.providers.proposal import Known, Overrides, known_for, propose
from smtpsetup.setup.identify import UnknownDomainError, from_row, refusal

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.cli.identify import Search
    from smtpsetup.cli.state import State
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.providers.proposal import Proposal
    from smtpsetup.providers.row import Provider
    from smtpsetup.setup.identify import Identification


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed on the command line. `source` is the place of the secret, None if none is named.

    `how` has the options of signing in with OAuth2.
    """

    name: str | None
    from_name: str | None
    provider_id: str | None
    host: str | None
    port: int | None
    security: str | None
    username: str | None
    auth: str | None
    ca_file: str | None
    tls_fingerprint: str | None
    make_default: bool
    no_verify: bool
    accept_host: str | None
    unattended: bool | None
    search: Search
    how: SignInOptions
    source: SecretSource | None
    from_stdin: bool
    transport: str | None = None
    endpoint: str | None = None
    proxy: str | None = None

    @property
    def has_change(self) -> bool:
        """Whether anything was typed that a saved account would get."""
        settings = (self.from_name, self.provider_id, self.host, self.port, self.security, self.username, self.auth)
        others = (self.ca_file, self.tls_fingerprint, self.source, self.transport, self.endpoint, self.proxy)
        is_any_given = any(one is not None for one in (*settings, *others, self.unattended))
        return is_any_given or self.make_default or self.from_stdin or self.how != SignInOptions()

    @property
    def may_need_typed_password(self) -> bool:
        """Whether nothing that was typed rules out a password that somebody types in."""
        if self.transport not in (None, TransportKind.SMTP):
            return False
        return self.source is None and self.auth not in (Auth.NONE, Auth.OAUTH2) and self.how == SignInOptions()


@dataclass(frozen=True, slots=True)
class Subject:
    """The address to set up, with its provider, what was found out about it and its saved account, as far as known.

    `place` is where a typed password will be kept, None until that is decided.
    """

    address: Address
    provider: Provider | None = None
    found: Identification | None = None
    existing: Account | None = None
    place: SecretSource | None = None
    transport: TransportKind = TransportKind.SMTP


def find_subject(state: State, address: str | None, options: Options) -> Subject:
    """Find out what is known about the address. Raises SmtpsetupError, click.UsageError, click.Abort.

    Where a password may be typed, a locked keyring is reported before anything about the account is asked.
    """
    entered = _address(state, address)
    accounts = state.config().accounts
    existing = accounts.get(options.name or str(entered))
    kind = chosen_transport(options, existing)
    if kind is not TransportKind.SMTP:
        return _with_api(state, Subject(entered, existing=existing, transport=kind), options)
    if options.provider_id or options.host or existing:
        subject = Subject(entered, _stated_provider(state, entered, existing, options), existing=existing)
    else:
        subject = _identified(state, entered, options)
        subject = replace(subject, existing=accounts.get(options.name or str(subject.address)))
    offered = offered_transport(state, subject.provider, options) if not subject.existing else None
    if offered is not None and offered is not TransportKind.SMTP:
        return replace(subject, transport=offered)
    is_sign_in = subject.provider is not None and subject.provider.auth == (Auth.OAUTH2,) and options.auth is None
    if (
        options.may_need_typed_password
        and not is_sign_in
        and not subject.existing
        and state.may_ask
        and subject.place is None
    ):
        subject = replace(subject, place=places.likely_place(options.name or str(subject.address)))
    _ask_to_change(state, subject.existing, options)
    return subject


def _ask_to_change(state: State, existing: Account | None, options: Options) -> None:
    """Ask whether a saved account is to be changed. Raises DeclinedError for a no."""
    if existing and state.may_ask:
        question = _("The account {name} exists already. Change it?").format(name=existing.name)
        if not confirm(question, default=True):
            raise DeclinedError
        if not options.has_change:
            tell(_("No option names a change, such as `--from-name NAME`: the account is only tested again."))


def _with_api(state: State, subject: Subject, options: Options) -> Subject:
    """The subject with the provider whose API it uses; nobody is asked who runs the domain.

    Raises SmtpsetupError, DeclinedError, click.UsageError.
    """
    from smtpsetup.config.known_providers import row_of_api  # only for accounts with an API

    row = row_of_api(subject.transport, subject.address.domain)
    if options.provider_id:
        row = _stated_provider(state, subject.address, subject.existing, options)
        if row is None or row.api is None or row.api.transport is not subject.transport:
            text = _("{provider} has no such API: leave out --transport, or --provider.")
            raise click.UsageError(text.format(provider=row.name if row else options.provider_id))
    _ask_to_change(state, subject.existing, options)
    return replace(subject, provider=row)


def _address(state: State, address: str | None) -> Address:
    if address is not None:
        return parse_address(address)
    if not state.may_ask:
        raise click.UsageError(_("Give the address to set up: `smtpsetup configure ADDRESS`."))
    while True:
        try:
            return parse_address(ask(_("Your mail address")))
        except MalformedAddressError as error:
            views.errors.before_question(error)


def _stated_provider(state: State, entered: Address, existing: Account | None, options: Options) -> Provider | None:
    """The provider that was named, or whose server was named or is saved; None where the table has none."""
    if options.provider_id:
        provider = state.table().by_name(options.provider_id)
        if provider is None:
            raise click.BadParameter(no_such_provider(state.table(), options.provider_id), param_hint="--provider")
        if state.may_ask and provider.servers:
            views.identification.before_login(from_row(entered, provider))
        _warn_of_misfit(state, entered, provider)
        if not options.host:
            _check_named(state, entered, provider)
        return provider
    if options.host:
        return None if is_loopback(options.host) else state.table().by_server_host(options.host, entered.domain)
    return state.provider(existing) if existing else None


def _warn_of_misfit(state: State, entered: Address, provider: Provider) -> None:
    """Warn where the table says that another provider runs the domain."""
    known = state.table().by_domain(entered.domain)
    if known and known.id != provider.id:
        text = _("Warning: {domain} belongs to {known}, not to {provider}.")
        tell(text.format(domain=entered.unicode_domain, known=known.name, provider=provider.name))


def _check_named(state: State, entered: Address, provider: Provider) -> None:
    """Say why a provider that was named gives no server. Raises SmtpsetupError, click.UsageError."""
    found = from_row(entered, provider)
    refused = refusal(found)
    if refused and not (state.may_ask and provider.status is ProviderStatus.UNKNOWN):
        raise refused
    if refused:  # a person may know the server
        views.human.note(refused.message)
    elif not found.servers:
        text = _(
            "The server at {provider} is the one that the domain's MX names: leave out `--provider`, or give it "
            "with `--host HOST`."
        ).format(provider=provider.name)
        if not state.may_ask:
            raise click.UsageError(text)
        views.human.note(text)


def _identified(state: State, entered: Address, options: Options) -> Subject:
    """Identify the address. Where nothing is found, a person may know the provider."""
    try:
        found = find(state, str(entered), options.search)
    except UnknownDomainError as error:
        if not state.may_ask or error.code == "dns.not-found":
            raise
        views.human.note(error.message)
        for cause in error.causes if error.code == "dns.temporary" else ():
            views.human.note(cause)
        place = places.likely_place(options.name or str(entered)) if options.may_need_typed_password else None
        return Subject(entered, ask_provider(state), place=place)
    if state.may_ask:
        views.identification.before_login(found)
    refused = refusal(found)
    is_unknown = found.provider is not None and found.provider.status is ProviderStatus.UNKNOWN
    if refused and is_unknown and state.may_ask:  # a person may know the server
        views.human.note(refused.message)
    elif found.provider and (refused or found.provider.needs_paid_plan):
        is_offered = offer_ways(state, found.address, found.provider, refused)
        if refused and not is_offered:
            raise refused
    return Subject(found.address, found.provider, found)


def from_name(state: State, subject: Subject, options: Options) -> str:
    """The sender name that recipients see; a person is asked for that of a new account."""
    if options.from_name is not None:
        return options.from_name
    if subject.existing:
        return subject.existing.from_name
    return str(ask(_("Sender name (Enter for none)"), default="", show_default=False)) if state.may_ask else ""


def account_before_login(state: State, subject: Subject, options: Options) -> Account:
    """The account without sender name and proof; a person is asked for missing parts.

    Raises SmtpsetupError, click.UsageError, click.Abort.
    """
    if subject.transport is not TransportKind.SMTP:
        return _api_account(state, subject, options)
    address, provider, existing = subject.address, subject.provider, subject.existing
    proposal = _proposal(subject, options)
    server = proposal.server or ask_server(state, options.port, options.security)
    found = subject.found
    is_in_use = existing is not None and existing.server.host == server.host
    if found is None and provider and provider.only_suggests and not (options.host or is_in_use):
        found = from_row(address, provider)
    if found:
        confirm_host(state, found, server, options.accept_host)
    if server.security is Security.NONE and not is_loopback(server.host):
        raise click.UsageError(
            _(
                "`--security none` is for a server on this machine only: a password would cross the network in the "
                "clear."
            )
        )
    auth = proposal.auth
    if options.how != SignInOptions():
        auth = Auth.OAUTH2
    elif auth is Auth.OAUTH2 and not options.auth and not _is_signed_in(existing, options):
        offered = subject.found.auth if subject.found else provider.auth if provider else ()
        # a password needs no client id; OAuth2 does
        auth = next((kind for kind in offered if kind is not Auth.OAUTH2), auth)
    if options.auth in (Auth.PASSWORD, Auth.APP_PASSWORD) and provider and provider.auth == (Auth.OAUTH2,):
        text = _("Warning: {provider} takes no password from mail programs. Leave out `--auth` to see what works.")
        tell(text.format(provider=provider.name))
    is_kept = auth is Auth.OAUTH2 and not options.how.token_command and _is_signed_in(existing, options)
    signed_in = existing if is_kept else None
    username = proposal.username if proposal.username is not None else ask_username(state, provider)
    return Account(
        name=options.name or str(address),
        address=str(address),
        from_name="",
        provider=provider.id if provider else "",
        server=server,
        auth=auth,
        username=username,
        secret=signed_in.secret if signed_in else subject.place or SecretSource(Store.KEYRING),
        ca_file=options.ca_file or (existing.ca_file if existing else None),
        tls_fingerprint=options.tls_fingerprint or (existing.tls_fingerprint if existing else None),
        oauth2=signed_in.oauth2 if signed_in else None,
        config_file=signed_in.config_file if signed_in else "",
        proxy=_proxy(options, existing),
    )


def _api_account(state: State, subject: Subject, options: Options) -> Account:
    """The account of an API: its server follows from the endpoint, and it signs in with OAuth2."""
    existing, kind = subject.existing, subject.transport
    endpoint, server = endpoint_of(state, kind, options, existing)
    is_kept = existing is not None and existing.transport is kind and not options.how.token_command
    signed_in = existing if is_kept else None
    own_name = existing.username if existing and existing.transport is kind else ""
    return Account(
        name=options.name or str(subject.address),
        address=str(subject.address),
        from_name="",
        provider=subject.provider.id if subject.provider else "",
        server=server,
        auth=Auth.OAUTH2,
        username=options.username or own_name or str(subject.address),
        secret=signed_in.secret if signed_in else subject.place or SecretSource(Store.KEYRING),
        ca_file=options.ca_file or (existing.ca_file if existing else None),
        tls_fingerprint=options.tls_fingerprint or (existing.tls_fingerprint if existing else None),
        oauth2=signed_in.oauth2 if signed_in else None,
        config_file=signed_in.config_file if signed_in else "",
        transport=kind,
        endpoint=endpoint,
        proxy=_proxy(options, existing),
    )


def _proxy(options: Options, existing: Account | None) -> Proxy | None:
    """The proxy that was typed, else that of the saved account; None where the environment decides."""
    if options.proxy is None:
        return existing.proxy if existing else None
    from smtpsetup.net import proxy  # only for users of a proxy

    return proxy.parsed(options.proxy)


def _is_signed_in(existing: Account | None, options: Options) -> bool:
    """Whether the saved account signs in with OAuth2 at the server that is asked for."""
    return (
        options.provider_id is None
        and existing is not None
        and existing.transport is TransportKind.SMTP
        and options.host in (None, existing.server.host)
        and existing.auth is Auth.OAUTH2
    )


def _proposal(subject: Subject, options: Options) -> Proposal:
    """The settings by precedence: typed, saved, found out."""
    existing, found = subject.existing, subject.found
    if existing and existing.transport is not TransportKind.SMTP:
        existing = None  # its host is that of an API
    security = Security(options.security) if options.security else None
    typed = Overrides(
        options.host, options.port, security, options.username, Auth(options.auth) if options.auth else None
    )
    if existing and not (options.host or options.provider_id):
        is_same_port = options.port is None and security is None
        typed = replace(
            typed,
            host=existing.server.host,
            port=existing.server.port if is_same_port else typed.port,
            security=existing.server.security if is_same_port else typed.security,
        )
    if existing and not options.provider_id:
        typed = replace(typed, username=typed.username or existing.username or None, auth=typed.auth or existing.auth)
    if found and options.accept_host in {server.host for server in found.servers}:
        typed = replace(typed, host=options.accept_host)
    known = Known(found.servers, found.username, found.auth) if found else known_for(subject.address, subject.provider)
    return propose(known, typed)

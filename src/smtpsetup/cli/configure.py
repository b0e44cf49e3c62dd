"""`smtpsetup configure`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.address.hosts import is_loopback
from smtpsetup.cli import places, views
from smtpsetup.cli.ask import ask, confirm
from smtpsetup.cli.identify import Search, find, search_options
from smtpsetup.cli.proof import prove
from smtpsetup.cli.questions import ask_provider, ask_server, ask_username, confirm_host, no_such_provider
from smtpsetup.cli.secrets import new_secret, secret_options
from smtpsetup.cli.sign_in import (
    NOTHING_TYPED,
    SignInOptions,
    as_before,
    check_place,
    check_sign_in_options,
    endpoints_for,
    place_of_sign_in,
    sign_in_options,
    signed_in,
    token_source,
)
from smtpsetup.cli.state import State, common_options
from smtpsetup.cli.types import PORT, CaFileType, FingerprintType, HostType, SecurityType
from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret, Security
from smtpsetup.credentials import file_store, stores
from smtpsetup.oauth.access_token import fresh_secret_for
from smtpsetup.providers.proposal import Known, Overrides, known_for, propose
from smtpsetup.setup.identify import UnknownDomainError, without_smtp
from smtpsetup.setup.save_account import save

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.core.oauth_types import Tokens
    from smtpsetup.providers.proposal import Proposal
    from smtpsetup.providers.table import Provider
    from smtpsetup.setup.identify import Identification


@dataclass(frozen=True, slots=True)
class _Options:
    """What was typed on the command line, but for the secret's place."""

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
    no_ispdb: bool
    offline: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class _Subject:
    """Whose mail it is.

    The address, its provider where one is known, what was found out about it, and the account that there is already.

    `place` is where a password goes that is typed, once that is settled.
    """

    address: Address
    provider: Provider | None = None
    found: Identification | None = None
    existing: Account | None = None
    place: SecretSource | None = None


@click.command(
    "configure", help=_("Set up an address: find its server, ask for what is missing, log in to prove it, then save.")
)
@click.argument("address", required=False, metavar=_("[ADDRESS]"))
@click.option("--account", "name", metavar=_("NAME"), help=_("A name for the account (default: the address)."))
@click.option("--from-name", metavar=_("NAME"), help=_("The sender name that recipients see."))
@click.option(
    "--provider", "provider_id", metavar=_("NAME"), help=_("Who runs the mail, by name or id in the provider table.")
)
@click.option("--host", type=HostType(), metavar=_("HOST"), help=_("The outgoing mail server."))
@click.option("--port", type=PORT, metavar=_("PORT"), help=_("Its port, usually 465 or 587."))
@click.option(
    "--security",
    type=SecurityType([str(value) for value in Security]),
    help=_("TLS from the start, STARTTLS, or none (this machine only)."),
)
@click.option("--username", metavar=_("NAME"), help=_("The login name, where it is not the address."))
@click.option("--auth", type=click.Choice([str(value) for value in Auth]), help=_("What the provider wants as proof."))
@click.option(
    "--ca-file", type=CaFileType(), metavar=_("FILE"), help=_("Trust these authorities instead of the system's.")
)
@click.option("--tls-fingerprint", type=FingerprintType(), help=_("Trust only the certificate with this SHA-256."))
@click.option("--default", "make_default", is_flag=True, help=_("Make it the default account."))
@click.option("--no-verify", is_flag=True, help=_("Save without logging in first."))
@click.option(
    "--accept-host",
    type=HostType(),
    metavar=_("HOST"),
    help=_("Agree to this host, where only the DNS, a third party or a guess names it."),
)
@click.option(
    "--unattended/--no-unattended",
    default=None,
    help=_(
        "Scripts or cron will use it: prove it as cron would run it. Without either, a person at the terminal is asked."
    ),
)
@search_options
@sign_in_options
@secret_options
@common_options
@click.pass_obj
def configure_command(
    state: State,
    /,
    address: str | None,
    source: SecretSource | None,
    from_stdin: bool,  # noqa: FBT001  click passes flags by name
    how: SignInOptions,
    **typed: Any,  # noqa: ANN401  click's options, given a type at once
) -> None:
    """Parse, ask, prove, save, render."""
    options = _Options(**typed)
    check_sign_in_options(options.auth, how, source)
    subject = _who(
        state,
        address,
        options,
        will_type=source is None and options.auth not in (Auth.NONE, Auth.OAUTH2) and how == NOTHING_TYPED,
    )
    account = _account(state, subject, options, how)
    reuse = (
        source is None
        and options.auth != Auth.OAUTH2
        and how == NOTHING_TYPED
        and _is_as_before(account, subject.existing)
    )
    check_place(account, subject.existing, source, subject.provider, from_stdin=from_stdin)
    if account.auth is Auth.OAUTH2 and not how.token_command and not reuse:
        _sign_in(state, account._replace(secret=place_of_sign_in(account, source)), subject, options, how)
        return
    if source and source.store is Store.FILE and not options.no_verify:
        file_store.read(source.reference, account.name, may_prompt=False)  # before anybody answers more
    account = account._replace(from_name=_from_name(state, subject, options))
    source = token_source(how) or source
    existing = subject.existing
    if reuse and existing:
        account = account._replace(secret=existing.secret)
    elif source:
        account = account._replace(secret=source)
    asked = not (reuse or from_stdin or source) and account.auth is not Auth.NONE
    known = bool(reuse or (source and not from_stdin))
    # a place that cannot be read here, such as a unit's credential, need not be read to be saved
    secret = None if known and options.no_verify else _secret(state, account, known=known, from_stdin=from_stdin)
    if not options.no_verify:
        account, secret = prove(
            state,
            account,
            secret,
            subject.provider,
            is_saved=existing is not None,
            may_retype=asked,
            may_move=not reuse,
        )
    account = account._replace(verified=not options.no_verify)
    view = _save(state, account, None if account.oauth2 else secret, make_default=options.make_default)
    _end(state, account, view, options, is_new=existing is None)


def _end(state: State, account: Account, view: dict[str, object], options: _Options, *, is_new: bool) -> None:
    """Prove a saved account for scripts, where they will use it; render for a program."""
    if options.unattended or (
        options.unattended is None and is_new and account.verified and _will_scripts_use_it(state)
    ):
        from smtpsetup.cli.unattended import prove_for_scripts  # only then

        try:
            prove_for_scripts(state, account)
        except SmtpsetupError as error:
            error.result = view
            raise
    if state.json:
        state.write_json(view)


def _is_as_before(account: Account, existing: Account | None) -> bool:
    """Whether what is saved proves who is sending, still: of the same kind, and for the server that it was saved for.

    No other one gets it.
    """
    if existing is None or existing.server.host != account.server.host or Auth.NONE in (existing.auth, account.auth):
        return False
    if Auth.OAUTH2 in (existing.auth, account.auth):
        return (existing.auth, existing.oauth2, existing.secret) == (account.auth, account.oauth2, account.secret)
    return True


def _will_scripts_use_it(state: State) -> bool:
    return (
        state.may_ask
        and not state.json
        and confirm(_("Will scripts or cron send with it, when you are not there?"), default=False)
    )


def _who(state: State, address: str | None, options: _Options, *, will_type: bool) -> _Subject:
    """Whose mail it is, as far as it was typed, saved or can be found out.

    A person who `will_type` a password should learn that the keyring cannot be used before answering anything.
    """
    entered = _address(state, address)
    accounts = state.config().accounts
    existing = accounts.get(options.name or str(entered))
    subject = _Subject(entered, existing=existing)
    if options.provider_id:
        provider = state.table().by_name(options.provider_id)
        if provider is None:
            raise click.BadParameter(no_such_provider(state.table(), options.provider_id), param_hint="--provider")
        subject = replace(subject, provider=provider)
        if state.may_ask:
            views.human.provider(provider)
    elif options.host:
        subject = replace(
            subject,
            provider=None if is_loopback(options.host) else state.table().by_server_host(options.host, entered.domain),
        )
    elif existing:
        subject = replace(subject, provider=state.provider(existing))
    else:
        subject = _identified(state, entered, options, will_type=will_type)
        subject = replace(subject, existing=accounts.get(options.name or str(subject.address)))
    signs_in = subject.provider is not None and subject.provider.auth == (Auth.OAUTH2,) and options.auth is None
    if will_type and not signs_in and not subject.existing and state.may_ask and subject.place is None:
        subject = replace(subject, place=places.for_typed(state, options.name or str(subject.address)))
    if subject.existing and state.may_ask:
        question = _("The account {name} exists already. Change it?").format(name=subject.existing.name)
        if not confirm(question, default=True):
            raise click.Abort
    return subject


def _address(state: State, address: str | None) -> Address:
    if address is not None:
        return parse_address(address)
    if not state.may_ask:
        raise click.UsageError(_("Give the address to set up: `smtpsetup configure ADDRESS`."))
    while True:
        try:
            return parse_address(ask(_("Your mail address")))
        except MalformedAddressError as error:
            _show(error)


def _identified(state: State, entered: Address, options: _Options, *, will_type: bool) -> _Subject:
    """What was found out, shown to a person. Where nothing was, a person may know the server."""
    try:
        found = find(
            state, str(entered), Search(options.offline, seconds=options.seconds, ask_ispdb=not options.no_ispdb)
        )
    except UnknownDomainError as error:
        if not state.may_ask or error.code == "dns.not-found":
            raise
        views.human.note(error.message)
        for cause in error.causes if error.code == "dns.temporary" else ():
            views.human.note(cause)
        place = places.for_typed(state, options.name or str(entered)) if will_type else None
        return _Subject(entered, ask_provider(state), place=place)
    if state.may_ask:
        views.human.identification(found, stderr=True)
    refusal = without_smtp(found)
    if refusal:
        raise refusal
    return _Subject(found.address, found.provider, found)


def _sign_in(state: State, account: Account, subject: _Subject, options: _Options, how: SignInOptions) -> None:
    """Sign in with OAuth2, save, render."""
    how = as_before(how, account.oauth2)
    endpoints = endpoints_for(subject.provider, how)
    account, done = signed_in(state, account, subject.provider, endpoints, how, verify=not options.no_verify)
    account = account._replace(from_name=_from_name(state, subject, options), verified=not options.no_verify)
    view = _save(
        state, account, Secret(done.tokens.refresh_token), make_default=options.make_default, tokens=done.tokens
    )
    _end(state, account, view, options, is_new=subject.existing is None)


def _from_name(state: State, subject: _Subject, options: _Options) -> str:
    """The name that recipients see."""
    if options.from_name is not None:
        return options.from_name
    if subject.existing:
        return subject.existing.from_name
    return str(ask(_("Sender name (Enter for none)"), default="", show_default=False)) if state.may_ask else ""


def _account(state: State, subject: _Subject, options: _Options, how: SignInOptions) -> Account:
    """The account as far as it can be known before the login, missing parts asked for."""
    address, provider, existing = subject.address, subject.provider, subject.existing
    proposal = _proposal(subject, options)
    server = proposal.server or ask_server(state, options.port, options.security)
    if subject.found:
        confirm_host(state, subject.found, server, options.accept_host)
    if server.security is Security.NONE and not is_loopback(server.host):
        raise click.UsageError(
            _(
                "`--security none` is for a server on this machine only: a password would cross the network in the "
                "clear."
            )
        )
    auth = proposal.auth
    if how != NOTHING_TYPED:
        auth = Auth.OAUTH2
    elif auth is Auth.OAUTH2 and not options.auth and not _was_signed_in(existing, options):
        offered = subject.found.auth if subject.found else provider.auth if provider else ()
        # what can be typed needs nothing to be registered first
        auth = next((kind for kind in offered if kind is not Auth.OAUTH2), auth)
    before = existing if auth is Auth.OAUTH2 and not how.token_command and _was_signed_in(existing, options) else None
    username = proposal.username if proposal.username is not None else ask_username(state, provider)
    return Account(
        name=options.name or str(address),
        address=str(address),
        from_name="",
        provider=provider.id if provider else "",
        server=server,
        auth=auth,
        username=username,
        secret=before.secret if before else subject.place or SecretSource(Store.KEYRING),
        ca_file=options.ca_file or (existing.ca_file if existing else None),
        tls_fingerprint=options.tls_fingerprint or (existing.tls_fingerprint if existing else None),
        oauth2=before.oauth2 if before else None,
        config_file=before.config_file if before else "",
    )


def _was_signed_in(existing: Account | None, options: _Options) -> bool:
    """Whether the account signs in with OAuth2 already, where it is to do so from now on."""
    is_there = options.provider_id is None and existing is not None and options.host in (None, existing.server.host)
    return is_there and existing is not None and existing.auth is Auth.OAUTH2


def _proposal(subject: _Subject, options: _Options) -> Proposal:
    """What was typed, then what is saved, then what was found out."""
    existing, found = subject.existing, subject.found
    security = Security(options.security) if options.security else None
    typed = Overrides(
        options.host, options.port, security, options.username, Auth(options.auth) if options.auth else None
    )
    if existing and not (options.host or options.provider_id):
        keep_rest = options.port is None and security is None
        typed = replace(
            typed,
            host=existing.server.host,
            port=existing.server.port if keep_rest else typed.port,
            security=existing.server.security if keep_rest else typed.security,
        )
    if existing and not options.provider_id:
        typed = replace(typed, username=typed.username or existing.username or None, auth=typed.auth or existing.auth)
    if found and options.accept_host in {server.host for server in found.servers}:
        typed = replace(typed, host=options.accept_host)
    known = Known(found.servers, found.username, found.auth) if found else known_for(subject.address, subject.provider)
    return propose(known, typed)


def _secret(state: State, account: Account, *, known: bool, from_stdin: bool) -> Secret | None:
    """The secret to log in with: from its place when that is known, else from a person.

    For a person the keyring is tried out first.
    """
    if account.auth is Auth.NONE:
        return None
    if known:
        return fresh_secret_for(account, may_prompt=state.may_ask)
    if (from_stdin or state.may_ask) and account.secret.store is Store.KEYRING:
        stores.prepare_keyring(may_prompt=state.may_ask)
    return new_secret(state, account.auth, account.username, from_stdin=from_stdin)


def _save(
    state: State, account: Account, secret: Secret | None, *, make_default: bool, tokens: Tokens | None = None
) -> dict[str, object]:
    """Save, and show a person what is saved; the same for a program."""
    kept = secret if stores.is_kept_here(account) else None
    saved = save(state.config_file, account, kept, make_default=make_default, may_prompt=state.may_ask, tokens=tokens)
    view = views.json.account(account, is_default=saved.is_default)
    views.human.left_behind(account.name, saved.left_behind)
    if state.json:
        return view
    views.human.account(account, is_default=saved.is_default)
    views.human.say(
        _("Saved in {path}. Send a test mail: `smtpsetup test {account}`.").format(
            path=state.config_file, account=shlex.quote(account.name)
        )
    )
    return view


def _show(error: SmtpsetupError) -> None:
    views.human.error(error)

"""Signing in with OAuth2, for `configure` and `login`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from smtpsetup.address.address import parse_address
from smtpsetup.cli import places, views
from smtpsetup.cli.ask import DeclinedError, ask
from smtpsetup.cli.proof import prove
from smtpsetup.cli.ways import offer_ways
from smtpsetup.config import endpoint
from smtpsetup.config.secret_source import STORES, SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret, TransportKind
from smtpsetup.credentials import stores
from smtpsetup.oauth import sign_in
from smtpsetup.oauth.client_steps import client_steps, wrong_form

if TYPE_CHECKING:
    from smtpsetup.cli.identify import Search
    from smtpsetup.cli.sign_in_options import SignInOptions
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import Api, Endpoints, TokenClient, Tokens
    from smtpsetup.oauth.device import DeviceCode
    from smtpsetup.oauth.sign_in import NamedClient
    from smtpsetup.providers.row import Provider


def check_place(  # noqa: PLR0913  what a place can conflict with
    account: Account,
    existing: Account | None,
    source: SecretSource | None,
    provider: Provider | None,
    *,
    from_stdin: bool,
    is_app_only: bool = False,
) -> None:
    """Raise click.UsageError for a password on standard input with OAuth2, or a refresh token taken for a password."""
    if account.auth is Auth.OAUTH2 and from_stdin and not is_app_only:
        takes_none = provider is not None and provider.auth == (Auth.OAUTH2,)
        text = _("{account} signs in with OAuth2 and takes no password. With a password: `--auth password`.")
        only = _("{account} signs in with OAuth2, and {provider} takes no password: leave out --password-stdin.")
        raise click.UsageError(
            (only if takes_none else text).format(account=account.name, provider=provider.name if provider else "")
        )
    if account.auth is not Auth.OAUTH2 and existing and existing.oauth2 and source and source == existing.secret:
        text = _("What is there keeps {account} signed in, and is no password: {place}. Name another place.")
        raise click.UsageError(text.format(place=source.described(), account=account.name))


def place_of_sign_in(account: Account, source: SecretSource | None) -> SecretSource:
    """Where the refresh token goes: the named place, the account's own, else the keyring."""
    if source:
        return source
    is_signed_in = account.oauth2 is not None and not account.oauth2.is_app_only  # its place holds a refresh token
    has_place = is_signed_in or stores.is_kept_here(account)
    return account.secret if has_place else SecretSource(Store.KEYRING)


def endpoints_for(account: Account, provider: Provider | None, how: SignInOptions) -> Endpoints:
    """Where to sign in. Raises SmtpsetupError where that is unknown, click.UsageError for options that conflict."""
    if how.scope and not how.issuer:
        raise click.UsageError(_("--scope goes with --issuer: the providers of the table have theirs there."))
    if how.issuer and how.tenant:
        raise click.UsageError(_("--tenant is for the providers of the table, and goes with no --issuer."))
    if how.issuer:
        return sign_in.endpoints_published(account, how.issuer, tuple((how.scope or "").split()))
    if provider is None or provider.oauth2 is None:
        hint = _(
            "Name the sign-in server, if you know it: `--issuer URL --scope SCOPE`. Or let another program do it: "
            "`--token-command CMD`."
        )
        message = _("It is not known where to sign in for {server}.").format(server=account.server)
        raise SmtpsetupError("auth.oauth2-required", message, hints=(hint,))
    if account.transport is TransportKind.SMTP and how.large_mail:
        raise click.UsageError(_("--large-mail is for accounts of Microsoft Graph."))
    if how.tenant and "{tenant}" not in provider.oauth2.token_endpoint:
        raise click.UsageError(
            _("{provider} has no organisations to name with --tenant.").format(provider=provider.name)
        )
    return for_transport(provider.oauth2.of_tenant(how.tenant or ""), account, provider.api, how)


def for_transport(endpoints: Endpoints, account: Account, api: Api | None, how: SignInOptions) -> Endpoints:
    """The endpoints with the scopes of the account's transport, in the cloud of its API.

    Raises click.UsageError for a permission that the API does not have.
    """
    if account.transport is TransportKind.SMTP or api is None:
        return endpoints
    if how.large_mail and not api.large_scope:
        raise click.UsageError(_("--large-mail is for accounts of Microsoft Graph."))
    had_large = account.oauth2 is not None and any(scope.endswith("Mail.ReadWrite") for scope in account.oauth2.scopes)
    wants_large = bool(api.large_scope) and (how.large_mail or had_large)
    wants_shared = bool(api.shared_scope) and account.username != account.address
    more = ((api.large_scope, wants_large), (api.shared_scope, wants_shared))
    scopes = (*api.scopes, *(scope for scope, is_wanted in more if is_wanted))
    return endpoint.of_cloud(endpoints._replace(scopes=scopes, app_scope=api.app_scope), account.server.host)


def with_saved(how: SignInOptions, client: TokenClient | None) -> SignInOptions:
    """The typed options; missing ones are taken from the account's last sign-in."""
    if client is None:
        return how
    issuer = how.issuer or client.issuer or None
    return how._replace(
        tenant=how.tenant or client.tenant or None,
        issuer=issuer,
        scope=how.scope or (" ".join(client.scopes) if issuer else None),
    )


def sign_in_account(  # noqa: PLR0913  the sign-in, and how it is proved
    state: State,
    account: Account,
    provider: Provider | None,
    how: SignInOptions,
    *,
    verify: bool = True,
    search: Search | None = None,
) -> tuple[Account, Tokens]:
    """Sign in and, with `verify`, log in at the mail server. Returns the account to save, and its tokens.

    `search` says who may be asked after a refused login.
    Raises SmtpsetupError, click.UsageError, click.Abort.
    """
    how = with_saved(how, account.oauth2)
    endpoints = endpoints_for(account, provider, how)
    if not STORES[account.secret.store].is_writable:
        raise click.UsageError(
            _("What signing in gives has to be written: keep it in the keyring, or in a file with --password-file.")
        )
    existing = state.config().accounts.get(account.name)
    places.check_file_for_sign_in(account, existing)
    client = _client(state, account, provider, endpoints, how)
    if account.secret.store is Store.KEYRING:
        account = account._replace(secret=places.place_for_sign_in(state, account.name))
    views.human.note(sign_in.lasts(endpoints.unused_days))
    is_saved = existing is not None
    done = sign_in.sign_in(
        endpoints,
        client,
        account,
        _Terminal(state),
        is_saved=is_saved,
        by_browser=how.by_browser,
        may_paste=state.may_ask and sys.platform != "win32",
    )
    _discard_typed_input()
    account = account._replace(oauth2=done.client)
    if not verify:
        return account, done.tokens
    try:
        token = Secret(done.tokens.access_token)
        prove(state, account, token, provider, is_saved=False, may_retype=False, search=search)
    except SmtpsetupError as error:
        raise (
            sign_in.not_signed_in_as(account, error, is_saved=is_saved) if error.code == "auth.token-revoked" else error
        ) from None
    return account, done.tokens


def _discard_typed_input() -> None:
    """Discard what was pasted before the browser answered, so that it does not answer the next question."""
    if sys.stdin.isatty() and sys.platform != "win32":
        import termios  # POSIX only

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _client(
    state: State, account: Account, provider: Provider | None, endpoints: Endpoints, how: SignInOptions
) -> NamedClient:
    """The OAuth2 client: named, of the last sign-in, registered now or asked for.

    Raises SmtpsetupError, click.Abort.
    """
    before = sign_in.client_before(account.oauth2, endpoints)
    named = sign_in.client_named(
        endpoints, (how.client_id or (before.id if before else "")).strip(), state.config().oauth2_clients
    )
    if before and named and named.id == before.id:
        return named if named.secret else before
    client = named or sign_in.registered(endpoints, account)
    if client is not None:
        return client if client.secret or not state.may_ask else client._replace(secret=_ask_client_secret(endpoints))
    needed = sign_in.what_is_needed(provider, endpoints, account.transport)
    if not state.may_ask or endpoints.is_closed:
        raise needed
    if provider and not how.issuer:
        offer_ways(state, parse_address(account.address), provider, needed)
    return sign_in.NamedClient(_ask_client_id(endpoints, needed), _ask_client_secret(endpoints))


def _ask_client_id(endpoints: Endpoints, needed: SmtpsetupError) -> str:
    """Say how to get a client id, and ask for it until it has the provider's form. Raises DeclinedError."""
    steps = client_steps(endpoints)
    if not steps:
        views.human.note(needed.message)
    views.human.steps(steps or needed.hints)
    while True:
        typed = str(ask(_("Client id (Enter to stop)"), default="", show_default=False)).strip()
        if not typed:
            raise DeclinedError
        wrong = wrong_form(endpoints, typed)
        if not wrong:
            return typed
        views.human.note(wrong)


def _ask_client_secret(endpoints: Endpoints) -> str:
    """Ask for the client secret; `""` for none.

    A server with the device flow (RFC 8628) or dynamic registration (RFC 7591) takes public clients: no question.
    """
    if endpoints.device_authorization_endpoint or endpoints.registration_endpoint:
        return ""
    return str(
        ask(
            _("Client secret (not shown while you type; Enter where there is none)"),
            default="",
            show_default=False,
            hide_input=True,
        )
    ).strip()


class _Terminal:
    """What the sign-in shows on standard error."""

    def __init__(self, state: State) -> None:
        self._state = state

    def type_code(self, code: DeviceCode) -> None:
        """Show a code, and the page to type it on."""
        views.human.note(_("Open {url} on any device, sign in, and type this code:").format(url=code.verification_uri))
        views.human.note(f"\n    {code.user_code}\n")
        views.human.note(
            _("Waiting for you to sign in; the code is good for {n} minutes ...").format(
                n=max(1, round(code.seconds / 60))
            )
        )

    def open_page(self, url: str) -> None:
        """Show an address and open it in a browser, where there is one."""
        views.human.note(_("Sign in at this address, in a browser on this machine:"))
        click.echo(f"\n{url}\n", err=True)
        if self._state.may_ask and _has_browser():
            import webbrowser  # needed for this sign-in only

            webbrowser.open(url)
        if self._state.may_ask:
            views.human.note(
                _(
                    "No browser here? Open the address on another machine. After the sign-in its browser shows an "
                    "error; paste the address of that page here:"
                )
            )

    def wrong_paste(self, reason: str) -> None:
        """Say what is wrong with an address that was pasted."""
        text = _(
            "That is not it: {reason}. It begins with http://127.0.0.1 or http://localhost and holds code= and "
            "state=. Paste it whole:"
        )
        views.human.note(text.format(reason=reason))


def _has_browser() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    )

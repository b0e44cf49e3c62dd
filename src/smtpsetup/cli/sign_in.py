"""Signing in with OAuth2, for `configure` and `login`."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from smtpsetup.address.address import parse_address
from smtpsetup.cli import places, views
from smtpsetup.cli.ask import DeclinedError, ask
from smtpsetup.cli.proof import prove
from smtpsetup.cli.ways import offer_ways
from smtpsetup.config.secret_source import STORES, SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret
from smtpsetup.credentials import stores
from smtpsetup.oauth import sign_in
from smtpsetup.oauth.client_steps import client_steps, wrong_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.identify import Search
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import Endpoints, TokenClient, Tokens
    from smtpsetup.oauth.device import DeviceCode
    from smtpsetup.oauth.sign_in import NamedClient
    from smtpsetup.providers.table import Provider


class SignInOptions(NamedTuple):
    """The options of signing in as typed; all are at their defaults where none was."""

    client_id: str | None = None
    tenant: str | None = None
    issuer: str | None = None
    scope: str | None = None
    token_command: str | None = None
    by_browser: bool = False


def sign_in_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of signing in; the command gets them as `how`."""

    @functools.wraps(command)
    def with_options(*arguments: Any, **typed: Any) -> None:  # noqa: ANN401  whatever else the command takes
        how = SignInOptions(**{name: typed.pop(name) for name in SignInOptions._fields})
        for name, value in how._asdict().items():
            if value == "":
                raise click.UsageError(_("{flag} is empty.").format(flag=f"--{name.replace('_', '-')}"))
        command(*arguments, how=how, **typed)

    decorated: Callable[..., Any] = with_options
    for option in (
        click.option(
            "--browser",
            "by_browser",
            is_flag=True,
            help=_("For OAuth2: sign in in a browser, also where a code on any device would do."),
        ),
        click.option(
            "--token-command",
            metavar=_("CMD"),
            help=_("For OAuth2: let this command print the access token, every time it is needed."),
        ),
        click.option("--scope", metavar="SCOPE", help=_("For OAuth2 with --issuer: the permission to ask for.")),
        click.option(
            "--issuer", metavar="URL", help=_("For OAuth2: the sign-in server of a provider that is not in the table.")
        ),
        click.option(
            "--tenant", metavar=_("NAME"), help=_("For OAuth2 at Microsoft: the organisation, its domain or id.")
        ),
        click.option("--client-id", metavar="ID", help=_("For OAuth2: the id of your own program at the provider.")),
    ):
        decorated = option(decorated)
    return decorated


def check_sign_in_options(auth: str | None, how: SignInOptions, source: SecretSource | None) -> None:
    """Raise click.UsageError where options of signing in conflict with other options."""
    if auth not in (None, Auth.OAUTH2) and how != SignInOptions():
        raise click.UsageError(
            _("--client-id, --tenant, --issuer, --scope, --token-command and --browser are for `--auth oauth2`.")
        )
    if how.token_command and (source or how._replace(token_command=None) != SignInOptions()):
        raise click.UsageError(
            _("--token-command goes with no other option of signing in, and with no place for a password.")
        )


def check_place(
    account: Account,
    existing: Account | None,
    source: SecretSource | None,
    provider: Provider | None,
    *,
    from_stdin: bool,
) -> None:
    """Raise click.UsageError for a password on standard input with OAuth2, or a refresh token taken for a password."""
    if account.auth is Auth.OAUTH2 and from_stdin:
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
    has_place = account.oauth2 is not None or stores.is_kept_here(account)
    return account.secret if has_place else SecretSource(Store.KEYRING)


def _endpoints_for(account: Account, provider: Provider | None, how: SignInOptions) -> Endpoints:
    """Where to sign in. Raises SmtpsetupError where that is unknown, click.UsageError for options that conflict."""
    if how.scope and not how.issuer:
        raise click.UsageError(_("--scope goes with --issuer: the providers of the table have theirs there."))
    if how.issuer and how.tenant:
        raise click.UsageError(_("--tenant is for the providers of the table, and goes with no --issuer."))
    if how.issuer:
        return sign_in.endpoints_published(how.issuer, tuple((how.scope or "").split()))
    if provider is None or provider.oauth2 is None:
        hint = _(
            "Name the sign-in server, if you know it: `--issuer URL --scope SCOPE`. Or let another program do it: "
            "`--token-command CMD`."
        )
        message = _("It is not known where to sign in for {server}.").format(server=account.server)
        raise SmtpsetupError("auth.oauth2-required", message, hints=(hint,))
    if how.tenant and "{tenant}" not in provider.oauth2.token_endpoint:
        raise click.UsageError(
            _("{provider} has no organisations to name with --tenant.").format(provider=provider.name)
        )
    return provider.oauth2.of_tenant(how.tenant or "")


def _with_saved(how: SignInOptions, client: TokenClient | None) -> SignInOptions:
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
    how = _with_saved(how, account.oauth2)
    endpoints = _endpoints_for(account, provider, how)
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
    needed = sign_in.what_is_needed(provider, endpoints)
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


def token_source(how: SignInOptions) -> SecretSource | None:
    """The command that prints access tokens, as the place of the secret; None where none was named."""
    return SecretSource(Store.COMMAND, how.token_command) if how.token_command else None

"""Sign-in with OAuth2: the choice of the client, the sign-in itself, and its errors."""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Protocol

from smtpsetup import DOCUMENTATION
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, TransportKind
from smtpsetup.core.oauth_types import TokenClient
from smtpsetup.oauth import browser, device, registration
from smtpsetup.oauth.request import OAuthError
from smtpsetup.oauth.token_endpoint import error_with, explained, host_of, web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import Endpoints, Tokens
    from smtpsetup.oauth.device import DeviceCode
    from smtpsetup.providers.row import Provider


class Person(Protocol):
    """What a sign-in shows to the person."""

    def type_code(self, code: DeviceCode) -> None:
        """Show a code and the page to type it in."""

    def open_page(self, url: str) -> None:
        """Show a URL and open it in a browser, if there is one."""

    def wrong_paste(self, reason: str) -> None:
        """Show what is wrong with a pasted URL."""


class SignedIn(NamedTuple):
    """The result of a sign-in: what the account needs to renew its tokens, and the first tokens."""

    client: TokenClient
    tokens: Tokens


class NamedClient(NamedTuple):
    """A client as it is registered at a provider; `secret` is `""` for a public client."""

    id: str
    secret: str = ""


def client_named(endpoints: Endpoints, option: str, configured: Mapping[str, Mapping[str, str]]) -> NamedClient | None:
    """The client named by an option, by `SMTPSETUP_<PROVIDER>_CLIENT_ID`, or in the configuration; None if by none."""
    variable = _variable(endpoints)
    row = configured.get(endpoints.client, {})
    in_environment, in_config = os.environ.get(f"{variable}_ID", ""), row.get("client_id", "")
    found = option or in_environment or in_config
    if not found:
        return None
    # a secret belongs to the client id beside it
    secret = os.environ.get(f"{variable}_SECRET", "") if in_environment in ("", found) else ""
    return NamedClient(found, secret or (row.get("client_secret", "") if in_config == found else ""))


def client_before(client: TokenClient | None, endpoints: Endpoints) -> NamedClient | None:
    """The client of the account's earlier sign-in if that was at the same provider, which alone may get its secret."""
    if client is None:
        return None
    if client.issuer or endpoints.issuer:  # a host may have several issuers
        is_same = client.token_endpoint == endpoints.token_endpoint
    else:  # a provider of the table has one endpoint per organisation, and knows a client in all of them
        is_same = host_of(client.token_endpoint) == host_of(endpoints.token_endpoint)
    return NamedClient(client.client_id, client.client_secret) if is_same else None


def _variable(endpoints: Endpoints) -> str:
    """The prefix of the environment variables for a provider's client."""
    return f"SMTPSETUP_{re.sub('[^A-Z0-9]', '_', endpoints.client.upper())}_CLIENT"


def endpoints_published(account: Account, issuer: str, scopes: tuple[str, ...]) -> Endpoints:
    """The endpoints that a sign-in server publishes (RFC 8414). Raises SmtpsetupError."""
    try:
        return registration.endpoints_of(web(proxy=account.proxy), issuer, scopes)
    except OAuthError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The sign-in server {url} does not tell its settings: {reason}.").format(
                url=issuer, reason=error.words.rstrip(".")
            ),
            hints=(
                _(
                    "Check the address: its settings are read from /.well-known/oauth-authorization-server there (RFC "
                    "8414)."
                ),
            ),
            exit_code=EX_TEMPFAIL if error.is_temporary else None,
        ) from error


def registered(endpoints: Endpoints, account: Account) -> NamedClient | None:
    """Register a client dynamically (RFC 7591); None if the provider does not offer that. Raises SmtpsetupError."""
    if not endpoints.registration_endpoint:
        return None
    try:
        return NamedClient(registration.register(web(proxy=account.proxy), endpoints))
    except OAuthError as error:
        if error.is_temporary:
            raise explained(error, account, is_saved=False) from error
        raise SmtpsetupError(
            "auth.oauth2-required",
            _("The sign-in server of {server} registers no program: {reason}.").format(
                server=account.server.host, reason=error.words.rstrip(".")
            ),
            hints=(_("Name the client id of a program that is registered there: `--client-id ID`."),),
        ) from error


def sign_in(  # noqa: PLR0913  independent facts of one sign-in, which one caller has
    endpoints: Endpoints,
    client: NamedClient,
    account: Account,
    person: Person,
    *,
    is_saved: bool,
    by_browser: bool,
    may_paste: bool,
) -> SignedIn:
    """Let a person sign in: with a code on any device if the provider offers that, else in a browser.

    `is_saved` says whether the account has been saved, `may_paste` whether standard input may be read for a pasted URL.
    Raises SmtpsetupError.
    """
    token_client = TokenClient(
        client.id,
        endpoints.token_endpoint,
        endpoints.scopes,
        client.secret,
        endpoints.unused_days,
        endpoints.tenant,
        endpoints.issuer,
    )
    if not (endpoints.device_authorization_endpoint or endpoints.authorization_endpoint):
        raise SmtpsetupError("auth.oauth2-required", _("The provider has no way to sign in that this program knows."))
    by_device_code = bool(endpoints.device_authorization_endpoint) and not (
        by_browser and endpoints.authorization_endpoint
    )
    try:
        tokens = (
            _with_device_code(endpoints, token_client, account, person)
            if by_device_code
            else _with_browser(endpoints, token_client, account, person, may_paste=may_paste)
        )
    except OAuthError as error:
        account = account._replace(oauth2=token_client)
        raise explained(error, account, is_saved=is_saved, by_device_code=by_device_code) from error
    if not tokens.refresh_token:
        raise SmtpsetupError(
            "auth.consent-required",
            _("The provider gave a token for an hour, and none to get new ones with."),
            hints=(
                _("Give the program access for longer where it is registered (offline access), then sign in again."),
            ),
        )
    return SignedIn(token_client, tokens)


def _with_device_code(endpoints: Endpoints, client: TokenClient, account: Account, person: Person) -> Tokens:
    code = device.begin(web(proxy=account.proxy), endpoints, client)
    person.type_code(code)
    return device.wait(web(proxy=account.proxy), client, code)


def _with_browser(
    endpoints: Endpoints, client: TokenClient, account: Account, person: Person, *, may_paste: bool
) -> Tokens:
    with closing(browser.listener()) as server:
        attempt = browser.begin(endpoints, client, account.username, server.getsockname()[1])
        person.open_page(attempt.url)
        code = browser.wait(attempt, server, person.wrong_paste if may_paste else None)
    return browser.finish(web(proxy=account.proxy), client, attempt, code)


def what_is_needed(provider: Provider | None, endpoints: Endpoints, transport: TransportKind) -> SmtpsetupError:
    """The error that a client id is missing: how to get one, and the simpler ways to log in that the provider has."""
    simpler = _simpler(provider) if transport is TransportKind.SMTP else ()
    name = provider.name if provider else endpoints.client
    if endpoints.is_closed:
        message = _("{provider} gives client ids for OAuth2 to partners only.").format(provider=name)
        return SmtpsetupError("auth.oauth2-required", message, hints=simpler)
    if endpoints.register_url:
        register = _("Register a program of your own at {provider}; {docs}/oauth2.md says how, step by step: {url}")
    else:
        register = _(
            "Register a program of your own at {provider}, where they have a page for developers; {docs}/oauth2.md "
            "says what it needs."
        )
    hints = [register.format(provider=name, docs=DOCUMENTATION, url=endpoints.register_url)]
    hints += [
        _("Then give its client id: `--client-id ID`, or in {variable}.").format(variable=f"{_variable(endpoints)}_ID"),
        _("Or let a program that signs in already print the access token: `--token-command CMD`."),
    ]
    return SmtpsetupError(
        "auth.oauth2-required",
        _("To sign in at {provider}, a client id is needed: smtpsetup has none of its own.").format(provider=name),
        hints=(*simpler, *hints) if provider and Auth.APP_PASSWORD in provider.auth else (*hints, *simpler),
    )


def _simpler(provider: Provider | None) -> tuple[str, ...]:
    """A hint that names a way to log in without OAuth2; none where the provider has none."""
    if provider is None:
        return ()
    if Auth.APP_PASSWORD in provider.auth:
        return (_("Simpler: an app password. Run the command again with `--auth app-password`."),)
    if Auth.PASSWORD in provider.auth:
        return (_("Or, as long as the provider still takes one, with the password: `--auth password`."),)
    return ()


def lasts(unused_days: int) -> str:
    """A text on how long a sign-in works unattended."""
    if unused_days:
        text = _(
            "A sign-in works unattended as long as it is used at least once in {n} days, until the password is "
            "changed or access is taken back."
        )
        return text.format(n=unused_days)
    return _("A sign-in works unattended until the password is changed or access is taken back.")


def not_signed_in_as(account: Account, error: SmtpsetupError, *, is_saved: bool) -> SmtpsetupError:
    """The error for a server that refuses a new token: most likely another user than the account's has signed in."""
    wrong_user = error_with("auth.wrong-user", account, is_saved=is_saved)
    wrong_user.exit_code, wrong_user.failure, wrong_user.result = error.exit_code, error.failure, error.result
    return wrong_user

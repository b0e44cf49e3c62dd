"""Signing in as a program, without a person, for `configure` and `login`."""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import places, views
from smtpsetup.cli.ask import DeclinedError, ask
from smtpsetup.cli.proof import prove
from smtpsetup.cli.secrets import new_secret
from smtpsetup.cli.sign_in import endpoints_for, with_saved
from smtpsetup.cli.sign_in_options import NEVER
from smtpsetup.config.secret_source import SecretSource, Store, other_places
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret
from smtpsetup.core.oauth_types import Grant, TokenClient
from smtpsetup.credentials import stores
from smtpsetup.oauth import app_only, app_secret, sign_in
from smtpsetup.oauth.client_steps import wrong_form
from smtpsetup.setup.admin_steps import admin_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.cli.sign_in_options import SignInOptions
    from smtpsetup.cli.state import State
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import Endpoints, Tokens
    from smtpsetup.oauth.app_secret import AppSecret
    from smtpsetup.providers.row import Provider
    from smtpsetup.setup.admin_steps import AdminStep

_FOR_THE_ADMINISTRATOR = (
    "auth.access-denied",
    "auth.admin-approval-required",
    "auth.api-disabled",
    "auth.delegation-missing",
    "auth.disabled-by-admin",
    "auth.token-revoked",
)


def sign_in_as_app(  # noqa: PLR0913  the sign-in, and how it is proved
    state: State,
    account: Account,
    provider: Provider | None,
    how: SignInOptions,
    *,
    from_stdin: bool,
    verify: bool = True,
) -> tuple[Account, Secret | None, Tokens | None]:
    """Sign in with the secret in the account's place, or a typed one, and prove it.

    Returns the account, the secret to save (None where it stays in its place) and the first tokens, None where a place
    was not read. Raises SmtpsetupError, click.UsageError, click.Abort.
    """
    if how.large_mail:
        raise click.UsageError(_("With --app-only an administrator gives the permission for large mail."))
    is_saved = account.name in state.config().accounts
    before = account.oauth2
    how = with_saved(how, before)
    endpoints = endpoints_for(account, provider, _with_tenant(account, provider, how))
    client = TokenClient(
        "",
        endpoints.token_endpoint,
        _scopes(account, provider, endpoints, how),
        tenant=endpoints.tenant,
        issuer=endpoints.issuer,
        grant=Grant.CLIENT_CREDENTIALS,
    )
    account = account._replace(oauth2=client)
    is_typed = from_stdin or stores.is_kept_here(account)
    if not (verify or is_typed):  # a place that cannot be read here, such as a unit's credential, can still be saved
        client = client._replace(
            client_id=_client_id(state, None, endpoints, how, before), secret_expires=_named_day(how)
        )
        return account._replace(oauth2=client), None, None
    secret = None if is_typed and not from_stdin else _given(state, account, from_stdin=from_stdin)
    client = client._replace(client_id=_client_id(state, secret, endpoints, how, before))
    if is_typed and account.secret.store is Store.KEYRING:
        account = account._replace(secret=places.place_for_sign_in(state, account.name))
    if state.may_ask and not is_saved:
        _show_steps(account, client, secret)
    if secret is None:
        secret = _asked(state)
    key = app_secret.parsed(secret)
    client = client._replace(grant=key.grant, secret_expires=_expiry(state, key, how))
    account = account._replace(oauth2=client)
    with _hints_for_the_administrator(account, client, key):
        tokens = app_only.first_tokens(account, client, secret, is_saved=is_saved)
        if verify:
            prove(state, account, Secret(tokens.access_token), provider, is_saved=is_saved, may_retype=False)
    return account, secret if is_typed else None, tokens


@contextmanager
def _hints_for_the_administrator(account: Account, client: TokenClient, key: AppSecret) -> Iterator[None]:
    """Where a sign-in is refused for want of a permission, say what an administrator has to do."""
    try:
        yield
    except SmtpsetupError as error:
        if error.code in _FOR_THE_ADMINISTRATOR:
            steps = admin_steps(account, client, client_number=key.client_number)
            error.hints = tuple(_in_one_line(step) for step in steps) or error.hints
        raise


def place_of_app_secret(account: Account, source: SecretSource | None, *, from_stdin: bool) -> SecretSource:
    """Where the secret is or goes: the named place, that of the last sign-in as a program, else one of smtpsetup's own.

    What the account's place held until now, a password or a person's sign-in, must not go to the token endpoint. A
    secret `from_stdin` must not replace a file of the user's.
    """
    is_app_only = account.oauth2 is not None and account.oauth2.is_app_only and not from_stdin
    has_place = is_app_only or stores.is_kept_here(account._replace(oauth2=None))
    return source or (account.secret if has_place else SecretSource(Store.KEYRING))


def _given(state: State, account: Account, *, from_stdin: bool) -> Secret:
    """The secret on standard input, or in the place that was named. Raises SmtpsetupError."""
    if from_stdin:
        return new_secret(state, Auth.OAUTH2, account.name, from_stdin=True, may_have_lines=True)
    return stores.read(account, may_prompt=state.may_ask)


def _asked(state: State) -> Secret:
    """Ask for the client secret. Raises SmtpsetupError, click.Abort."""
    if not state.may_ask:
        raise SmtpsetupError(
            "secret.missing",
            _("The client secret is missing, and nobody can be asked for it here."),
            hints=(
                _("Pipe it in: `--password-stdin`, on a server together with `--password-file FILE`."),
                _("Or say where it is, or the certificate with its key: {options}.").format(options=other_places()),
            ),
        )
    while True:
        typed = ask(_("Client secret (not shown while you type)"), hide_input=True, default="", show_default=False)
        try:
            return stores.checked(typed, Auth.OAUTH2)
        except SmtpsetupError as error:
            views.human.note(error.message)


def _client_id(
    state: State, secret: Secret | None, endpoints: Endpoints, how: SignInOptions, before: TokenClient | None
) -> str:
    """The id of the program: the service account's own, a named one, or one that is typed.

    Raises click.UsageError, click.Abort.
    """
    if secret is not None and (issuer := app_secret.parsed(secret).issuer):
        return issuer
    earlier = sign_in.client_before(before, endpoints)
    typed = how.client_id or (earlier.id if earlier else "")
    named = sign_in.client_named(endpoints, typed.strip(), state.config().oauth2_clients)
    if named:
        return named.id
    if not state.may_ask:
        raise click.UsageError(_("Name the program that signs in: `--client-id ID`."))
    while True:
        text = str(ask(_("Client id of the program (Enter to stop)"), default="", show_default=False)).strip()
        if not text:
            raise DeclinedError
        wrong = wrong_form(endpoints, text)
        if not wrong:
            return text
        views.human.note(wrong)


def _show_steps(account: Account, client: TokenClient, secret: Secret | None) -> None:
    """Print what an administrator does once, each command on a line of its own, to be copied."""
    key = app_secret.parsed(secret) if secret else None
    client = client._replace(grant=key.grant) if key else client
    steps = admin_steps(account, client, client_number=key.client_number if key else "")
    if key and key.grant is Grant.JWT:
        views.human.note("\n" + _("An administrator does this once:"))
    elif steps:
        views.human.note(
            "\n" + _("An administrator does this once; the commands are for PowerShell (ExchangeOnlineManagement):")
        )
    for number, step in enumerate(steps, start=1):
        views.human.note(f"  {number}. {step.text}", hang=5)
        for command in step.commands:
            click.echo(f"     {command}", err=True)


def _in_one_line(step: AdminStep) -> str:
    return " ".join((step.text, *(f"`{command}`" for command in step.commands)))


def _with_tenant(account: Account, provider: Provider | None, how: SignInOptions) -> SignInOptions:
    """A program signs in at one organisation: that of the address, unless another is named."""
    has_tenant = provider is not None and provider.oauth2 is not None and "{tenant}" in provider.oauth2.token_endpoint
    is_named = how.tenant or how.issuer
    return how if is_named or not has_tenant else how._replace(tenant=account.address.rpartition("@")[2])


def _scopes(account: Account, provider: Provider | None, endpoints: Endpoints, how: SignInOptions) -> tuple[str, ...]:
    if how.issuer:
        return endpoints.scopes
    if endpoints.app_scope:
        return (endpoints.app_scope,)
    text = _("At {provider}, a program cannot sign in without a person.")
    raise SmtpsetupError(
        "auth.oauth2-required",
        text.format(provider=provider.name if provider else account.server),
        hints=(_("Sign in yourself: leave out --app-only."),),
    )


def _named_day(how: SignInOptions) -> str:
    """The day in `--secret-expires`; `""` for none."""
    return "" if how.secret_expires in (None, NEVER) else str(how.secret_expires)


def _expiry(state: State, key: AppSecret, how: SignInOptions) -> str:
    """The last day of the secret: that of the certificate, or the one that was named or typed; `""` for none.

    A service account's key has no end. Raises click.UsageError where it must be named.
    """
    if key.key is not None:
        return key.expires
    if how.secret_expires:
        return _named_day(how)
    if not state.may_ask:
        raise click.UsageError(
            _(
                "Say when the client secret expires, as the provider shows it: "
                "`--secret-expires 2027-11-30`, or `never`."
            )
        )
    while True:
        question = _("When does the client secret expire? (YYYY-MM-DD, Enter for never)")
        typed = str(ask(question, default="", show_default=False)).strip()
        if not typed:
            return ""
        try:
            return datetime.date.fromisoformat(typed).isoformat()
        except ValueError:
            views.human.note(_("A day is written like 2027-11-30."))

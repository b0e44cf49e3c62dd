"""`smtpsetup login` and `smtpsetup logout`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click
from smtpsetup.cli.places import check_file_for_password
from smtpsetup.cli.proof import prove
from smtpsetup.cli.secrets import new_secret, secret_options
from smtpsetup.cli.sign_in import check_place, place_of_sign_in, sign_in_account
from smtpsetup.cli.sign_in_options import SignInOptions, check_sign_in_options, sign_in_options, token_source
from smtpsetup.cli.state import State, common_options
from smtpsetup.cli.transports import with_api
from smtpsetup.config.secret_source import STORES, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret, TransportKind
from smtpsetup.credentials import stores
from smtpsetup.oauth.access_token import secret_for
from smtpsetup.setup.save_account import forget_secret, save

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.config.secret_source import SecretSource
    from smtpsetup.core.oauth_types import Tokens


@click.command(
    "login",
    cls=Command,
    help=_("Replace an account's saved password once it has proved itself in a login, or sign in again with OAuth2."),
)
@click.argument("account", required=False, metavar=_("[ACCOUNT]"), shell_complete=by_click(account_names))
@click.option(
    "--auth",
    type=click.Choice([str(value) for value in Auth if value is not Auth.NONE]),
    help=_("What the provider wants as proof from now on, where that is something else than before."),
)
@click.option(
    "--transport",
    type=click.Choice([str(value) for value in TransportKind]),
    help=_("Send by this from now on, with a new sign-in: by Microsoft Graph or the Gmail API."),
)
@sign_in_options
@secret_options
@common_options
def login_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    account: str | None,
    auth: str | None,
    source: SecretSource | None,
    from_stdin: bool,  # noqa: FBT001  as above
    how: SignInOptions,
    transport: str | None,
) -> None:
    """Replace the account's secret."""
    chosen = state.config().account(account)
    if transport is not None and transport != chosen.transport:
        chosen, auth = with_api(chosen, TransportKind(transport), auth), str(Auth.OAUTH2)
    if auth in (None, Auth.OAUTH2) and _is_app_only(chosen, how):
        how = how._replace(app_only=True)
    check_sign_in_options(auth, how, source)
    if chosen.auth is Auth.NONE:
        raise click.UsageError(_("The account {account} needs no login.").format(account=chosen.name))
    is_by_command = chosen.auth is Auth.OAUTH2 and chosen.oauth2 is None and chosen.secret.store is Store.COMMAND
    if is_by_command and auth is None and source is None and how == SignInOptions():
        text = _("The access token of {account} comes from the command `{command}`: sign in with that program.")
        raise click.UsageError(text.format(account=chosen.name, command=chosen.secret.reference))
    kind = Auth(auth) if auth else Auth.OAUTH2 if how != SignInOptions() else chosen.auth
    check_place(
        chosen._replace(auth=kind),
        chosen,
        source,
        state.provider(chosen),
        from_stdin=from_stdin,
        is_app_only=how.app_only,
    )
    if kind is Auth.OAUTH2 and not how.token_command and how.app_only:
        _sign_in_as_app_again(state, chosen._replace(auth=kind), source, how, from_stdin=from_stdin)
    elif kind is Auth.OAUTH2 and not how.token_command:
        _sign_in_again(state, chosen._replace(auth=kind), source, how)
    else:
        _replace_secret(
            state, chosen._replace(auth=kind, oauth2=None), token_source(how) or source, from_stdin=from_stdin
        )


def _replace_secret(state: State, chosen: Account, source: SecretSource | None, *, from_stdin: bool) -> None:
    """Save another password, or another command for access tokens, once a login with it has worked."""
    if source is None and not STORES[chosen.secret.store].is_writable:
        elsewhere = _("Change it there, or choose another place: `smtpsetup login {account} --password-file FILE`.")
        raise click.UsageError(f"{_kept_elsewhere(chosen)} {elsewhere.format(account=shlex.quote(chosen.name))}")
    typed = source is None or from_stdin
    is_file_named = source is not None and source.store is Store.FILE
    keeps_place = typed and not is_file_named and STORES[chosen.secret.store].is_writable
    changed = chosen._replace(secret=chosen.secret if keeps_place or source is None else source, verified=True)
    if typed:
        if changed.secret.store is Store.KEYRING:
            stores.prepare_keyring(may_prompt=state.may_ask)
        elif changed.secret.store is Store.FILE:
            check_file_for_password(changed.secret.reference, changed.name)
        secret = new_secret(state, changed.auth, changed.username, from_stdin=from_stdin)
    else:
        secret = secret_for(changed, may_prompt=state.may_ask)
    _account, proved = prove(state, changed, secret, state.provider(changed), is_saved=True, may_retype=source is None)
    password = _("The password of {account} works. It is kept in: {place}.")
    token = _("The access token of {account} works. It comes from: {place}.")
    _save(state, changed, proved if typed else None, token if changed.auth is Auth.OAUTH2 else password)


def _is_app_only(account: Account, how: SignInOptions) -> bool:
    """Whether the account signs in without a person, and is to do so from now on, too."""
    return account.oauth2 is not None and account.oauth2.is_app_only and not how.by_browser


def _sign_in_as_app_again(
    state: State, account: Account, source: SecretSource | None, how: SignInOptions, *, from_stdin: bool
) -> None:
    """Sign in as a program with another secret, or with the one in its place."""
    from smtpsetup.cli.app_sign_in import place_of_app_secret, sign_in_as_app  # for servers

    account = account._replace(secret=place_of_app_secret(account, source, from_stdin=from_stdin))
    account, secret, tokens = sign_in_as_app(state, account, state.provider(account), how, from_stdin=from_stdin)
    text = _("The program is signed in. Its secret is in: {place}.")
    _save(state, account._replace(verified=True), secret, text, tokens)


def _sign_in_again(state: State, account: Account, source: SecretSource | None, how: SignInOptions) -> None:
    """Sign in with OAuth2 once more, with the same client unless another is named."""
    provider = state.provider(account)
    account = account._replace(secret=place_of_sign_in(account, source))
    account, tokens = sign_in_account(state, account, provider, how)
    text = _("You are signed in. What keeps {account} so is in: {place}.")
    _save(state, account._replace(verified=True), Secret(tokens.refresh_token), text, tokens)


def _save(state: State, account: Account, secret: Secret | None, text: str, tokens: Tokens | None = None) -> None:
    """Save the account and its secret, and print `text`."""
    saved = save(state.config_file, account, secret, make_default=False, may_prompt=state.may_ask, tokens=tokens)
    views.human.left_behind(account.name, saved.left_behind)
    state.output(
        lambda: views.json.account(account, is_default=saved.is_default),
        lambda: views.human.say(text.format(account=account.name, place=account.secret.described())),
    )


@click.command("logout", cls=Command, help=_("Forget an account's saved password or sign-in; its settings stay."))
@click.argument("account", required=False, metavar=_("[ACCOUNT]"), shell_complete=by_click(account_names))
@common_options
def logout_command(state: State, account: str | None) -> None:
    """Delete the account's secret where smtpsetup keeps it."""
    chosen = state.config().account(account)
    if not stores.is_kept_here(chosen) or chosen.auth is Auth.NONE:
        hint = _("Delete it there.")
        if chosen.secret.store is Store.FILE:
            hint = _("Delete it there: `rm {path}`.").format(path=shlex.quote(chosen.secret.reference))
        raise SmtpsetupError("secret.missing", _kept_elsewhere(chosen), hints=(hint,))
    removed = forget_secret(chosen, may_prompt=state.may_ask)
    text = (
        _("What logs {account} in is deleted: {place}.")
        if removed
        else _("There was nothing of {account} to delete: {place}.")
    )
    state.output(
        lambda: {"account": chosen.name, "secret_removed": removed},
        lambda: views.human.say(text.format(account=chosen.name, place=chosen.secret.described())),
    )


def _kept_elsewhere(account: Account) -> str:
    """A sentence that says where the secret is, where smtpsetup does not keep it."""
    if account.auth is Auth.NONE:
        return _("The account {account} needs no login.").format(account=account.name)
    text = _(STORES[account.secret.store].elsewhere)
    return text.format(account=account.name, reference=account.secret.reference)

"""`smtpsetup configure`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.address.address import parse_address
from smtpsetup.cli import views
from smtpsetup.cli.account_settings import Options, Subject, account_before_login, find_subject, from_name
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import by_click, provider_ids
from smtpsetup.cli.identify import search_options
from smtpsetup.cli.places import agree_to_file, check_file_for_password
from smtpsetup.cli.proof import prove
from smtpsetup.cli.secrets import new_secret, secret_options
from smtpsetup.cli.sign_in import check_place, place_of_sign_in, sign_in_account
from smtpsetup.cli.sign_in_options import SignInOptions, check_sign_in_options, sign_in_options, token_source
from smtpsetup.cli.state import State, common_options
from smtpsetup.cli.types import CA_FILE, FINGERPRINT, HOST, PORT, PROXY, SecurityType
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Secret, Security, TransportKind
from smtpsetup.credentials import file_store, stores
from smtpsetup.oauth.access_token import fresh_secret_for
from smtpsetup.setup.save_account import save

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import Tokens


@click.command(
    "configure",
    cls=Command,
    help=_("Set up an address: find its server, ask for what is missing, log in to prove it, then save."),
)
@click.argument("address", required=False, metavar=_("[ADDRESS]"))
@click.option("--account", "name", metavar=_("NAME"), help=_("A name for the account (default: the address)."))
@click.option("--from-name", metavar=_("NAME"), help=_("The sender name that recipients see."))
@click.option(
    "--provider",
    "provider_id",
    metavar=_("NAME"),
    shell_complete=by_click(provider_ids),
    help=_("Who runs the mail, by name or id in the provider table."),
)
@click.option("--host", type=HOST, metavar=_("HOST"), help=_("The outgoing mail server."))
@click.option("--port", type=PORT, metavar=_("PORT"), help=_("Its port, usually 465 or 587."))
@click.option(
    "--security",
    type=SecurityType([str(value) for value in Security]),
    help=_("TLS from the start, STARTTLS, or none (this machine only)."),
)
@click.option("--username", metavar=_("NAME"), help=_("The login name, where it is not the address."))
@click.option("--auth", type=click.Choice([str(value) for value in Auth]), help=_("What the provider wants as proof."))
@click.option("--ca-file", type=CA_FILE, metavar=_("FILE"), help=_("Trust these authorities instead of the system's."))
@click.option("--tls-fingerprint", type=FINGERPRINT, help=_("Trust only the certificate with this SHA-256."))
@click.option("--default", "make_default", is_flag=True, help=_("Make it the default account."))
@click.option("--no-verify", is_flag=True, help=_("Save without logging in first."))
@click.option(
    "--accept-host",
    type=HOST,
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
@click.option(
    "--transport",
    type=click.Choice([str(value) for value in TransportKind]),
    help=_("How mail is sent: over SMTP, or over HTTPS by Microsoft Graph or the Gmail API."),
)
@click.option(
    "--endpoint",
    metavar="URL",
    help=_("For Microsoft Graph or the Gmail API: another base address, such as that of a national cloud."),
)
@click.option(
    "--send-as",
    metavar=_("ADDRESS"),
    help=_("Send as this address, such as a shared mailbox, while ADDRESS signs in."),
)
@click.option(
    "--proxy",
    type=PROXY,
    metavar="URL",
    help=_("Connect through this proxy: socks5://HOST:PORT or http://HOST:PORT; or `none`."),
)
@search_options
@sign_in_options
@secret_options
@common_options
def configure_command(
    state: State,
    /,
    address: str | None,
    **typed: Any,  # noqa: ANN401  click's options, given a type at once
) -> None:
    """Find the settings, prove them by a login, save the account."""
    send_as = typed.pop("send_as")
    if send_as is not None:
        if address is None:
            raise click.UsageError(
                _("--send-as goes with the address that signs in: `configure ADDRESS --send-as OTHER`.")
            )
        typed["username"] = typed["username"] or str(parse_address(address))
        address = send_as
    options = Options(**typed)
    check_sign_in_options(options.auth, options.how, options.source)
    subject = find_subject(state, address, options)
    account = account_before_login(state, subject, options)
    is_reused = _is_secret_reused(account, subject.existing, options)
    check_place(
        account,
        subject.existing,
        options.source,
        subject.provider,
        from_stdin=options.from_stdin,
        is_app_only=options.how.app_only,
    )
    if account.auth is Auth.OAUTH2 and not options.how.token_command and not is_reused:
        if options.how.app_only:
            _sign_in_as_app(state, account, subject, options)
        else:
            _sign_in(state, account, subject, options)
        return
    if options.source and options.source.store is Store.FILE:  # before more is asked
        if options.from_stdin:
            check_file_for_password(options.source.reference, account.name)
        elif not options.no_verify:
            file_store.read(options.source.reference, account.name, may_prompt=False)
    place = token_source(options.how) or options.source or account.secret
    if is_reused and subject.existing:
        place = subject.existing.secret
    account = account._replace(from_name=from_name(state, subject, options), secret=place)
    account, secret = _log_in(state, account, subject, options, is_reused=is_reused)
    if subject.place and subject.place.store is Store.FILE and account.secret == subject.place and secret:
        agree_to_file(subject.place.reference)
    _save(state, account, None if account.oauth2 else secret, subject, options)


def _is_secret_reused(account: Account, existing: Account | None, options: Options) -> bool:
    """Whether the saved secret stays: nothing about it was typed, and its kind and host are unchanged.

    A saved secret never goes to another host.
    """
    if options.source is not None or options.auth == Auth.OAUTH2 or options.how != SignInOptions():
        return False
    if existing is None or existing.server.host != account.server.host or Auth.NONE in (existing.auth, account.auth):
        return False
    if Auth.OAUTH2 in (existing.auth, account.auth):
        return (existing.auth, existing.oauth2, existing.secret) == (account.auth, account.oauth2, account.secret)
    return True


def _log_in(
    state: State, account: Account, subject: Subject, options: Options, *, is_reused: bool
) -> tuple[Account, Secret | None]:
    """Read or ask for the secret and log in, unless with --no-verify. Returns the account and the secret to save."""
    has_place = is_reused or token_source(options.how) is not None or options.source is not None
    is_stored = has_place and not options.from_stdin
    if options.no_verify and is_stored:
        return account, None  # a place that cannot be read here, such as a unit's credential, can still be saved
    secret = _secret(state, account, is_stored=is_stored, from_stdin=options.from_stdin)
    if options.no_verify:
        return account, secret
    return prove(
        state,
        account,
        secret,
        subject.provider,
        is_saved=subject.existing is not None,
        may_retype=not has_place and account.auth is not Auth.NONE,
        may_move=not is_reused,
        search=options.search,
    )


def _secret(state: State, account: Account, *, is_stored: bool, from_stdin: bool) -> Secret | None:
    """The secret to log in with, from its place or typed; before it is typed, the keyring is checked."""
    if account.auth is Auth.NONE:
        return None
    if is_stored:
        return fresh_secret_for(account, may_prompt=state.may_ask)
    if (from_stdin or state.may_ask) and account.secret.store is Store.KEYRING:
        stores.prepare_keyring(may_prompt=state.may_ask)
    return new_secret(state, account.auth, account.username, from_stdin=from_stdin)


def _sign_in(state: State, account: Account, subject: Subject, options: Options) -> None:
    """Sign in with OAuth2 and save."""
    account = account._replace(secret=place_of_sign_in(account, options.source))
    account, tokens = sign_in_account(
        state, account, subject.provider, options.how, verify=not options.no_verify, search=options.search
    )
    account = account._replace(from_name=from_name(state, subject, options))
    _save(state, account, Secret(tokens.refresh_token), subject, options, tokens=tokens)


def _sign_in_as_app(state: State, account: Account, subject: Subject, options: Options) -> None:
    """Sign in as a program, without a person, and save."""
    from smtpsetup.cli.app_sign_in import place_of_app_secret, sign_in_as_app  # for servers

    account, secret, tokens = sign_in_as_app(
        state,
        account._replace(secret=place_of_app_secret(account, options.source, from_stdin=options.from_stdin)),
        subject.provider,
        options.how,
        from_stdin=options.from_stdin,
        verify=not options.no_verify,
    )
    account = account._replace(from_name=from_name(state, subject, options))
    _save(state, account, secret, subject, options, tokens=tokens)


def _save(  # noqa: PLR0913  the account with its proof, and what was asked for
    state: State,
    account: Account,
    secret: Secret | None,
    subject: Subject,
    options: Options,
    *,
    tokens: Tokens | None = None,
) -> None:
    """Save and show the account; prove it for scripts where they will use it."""
    account = account._replace(verified=not options.no_verify)
    saved = save(
        state.config_file,
        account,
        secret if options.from_stdin or stores.is_kept_here(account) else None,
        make_default=options.make_default,
        may_prompt=state.may_ask,
        tokens=tokens,
    )
    view = views.json.account(account, is_default=saved.is_default)
    views.human.left_behind(account.name, saved.left_behind)
    if not state.json:
        _show_saved(state, account, is_default=saved.is_default, is_for_scripts=bool(options.unattended))
    is_new = subject.existing is None
    if options.unattended or (
        options.unattended is None and is_new and account.verified and _will_scripts_use_it(state)
    ):
        from smtpsetup.cli.unattended import prove_for_scripts  # needed in this case only

        try:
            prove_for_scripts(state, account)
        except SmtpsetupError as error:
            error.result = view
            raise
    if state.json:
        state.write_json(view)


def _show_saved(state: State, account: Account, *, is_default: bool, is_for_scripts: bool) -> None:
    """Say where the account and its secret are, and what to do next; with -v the whole account."""
    if state.verbose:
        views.human.account(account, is_default=is_default)
    text = _("Saved in {path} (password: {place}).")
    if account.auth is Auth.OAUTH2:
        text = _("Saved in {path} (sign-in: {place}).")
    elif account.auth is Auth.NONE:
        text = _("Saved in {path}.")
    views.human.done(text.format(path=state.config_file, place=account.secret.described()))
    if is_for_scripts:
        return
    name = "" if is_default else f" {shlex.quote(account.name)}"
    views.human.say(_("Send a test mail: `smtpsetup test{account}`").format(account=name))
    text = _("For another program: `smtpsetup card{account}`, or `smtpsetup relay add-client NAME{option}`.")
    option = "" if is_default else f" --account {shlex.quote(account.name)}"
    views.human.say(text.format(account=name, option=option))


def _will_scripts_use_it(state: State) -> bool:
    return (
        state.may_ask
        and not state.json
        and confirm(_("Will scripts or cron send with it, when you are not there?"), default=False)
    )

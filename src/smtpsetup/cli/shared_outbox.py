"""`smtpsetup outbox init`, `status` and `share-key`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.open_outbox import open_to_read, shared_errors, state_directory
from smtpsetup.cli.state import State, common_options, tell
from smtpsetup.config import accounts
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.config.outbox_settings import OutboxSettings


_MOST_SENT = 1000  # that are listed


def require_shared(state: State) -> OutboxSettings:
    """The settings of the shared outbox. Raises SmtpsetupError where the configuration names none."""
    settings = state.config().outbox
    if not settings.is_shared:
        raise SmtpsetupError(
            "config.invalid",
            _("No shared outbox is configured: the outbox is on this machine, and needs nothing."),
            hints=(
                _("Name one at the top of {path}: `{line}`.").format(
                    path=state.config_file, line='outbox = "postgresql:///mail"'
                ),
            ),
        )
    return settings


_key_option = click.option(
    "--key-file",
    metavar=_("FILE"),
    help=_("Keep the key of the sign-ins in this file (mode 0600), not in the keyring."),
)


@click.command(
    "init",
    help=_(
        "Make the tables of a shared outbox (PostgreSQL), or bring them up to date, and the key that protects the "
        "sign-ins there."
    ),
    short_help=_("Make the tables of a shared outbox (PostgreSQL)."),
)
@_key_option
@common_options
def init_command(state: State, key_file: str | None) -> None:
    """Make the tables and the key."""
    settings = _with_key_file(require_shared(state), key_file)
    with shared_errors():
        from smtpsetup.outbox.postgresql import schema, token_store  # psycopg costs 100 ms
        from smtpsetup.outbox.postgresql.connection import Connection

        db = Connection(settings, needs_tables=False)
        try:
            before = schema.initialize(db)
        finally:
            db.close()
        fault = None
        try:
            token_store.ensure_key(settings)
            _save_key_file(state, settings, key_file)
        except SmtpsetupError as error:
            fault = error
    view = {
        "outbox": settings.shown,
        "version": schema.VERSION,
        "version_before": before or None,
        "shares_sign_ins": fault is None,
    }
    if before == schema.VERSION:
        text = _("The tables in {url} are there already, and up to date.")
    elif before:
        text = _("The tables in {url} are up to date now.")
    else:
        text = _("The tables are made in {url}.")
    state.output(lambda: view, lambda: views.human.say(text.format(url=settings.shown)))
    if fault is not None:
        tell(fault.message)
        tell(
            _("So sign-ins with OAuth2 are not shared. To share them, keep their key in a file: `{command}`.").format(
                command="smtpsetup outbox init --key-file ~/.config/smtpsetup/outbox.key"
            )
        )


def _with_key_file(settings: OutboxSettings, key_file: str | None) -> OutboxSettings:
    """The settings, with the key in that file if one is given."""
    if key_file is None:
        return settings
    return settings._replace(key=SecretSource(Store.FILE, os.path.abspath(os.path.expanduser(key_file))))


def _save_key_file(state: State, settings: OutboxSettings, key_file: str | None) -> None:
    """Let the configuration say that the key is in that file, if one is given."""
    if key_file is not None:
        accounts.set_outbox_key(state.config_file, settings.key.reference)


@click.command(
    "share-key",
    help=_(
        "Hand the key of the sign-ins in a shared outbox to another machine: here it is printed into a pipe, there "
        "--receive reads it from one."
    ),
    short_help=_("Hand the key of the sign-ins to another machine."),
)
@click.option("--receive", is_flag=True, help=_("Read the key from standard input, and keep it on this machine."))
@_key_option
@common_options
def share_key_command(state: State, receive: bool, key_file: str | None) -> None:  # noqa: FBT001  click passes flags by name
    """Print or receive the key."""
    settings = require_shared(state)
    if key_file is not None and not receive:
        raise click.UsageError(_("--key-file is for --receive."))
    with shared_errors():
        from smtpsetup.outbox.postgresql import token_store  # as above

        if receive:
            text = sys.stdin.readline().strip()
            settings = _with_key_file(settings, key_file)
            token_store.receive_key(settings, text)
            _save_key_file(state, settings, key_file)
            said = _("The key is kept: this machine can use the sign-ins of {url}.").format(url=settings.shown)
            state.output(lambda: {"received": True}, lambda: views.human.say(said))
            return
        if sys.stdout.isatty() or state.json:
            raise SmtpsetupError(
                "config.invalid",
                _("The key is a secret, and is not shown on a screen or in JSON."),
                hints=(
                    _("Pipe it to the other machine: `{command}`.").format(
                        command="smtpsetup outbox share-key | ssh HOST smtpsetup outbox share-key --receive"
                    ),
                ),
            )
        click.echo(token_store.own_key(settings))


def list_sent(state: State) -> None:
    """List the mails that were sent last."""
    settings = require_shared(state)
    with shared_errors():
        from smtpsetup.outbox.postgresql.store import PostgresqlOutbox  # as above

        with PostgresqlOutbox(settings, state_directory()) as shared:
            listed = shared.sent_mails(_MOST_SENT)
    state.output(lambda: [views.json.sent_mail(mail) for mail in listed], lambda: views.outbox.sent(listed))


@click.command("status", help=_("What waits in the outbox, how fast it is sent, and what is refused or put off."))
@common_options
def status_command(state: State) -> None:
    """Count the mails."""
    config = state.config()
    with open_to_read(config.outbox) as opened:
        summary = opened.summary(config.accounts)
    state.output(lambda: views.json.outbox_summary(summary), lambda: views.outbox.summary(summary))

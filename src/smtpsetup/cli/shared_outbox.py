"""`smtpsetup outbox init`, `status` and `share-key`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.open_outbox import open_to_read, shared_errors
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.config.outbox_settings import OutboxSettings


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


@click.command("init", help=_("Make the tables of a shared outbox (PostgreSQL), or bring them up to date."))
@common_options
def init_command(state: State) -> None:
    """Make the tables."""
    settings = require_shared(state)
    with shared_errors():
        from smtpsetup.outbox.postgresql import schema  # psycopg costs 100 ms
        from smtpsetup.outbox.postgresql.connection import Connection

        db = Connection(settings, needs_tables=False)
        try:
            before = schema.initialize(db)
        finally:
            db.close()
    view = {"outbox": settings.shown, "version": schema.VERSION, "version_before": before or None}
    if before == schema.VERSION:
        text = _("The tables in {url} are there already, and up to date.")
    elif before:
        text = _("The tables in {url} are up to date now.")
    else:
        text = _("The tables are made in {url}.")
    state.output(lambda: view, lambda: views.human.say(text.format(url=settings.shown)))


@click.command("status", help=_("What waits in the outbox, how fast it is sent, and what is refused or put off."))
@common_options
def status_command(state: State) -> None:
    """Count the mails."""
    config = state.config()
    with open_to_read(config.outbox) as opened:
        summary = opened.summary(config.accounts)
    state.output(lambda: views.json.outbox_summary(summary), lambda: views.outbox.summary(summary))

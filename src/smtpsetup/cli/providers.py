"""`smtpsetup providers`."""

from __future__ import annotations

import os

import click

from smtpsetup import DOCUMENTATION
from smtpsetup.cli import views
from smtpsetup.cli.command import Group
from smtpsetup.cli.complete import by_click, provider_ids
from smtpsetup.cli.state import State, common_options
from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.providers.table import faults_of


@click.group(
    "providers",
    cls=Group,
    help=_("The provider table: list it, show a row, check your own rows."),
)
def providers_command() -> None:
    """Group the subcommands."""


@providers_command.command(
    "list", help=_("Every provider; TEXT keeps those with it in name, id or domain."), short_help=_("Every provider.")
)
@click.argument("text", required=False, metavar=_("[TEXT]"))
@click.option(
    "--status", type=click.Choice([str(value) for value in ProviderStatus]), help=_("Only those with this status.")
)
@click.option("--auth", type=click.Choice([str(value) for value in Auth]), help=_("Only those that take this proof."))
@common_options
def list_command(state: State, text: str | None, status: str | None, auth: str | None) -> None:
    """List the rows that match."""
    wanted = (text or "").lower()
    rows = [
        row
        for row in sorted(state.table().all(), key=lambda row: row.name.lower())
        if (status is None or row.status == status)
        and (auth is None or auth in row.auth)
        and any(wanted in name for name in (row.id, row.name.lower(), *row.domains))
    ]
    state.output(lambda: [views.json.provider_line(row) for row in rows], lambda: views.provider.providers(rows))


@providers_command.command(
    "show", help=_("All that is known about a provider, and where it was read."), short_help=_("All about a provider.")
)
@click.argument("name", metavar=_("NAME"), shell_complete=by_click(provider_ids))
@common_options
def show_command(state: State, name: str) -> None:
    """Show one row."""
    table = state.table()
    row = table.by_name(name) or table.by_domain(name.lower())
    if row is None:
        raise SmtpsetupError(
            "config.no-settings-found",
            _("The provider table has no row {name}.").format(name=name),
            hints=(_("See which there are: `smtpsetup providers list`."),),
        )
    state.output(lambda: views.json.provider(row), lambda: views.provider.provider_row(row))


@providers_command.command(
    "validate",
    help=_("Check a table of your own and tell every fault at once."),
    short_help=_("Check a table of your own."),
)
@click.argument("file", required=False, metavar=_("[FILE]"))
@common_options
def validate_command(state: State, file: str | None) -> None:
    """Check the person's own tables, and the accounts that refer to providers."""
    files = [file] if file else [path for path in paths.own_provider_tables() if os.path.exists(path)]
    checked = [(path, *faults_of(path)) for path in files]
    results: dict[str, object] = {
        "files": [{"file": path, "rows": rows, "faults": faults} for path, rows, faults in checked]
    }
    faults = [f"{path}: {fault}" for path, _rows, found in checked for fault in found]
    if not faults and not file:
        faults = _dead_references(state)
    if faults:
        raise SmtpsetupError(
            "config.invalid",
            _("The provider table, or what refers to it, has faults."),
            causes=tuple(faults),
            hints=(_("Correct them. Every key is described in {docs}/providers.md.").format(docs=DOCUMENTATION),),
            result=results,
        )
    if state.json:
        state.write_json(results)
        return
    for path, rows, _faults in checked:
        views.human.say(_("{path}: no fault, rows: {rows}.").format(path=path, rows=rows))
    if not checked:
        views.human.say(
            _("There is no table of your own. It would be: {path}").format(path=paths.own_provider_tables()[-1])
        )


def _dead_references(state: State) -> list[str]:
    """A message for each account whose provider is not in the table."""
    table = state.table()
    text = _("account {name}: the provider table has no row {id}")
    accounts = state.config().accounts.values()
    return [
        text.format(name=account.name, id=account.provider)
        for account in accounts
        if account.provider and not table.by_id(account.provider)
    ]

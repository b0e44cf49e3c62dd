"""`smtpsetup identify`."""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smtpsetup.address.address import parse_address
from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.state import State, common_options, tell
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.setup.identify import UnknownDomainError, identify, without_smtp

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.providers.table import Table
    from smtpsetup.setup.identify import Identification

_Command = TypeVar("_Command", bound="Callable[..., Any]")
LOOK_UP_SECONDS = 10.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 600.0


class SecondsType(click.ParamType[float]):
    """A time in seconds."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  click's signature
        """The number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not _SHORTEST_SECONDS <= number <= _LONGEST_SECONDS:
            self.fail(_("{value} is not a number of seconds from 0.1 to 600.").format(value=value), param, ctx)
        return number


@dataclass(frozen=True, slots=True)
class Search:
    """How far to look for a domain that the table does not know."""

    offline: bool = False
    ask_all: bool = False
    seconds: float = LOOK_UP_SECONDS
    ask_ispdb: bool = True


def search_options(command: _Command) -> _Command:
    """How to look for the server of a domain that the table does not know."""
    for option in (
        click.option("--no-ispdb", is_flag=True, help=_("Do not ask Thunderbird's database, which learns the domain.")),
        click.option(
            "--timeout",
            "seconds",
            type=SecondsType(),
            default=LOOK_UP_SECONDS,
            show_default=True,
            metavar=_("SECONDS"),
            help=_("Look no longer than this."),
        ),
        click.option("--offline", is_flag=True, help=_("Use the provider table alone; ask nobody.")),
    ):
        command = option(command)
    return command


@click.command("identify", help=_("Say who runs an address's mail, which server to use and what to switch on first."))
@click.argument("address", metavar=_("ADDRESS"))
@click.option("--all", "ask_all", is_flag=True, help=_("Ask every source, and show what each said."))
@search_options
@common_options
def identify_command(state: State, address: str, offline: bool, ask_all: bool, seconds: float, no_ispdb: bool) -> None:  # noqa: FBT001, PLR0913, PLR0917  click passes its options by name
    """Parse, identify, render."""
    try:
        found = find(state, address, Search(offline, ask_all, seconds, not no_ispdb))
    except UnknownDomainError as error:
        if ask_all and error.discovery:
            _show_sources(state, error)
        raise
    refusal = without_smtp(found)
    if state.json:
        view = views.json.identification(found, with_candidates=ask_all)
        if refusal is None:
            state.write_json(view)
            return
        refusal.result = view
    else:
        views.human.identification(found)
        if ask_all and found.discovery:
            views.sources.sources(found.discovery)
    if refusal:
        raise refusal


def _show_sources(state: State, error: UnknownDomainError) -> None:
    if error.discovery is None:
        return
    if state.json:
        error.result = views.json.sources(error.discovery)
    else:
        views.sources.sources(error.discovery)


def find(state: State, text: str, search: Search) -> Identification:
    """Identify an address: from the table, else from everyone who may know.

    For a slip of the keyboard a person is asked whether the domain next to it was meant.
    """
    table = state.table()
    meant = None
    try:
        found = identify(text, table)
    except UnknownDomainError as error:
        if (
            error.suggestion
            and state.may_ask
            and confirm(_("Did you mean {address}?").format(address=error.suggestion), default=True)
        ):
            return identify(error.suggestion, table)
        if search.offline or not _can_be_looked_up(text):
            raise
        meant = error.suggestion
    else:
        if search.offline or not search.ask_all:
            return found
    return _looked_up(state, table, text, search, meant)


def _can_be_looked_up(text: str) -> bool:
    """Whether a domain is a name on the internet, neither one of this machine's network nor an address in brackets."""
    domain = parse_address(text).domain
    return "." in domain and not domain.startswith("[")


def _looked_up(state: State, table: Table, text: str, search: Search, meant: str | None) -> Identification:
    from smtpsetup.setup.discover import discover  # only unknown domains pay for it

    address = parse_address(text)
    ask_ispdb = search.ask_ispdb and _config_allows_ispdb(state)
    look_up = functools.partial(
        discover, address, table, seconds=search.seconds, ask_ispdb=ask_ispdb, ask_all=search.ask_all, meant=meant
    )
    if state.json or not sys.stderr.isatty():
        return look_up()
    with views.sources.Searching(address) as searching:
        return look_up(on_report=searching.update)


def _config_allows_ispdb(state: State) -> bool:
    """The `ispdb` key of the configuration; without a home there is none, and one that cannot be read may hold a no."""
    try:
        file = state.config_file
    except SmtpsetupError:
        return True
    from smtpsetup.config import accounts  # as above

    try:
        return accounts.load(file).ispdb
    except SmtpsetupError as error:
        tell(_("Thunderbird's database was not asked: {reason}").format(reason=error.message))
        return False

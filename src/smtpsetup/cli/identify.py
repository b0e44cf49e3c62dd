"""`smtpsetup identify`."""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.address.address import parse_address
from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.command import Command
from smtpsetup.cli.state import State, common_options, tell
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import ProviderStatus
from smtpsetup.setup.identify import UnknownDomainError, identify, refusal
from smtpsetup.terminal.streams import can_redraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.providers.table import Table
    from smtpsetup.setup.identify import Identification


_SEARCH_SECONDS = 10.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 600.0


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no type parameter
    """A time in seconds."""

    name = "seconds"

    # click's own signature
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The seconds as a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not _SHORTEST_SECONDS <= number <= _LONGEST_SECONDS:
            self.fail(_("{value} is not a number of seconds from 0.1 to 600.").format(value=value), param, ctx)
        return number


@dataclass(frozen=True, slots=True)
class Search:
    """How to search for a domain that the table does not know; `ask_all` searches also for one that it knows."""

    offline: bool
    seconds: float
    ask_ispdb: bool
    ask_all: bool = False


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the search for a domain that the table does not know; the command gets them as `search`."""

    # the other arguments are the command's own, of any type
    @functools.wraps(command)
    def with_search(*given: Any, offline: bool, seconds: float, no_ispdb: bool, **typed: Any) -> None:  # noqa: ANN401
        command(*given, search=Search(offline, seconds, not no_ispdb), **typed)

    decorated: Callable[..., Any] = with_search
    for option in (
        click.option("--no-ispdb", is_flag=True, help=_("Do not ask Thunderbird's database, which learns the domain.")),
        click.option(
            "--timeout",
            "seconds",
            type=SecondsType(),
            default=_SEARCH_SECONDS,
            show_default=True,
            metavar=_("SECONDS"),
            help=_("Look no longer than this."),
        ),
        click.option("--offline", is_flag=True, help=_("Use the provider table alone; ask nobody.")),
    ):
        decorated = option(decorated)
    return decorated


@click.command(
    "identify", cls=Command, help=_("Say who runs an address's mail, which server to use and what to switch on first.")
)
@click.argument("address", metavar=_("ADDRESS"))
@click.option("--all", "ask_all", is_flag=True, help=_("Ask every source, and show what each said."))
@click.option("--more", "is_whole", is_flag=True, help=_("Show all that is known: steps, notes, limits, other ways."))
@search_options
@common_options
def identify_command(
    state: State,
    address: str,
    ask_all: bool,  # noqa: FBT001  click passes flags by name
    is_whole: bool,  # noqa: FBT001  as above
    search: Search,
) -> None:
    """Identify the address and show the result."""
    try:
        found = find(state, address, replace(search, ask_all=ask_all))
    except UnknownDomainError as unknown:
        if ask_all and unknown.discovery and state.json:
            unknown.result = views.json.sources(unknown.discovery)
        elif ask_all and unknown.discovery:
            views.sources.sources(unknown.discovery)
        raise
    error = refusal(found)
    if state.json:
        view = views.json.identification(found, with_candidates=ask_all)
        if error is None:
            state.write_json(view)
            return
        error.result = view
    else:
        show = views.identification.whole if is_whole or state.verbose else views.identification.short
        show(found)
        if ask_all and found.discovery:
            views.sources.sources(found.discovery)
    if error:
        raise error


def find(state: State, text: str, search: Search) -> Identification:
    """Identify an address from the table, else by a search; a person is asked about a domain that looks mistyped.

    Raises MalformedAddressError, UnknownDomainError and other SmtpsetupErrors.
    """
    table = state.table()
    suggestion = None
    try:
        found = identify(text, table)
    except UnknownDomainError as error:
        if (
            error.suggestion
            and state.may_ask
            and confirm(_("Did you mean {address}?").format(address=error.suggestion), default=True)
        ):
            return identify(error.suggestion, table)
        if search.offline or not _is_public(text):
            raise
        suggestion = error.suggestion
    else:
        row = found.provider
        if search.offline or row is None:
            return found
        if row.status is ProviderStatus.UNKNOWN:
            return _discovered_for(found, functools.partial(_discovered, state, table, text, search, suggestion))
        if not (search.ask_all or row.deserves_second_opinion):
            return found
    return _discovered(state, table, text, search, suggestion)


def _discovered_for(found: Identification, search: Callable[[], Identification]) -> Identification:
    """What a search finds for a domain of a provider whose settings the table does not know."""
    try:
        return search()
    except UnknownDomainError as error:
        if error.exit_code == EX_TEMPFAIL:
            raise
        remarks = (error.message,) if error.code == "dns.not-found" else ()
        return replace(found, discovery=error.discovery, remarks=remarks)


def _is_public(text: str) -> bool:
    """Whether the domain can be in the public DNS: neither a name without a dot nor an address literal."""
    domain = parse_address(text).domain
    return "." in domain and not domain.startswith("[")


def _discovered(state: State, table: Table, text: str, search: Search, suggestion: str | None) -> Identification:
    from smtpsetup.setup.discover import discover  # needed for unknown domains only

    address = parse_address(text)
    run = functools.partial(
        discover,
        address,
        table,
        seconds=search.seconds,
        ask_ispdb=search.ask_ispdb and config_allows_ispdb(state),
        ask_all=search.ask_all,
        suggestion=suggestion,
    )
    if state.json or not can_redraw(sys.stderr):
        return run()
    searching = views.sources.Searching(address)
    with searching:
        return run(on_report=searching.on_report)


def config_allows_ispdb(state: State) -> bool:
    """The `ispdb` key of the configuration: True without a home directory, False where it cannot be read."""
    try:
        file = state.config_file
    except SmtpsetupError:
        return True
    from smtpsetup.config import accounts  # needed for unknown domains only

    try:
        return accounts.load(file).ispdb
    except SmtpsetupError as error:
        tell(_("Thunderbird's database was not asked: {reason}").format(reason=error.message))
        return False

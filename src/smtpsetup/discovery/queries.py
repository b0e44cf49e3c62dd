"""What a query of a source needs and returns, and helpers that the sources share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from smtpsetup.core.i18n import gettext as _
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, Trust
from smtpsetup.net.dns import DnsAnswer, DnsStatus
from smtpsetup.net.parallel import run_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.discovery.fetch import Fetcher
    from smtpsetup.discovery.settings import Setting
    from smtpsetup.net.dial import Deadline
    from smtpsetup.net.dns import Resolver
    from smtpsetup.providers.table import Table


_Key = TypeVar("_Key")
MOST = 10  # records, servers or reasons of one source that are kept


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What every source needs. `ask_ispdb` is False if no third party may learn the domain."""

    address: Address
    table: Table
    resolver: Resolver
    fetcher: Fetcher
    deadline: Deadline
    ask_ispdb: bool

    @property
    def domain(self) -> str:
        """The address's domain, as A-labels."""
        return self.address.domain


@dataclass(frozen=True, slots=True)
class MailRoute:
    """Where the domain's incoming mail goes. `status` is the result of the MX look-up."""

    status: DnsStatus
    hosts: tuple[str, ...] = ()
    takes_no_mail: bool = False
    filter_name: str | None = None
    forwarder_name: str | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of asking one source, and the queries that follow from it.

    `dns_failed` and `proxy_failed` say that the name servers or this machine's proxy were the cause of a failure.
    """

    outcome: QueryStatus
    detail: str = ""
    candidates: tuple[Candidate, ...] = ()
    next_queries: tuple[Query, ...] = ()
    route: MailRoute | None = None
    dns_failed: bool = False
    proxy_failed: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a source. `rank` is the best rank that its answer can have."""

    source: Source
    rank: Rank
    origin: str
    ask: Callable[[SearchContext, Query], QueryResult] = field(repr=False)


def found(query: Query, trust: Trust, rank: Rank, settings: list[Setting], *, origin: str = "") -> QueryResult:
    """The result for the settings of a source, best first."""
    first = settings[0]
    servers = tuple(dict.fromkeys(setting.server for setting in settings))[:MOST]
    candidate = Candidate(
        query.source, trust, rank, origin or query.origin, servers, username=first.username, auth=first.auth
    )
    return QueryResult(QueryStatus.FOUND, ", ".join(str(server) for server in servers), (candidate,))


def look_up_all(
    context: SearchContext, names: dict[_Key, tuple[Callable[[str, Deadline], DnsAnswer], str]]
) -> dict[_Key, DnsAnswer]:
    """Look up DNS names in parallel, each with a method of the resolver. What is not answered in time is a TIMEOUT."""
    questions: dict[_Key, Callable[[], DnsAnswer]] = {
        key: partial(look_up, name, context.deadline) for key, (look_up, name) in names.items()
    }
    answers = run_parallel(questions, context.deadline)
    return {key: answers.get(key, DnsAnswer(DnsStatus.TIMEOUT)) for key in names}


def not_found(answer: DnsAnswer, absent: str, route: MailRoute | None = None) -> QueryResult:
    """The result of a look-up without records. `absent` is the detail if the name servers said that there are none."""
    if not answer.status.is_temporary:
        return QueryResult(QueryStatus.ABSENT, absent, route=route)
    outcome = QueryStatus.TIMEOUT if answer.status is DnsStatus.TIMEOUT else QueryStatus.FAILED
    return QueryResult(outcome, dns_reason(answer.status), route=route, dns_failed=True)


def dns_reason(status: DnsStatus) -> str:
    """Why the name servers gave no answer, as text for people."""
    reasons = {
        DnsStatus.TIMEOUT: _("the name servers did not answer in time"),
        DnsStatus.REFUSED: _("the name servers refused to answer"),
        DnsStatus.UNREACHABLE: _("no name server can be reached"),
    }
    return reasons.get(status) or _("the name servers answered with a failure")

"""What asking a source takes, and what comes of it; shared by the sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, Trust
from smtpsetup.net.dns import DnsAnswer, DnsStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.discovery.fetch import Fetcher
    from smtpsetup.discovery.settings import Setting
    from smtpsetup.net.dial import Deadline
    from smtpsetup.net.dns import Resolver
    from smtpsetup.providers.table import Table


MOST = 10  # records, servers or reasons of one source that are kept: whoever sends more means no good


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What every source needs to know.

    `ask_ispdb` is False for people who do not want a third party to learn the domain.
    """

    address: Address
    table: Table
    resolver: Resolver
    fetcher: Fetcher
    deadline: Deadline
    ask_ispdb: bool

    @property
    def domain(self) -> str:
        """The domain asked about, as A-labels."""
        return self.address.domain


@dataclass(frozen=True, slots=True)
class MailRoute:
    """Where the domain's incoming mail goes, as far as that tells something.

    `status` is how the look-up of its MX ended.
    """

    status: DnsStatus
    hosts: tuple[str, ...] = ()
    takes_no_mail: bool = False
    filter_name: str | None = None
    forwarder_name: str | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What one source came to, and the questions that its answer raises."""

    outcome: QueryStatus
    detail: str = ""
    candidates: tuple[Candidate, ...] = ()
    next_queries: tuple[Query, ...] = ()
    route: MailRoute | None = None
    dns_failed: bool = False
    proxy_failed: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One source to ask. `rank` is the best that its answer can be."""

    source: Source
    rank: Rank
    origin: str
    ask: Callable[[Circumstances, Query], QueryResult] = field(repr=False)


def found(query: Query, trust: Trust, rank: Rank, settings: list[Setting], *, origin: str = "") -> QueryResult:
    """The finding for settings that a source names, best first."""
    first = settings[0]
    servers = tuple(dict.fromkeys(setting.server for setting in settings))[:MOST]
    candidate = Candidate(
        query.source, trust, rank, origin or query.origin, servers, username=first.username, auth=first.auth
    )
    return QueryResult(QueryStatus.FOUND, ", ".join(str(server) for server in servers), (candidate,))


def silence(answer: DnsAnswer, absent: str, route: MailRoute | None = None) -> QueryResult:
    """A look-up that gave no records: nothing there, or nobody said so."""
    if not answer.status.is_temporary:
        return QueryResult(QueryStatus.ABSENT, absent, route=route)
    outcome = QueryStatus.TIMEOUT if answer.status is DnsStatus.TIMEOUT else QueryStatus.FAILED
    return QueryResult(outcome, dns_reason(answer.status), route=route, dns_failed=True)


def dns_reason(status: DnsStatus) -> str:
    """Why the name servers gave no answer, for people."""
    reasons = {
        DnsStatus.TIMEOUT: _("the name servers did not answer in time"),
        DnsStatus.REFUSED: _("the name servers refused to answer"),
        DnsStatus.UNREACHABLE: _("no name server can be reached"),
    }
    return reasons.get(status) or _("the name servers answered with a failure")

"""Asking every source in parallel, until no answer can come that is better than the best one so far."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, SourceReport, Trust
from smtpsetup.discovery.fetch import FetchError
from smtpsetup.discovery.mail_exchange import first_queries, guess_queries
from smtpsetup.discovery.queries import MailRoute, QueryResult, SearchContext
from smtpsetup.discovery.settings import UnusableError
from smtpsetup.discovery.suffixes import registrable
from smtpsetup.discovery.usual_names import described, prober
from smtpsetup.net.dns import DnsStatus
from smtpsetup.net.parallel import GRACE_SECONDS, run_parallel
from smtpsetup.providers.settings import servers_for, username_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.discovery.queries import Query
    from smtpsetup.providers.row import Provider

_SOURCE_SECONDS = 5.0  # for one source
_GUESS_AFTER_SECONDS = 2.0  # without an answer before the usual names are probed as well
_RIVAL_SECONDS = 3.0  # to probe the best candidate's server and its rival's
_DETAIL = 400  # characters of a remote server's text
_TICK_SECONDS = 0.1  # polling interval
_SECOND_OPINION_SECONDS = 2.0  # for what the owner of a domain in the table says
_OWN_SETTINGS = (Rank.PACC, Rank.AUTOCONFIG, Rank.WELL_KNOWN)  # published by the domain itself
_OWNERS_WORD = (*_OWN_SETTINGS, Rank.REDIRECTED, Rank.ISPDB, Rank.SRV)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The result of a search: the candidates, best first, and a report of every source.

    `route` is where the domain's mail goes, None if the MX look-up did not finish. `rival` is a candidate that the
    domain itself published and that names another provider than the best one. `was_cut_short` says that the deadline
    passed before every source had answered, `dns_failed` that name servers gave no answer, `proxy_failed` that this
    machine's proxy caused a failure.
    """

    candidates: tuple[Candidate, ...]
    reports: tuple[SourceReport, ...]
    route: MailRoute | None
    rival: Candidate | None
    was_cut_short: bool
    dns_failed: bool
    proxy_failed: bool


@dataclass
class _Progress:
    """The state of a search: what is known, and which queries are pending or postponed."""

    context: SearchContext
    answers: queue.SimpleQueue[tuple[Query, float, QueryResult | Exception]] = field(default_factory=queue.SimpleQueue)
    pending: list[Query] = field(default_factory=list)
    postponed: list[Query] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    reports: list[SourceReport] = field(default_factory=list)
    route: MailRoute | None = None
    dns_failed: bool = False
    best_since: float = 0.0  # of time.monotonic
    proxy_failed: bool = False
    has_guessed: bool = False
    started: float = field(default_factory=time.monotonic)
    fault: Exception | None = None

    @property
    def best(self) -> Candidate | None:
        return min(self.candidates, key=lambda candidate: candidate.rank, default=None)

    def start(self, query: Query) -> None:
        """Ask a source in a daemon thread."""
        self.pending.append(query)
        context = replace(self.context, deadline=self.context.deadline.at_most(_SOURCE_SECONDS))

        def work() -> None:
            started = time.monotonic()
            result: QueryResult | Exception
            try:
                result = query.ask(context, query)
            except UnusableError as error:
                result = QueryResult(QueryStatus.REFUSED, str(error))
            except FetchError as error:
                result = QueryResult(error.outcome, error.detail, proxy_failed=error.proxy_failed)
            except TimeoutError:
                result = QueryResult(QueryStatus.TIMEOUT, _("no answer in time"))
            except Exception as error:  # noqa: BLE001  `ask_sources` raises it
                result = error
            self.answers.put((query, time.monotonic() - started, result))

        threading.Thread(target=work, daemon=True).start()

    def take(self, query: Query, seconds: float, result: QueryResult | Exception) -> None:
        """Record the result of a query, and start the queries that follow from it.

        A bug in one source does not discard the answers of the others.
        """
        if isinstance(result, Exception):
            self.fault = result
            result = QueryResult(
                QueryStatus.FAILED, _("a mistake in smtpsetup itself ({name})").format(name=type(result).__name__)
            )
        self.pending.remove(query)
        before = self.best
        found = tuple(_completed(candidate, self.context) for candidate in result.candidates)
        self.candidates += found
        if self.best is not before:
            self.best_since = time.monotonic()
        self.route = result.route or self.route
        self.dns_failed = self.dns_failed or result.dns_failed
        self.proxy_failed = self.proxy_failed or result.proxy_failed
        ms = round(seconds * 1000, 1)
        self.reports.append(
            SourceReport(query.source, query.origin, result.outcome, ms, result.detail[:_DETAIL], found)
        )
        for following in result.next_queries:
            if following.source is Source.PROBE:
                self.postponed.append(following)
            else:
                self.start(following)

    def is_late(self, seconds: float) -> bool:
        """Whether the search has taken so long."""
        return time.monotonic() - self.started >= seconds

    def is_settled(self) -> bool:
        """Whether the search can stop: no better answer can come any more, or none has within GRACE_SECONDS.

        The name of a provider alone is no answer to stop at. Without any answer: if the domain does not exist, or its
        DNS fails and only probes, which need it, are left.
        """
        best = self.best
        if best is None:
            status = self.route.status if self.route else None
            only_guesses = all(query.source is Source.PROBE for query in self.pending)
            return status is DnsStatus.NO_NAME or (
                status is not None and status.is_temporary and self.dns_failed and only_guesses
            )
        better = [
            query
            for query in self.pending
            if query.rank < best.rank or (query.rank in _OWN_SETTINGS and not best.trust.vouches)
        ]
        if not best.rank.has_settings:
            return not (better or self.postponed)
        return not better or time.monotonic() - self.best_since >= GRACE_SECONDS


def ask_sources(
    context: SearchContext,
    *,
    ask_all: bool,
    known: Provider | None = None,
    on_report: Callable[[SourceReport, int], None] = lambda _report, _left: None,
) -> Discovery:
    """Find the outgoing server of the address's domain.

    `ask_all` waits for every source instead of stopping at the best answer. `known` is the table's row for the domain,
    if it has one; without `ask_all` only the domain's own settings, SRV and the public database are then asked, for at
    most two seconds. `on_report` is called with the report of each source and the number of pending queries.
    """
    progress = _Progress(context)
    if known:
        row = Candidate(Source.TABLE, Trust.TABLE, Rank.TABLE, known.file, (), known)
        progress.candidates.append(_completed(row, context))
    for query in first_queries(context):
        if ask_all or known is None or query.source is not Source.MX:
            progress.start(query)
    guess_at = time.monotonic() + _GUESS_AFTER_SECONDS
    was_cut_short = False
    while ask_all or not (progress.is_late(_SECOND_OPINION_SECONDS) if known else progress.is_settled()):
        _start_guessing(progress, ask_all=ask_all, is_time=time.monotonic() > guess_at)
        if not progress.pending:
            break
        try:
            answer = progress.answers.get(timeout=min(_TICK_SECONDS, context.deadline.remaining()))
        except queue.Empty:
            continue
        except TimeoutError:
            was_cut_short = True
            break
        progress.take(*answer)
        on_report(progress.reports[-1], len(progress.pending))
    if progress.fault and not progress.candidates:
        raise progress.fault
    return _concluded(progress, was_cut_short=was_cut_short)


def _start_guessing(progress: _Progress, *, ask_all: bool, is_time: bool) -> None:
    """Probe the usual names once no other query is pending, or the others take long."""
    if any(one.rank.has_settings for one in progress.candidates) and not ask_all:
        return
    if is_time and progress.route is None and not progress.has_guessed:
        progress.has_guessed = True
        progress.postponed += guess_queries(progress.context)
    if ask_all or is_time or not progress.pending:
        for query in progress.postponed:
            progress.start(query)
        progress.postponed = []


def _concluded(progress: _Progress, *, was_cut_short: bool) -> Discovery:
    context = progress.context
    candidates = sorted(progress.candidates, key=lambda candidate: candidate.rank)
    reports = [
        *progress.reports,
        *(
            SourceReport(query.source, query.origin, QueryStatus.TIMEOUT, 0.0, _("not waited for"))
            for query in progress.pending
        ),
    ]
    rival = _rival(candidates)
    if (
        rival
        and candidates[0].rank is not Rank.TABLE
        and not was_cut_short
        and _only_rival_works(candidates[0], rival, context, reports)
    ):
        candidates.remove(rival)
        candidates.insert(0, rival)
        rival = candidates[1]
    return Discovery(
        tuple(candidates),
        tuple(reports),
        progress.route,
        rival,
        was_cut_short,
        progress.dns_failed,
        progress.proxy_failed,
    )


def _rival(candidates: list[Candidate]) -> Candidate | None:
    """The settings that the domain published, if they contradict a best candidate that was found by the MX.

    Either can be wrong: web hosts publish settings for every domain that they serve. A row of the table that is old or
    has few sources is contradicted by every source that names none of its hosts.
    """
    if not candidates:
        return None
    best = candidates[0]
    if best.rank is Rank.TABLE and best.provider and best.provider.deserves_second_opinion:
        others = (one for one in candidates[1:] if one.rank in _OWNERS_WORD)
        return next((one for one in others if one.servers and not set(one.hosts) & set(best.hosts)), None)
    if best.rank not in (Rank.MX, Rank.MAILBOX_BEHIND_FILTER):
        return None
    return next((one for one in candidates[1:] if one.trust is Trust.TLS and not agree(candidates[0], one)), None)


def agree(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates mean the same provider, by the table or by the registrable domain of their hosts."""
    if one.provider and other.provider and one.provider.id == other.provider.id:
        return True
    owners = [{registrable(host) for host in candidate.hosts} - {None} for candidate in (one, other)]
    return bool(owners[0] & owners[1])


def _only_rival_works(best: Candidate, rival: Candidate, context: SearchContext, reports: list[SourceReport]) -> bool:
    """Whether, of both candidates' first servers, only the rival's works as a submission server. Adds to `reports`."""
    if not best.servers:
        return False
    context = replace(context, deadline=context.deadline.at_most(_RIVAL_SECONDS))
    started = time.monotonic()
    servers = (best.servers[0], rival.servers[0])
    probed = run_parallel({server: prober(context, server) for server in servers}, context.deadline)
    ms = round((time.monotonic() - started) * 1000, 1)
    for server in servers:
        seen = probed.get(server)
        outcome = QueryStatus.TIMEOUT if seen is None else QueryStatus.FOUND if seen.works else QueryStatus.ABSENT
        reports.append(
            SourceReport(Source.PROBE, str(server), outcome, ms, described(seen) if seen else _("no answer in time"))
        )
    best_works, rival_works = (server in probed and probed[server].works for server in servers)
    return rival_works and not best_works


def _completed(candidate: Candidate, context: SearchContext) -> Candidate:
    """A candidate with its provider's row and the row's servers, if the table knows one of its hosts."""
    address, table = context.address, context.table
    provider = candidate.provider or next(
        (row for host in candidate.hosts if (row := table.by_server_host(host, address.domain))), None
    )
    if provider is None:
        return candidate
    # the other hosts of a row that only suggests are not what the source named
    is_kept = candidate.provider is not None or provider.only_suggests
    servers = (is_kept and candidate.servers) or servers_for(address, provider)
    if not set(candidate.hosts) <= {server.host for server in servers}:
        return candidate
    return replace(
        candidate, provider=provider, servers=servers, username=username_for(address, provider)[0], auth=provider.auth
    )

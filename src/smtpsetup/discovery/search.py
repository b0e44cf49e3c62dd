"""Asking every source at once and giving the best answer as soon as no better one can come."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, SourceReport, Trust
from smtpsetup.discovery.fetch import FetchError
from smtpsetup.discovery.mail_exchange import first_queries, guess_query
from smtpsetup.discovery.queries import Circumstances, MailRoute, QueryResult
from smtpsetup.discovery.settings import UnusableError
from smtpsetup.discovery.suffixes import registrable
from smtpsetup.discovery.usual_names import described
from smtpsetup.net.dns import DnsStatus
from smtpsetup.net.parallel import GRACE_SECONDS, run_parallel
from smtpsetup.providers.settings import servers_for, username_for
from smtpsetup.smtp.probe import Probed, probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.model import Server
    from smtpsetup.discovery.queries import Query
    from smtpsetup.net.dial import Deadline
    from smtpsetup.providers.table import Provider

_SOURCE_SECONDS = 5.0  # for one source
_GUESS_AFTER_SECONDS = 2.0  # without any answer before the usual names are tried beside what is still awaited
_RIVAL_SECONDS = 3.0
_DETAIL = 400  # characters of what somebody else's server said
_TICK_SECONDS = 0.1  # between two looks at the clock
_OWN_WORD = (Rank.PACC, Rank.AUTOCONFIG, Rank.WELL_KNOWN)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What came of it: the candidates, best first, and the report of every source.

    `route` is where the domain's mail goes, None if that was not learned. `rival` is a candidate of the domain's own
    that names another provider than the best one; `was_cut_short` tells that the deadline passed before every source
    had answered, `dns_failed` that name servers gave no answer, `proxy_failed` that this machine's proxy is in the way.
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
    """What is known so far, and what is still awaited."""

    circumstances: Circumstances
    answers: queue.SimpleQueue[tuple[Query, float, QueryResult | Exception]] = field(default_factory=queue.SimpleQueue)
    pending: list[Query] = field(default_factory=list)
    postponed: list[Query] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    reports: list[SourceReport] = field(default_factory=list)
    route: MailRoute | None = None
    dns_failed: bool = False
    best_since: float = 0.0
    proxy_failed: bool = False
    has_guessed: bool = False
    fault: Exception | None = None

    @property
    def best(self) -> Candidate | None:
        return min(self.candidates, key=lambda candidate: candidate.rank, default=None)

    def start(self, query: Query) -> None:
        """Ask a source, in a thread that does not hold up the end of the process."""
        self.pending.append(query)
        own = replace(self.circumstances, deadline=self.circumstances.deadline.at_most(_SOURCE_SECONDS))

        def work() -> None:
            started = time.monotonic()
            finding: QueryResult | Exception
            try:
                finding = query.ask(own, query)
            except UnusableError as error:
                finding = QueryResult(QueryStatus.REFUSED, str(error))
            except FetchError as error:
                finding = QueryResult(error.outcome, error.detail, proxy_failed=error.is_ours)
            except TimeoutError:
                finding = QueryResult(QueryStatus.TIMEOUT, _("no answer in time"))
            except Exception as error:  # noqa: BLE001  raised again where it is waited for
                finding = error
            self.answers.put((query, time.monotonic() - started, finding))

        threading.Thread(target=work, daemon=True).start()

    def take(self, query: Query, seconds: float, finding: QueryResult | Exception) -> None:
        """Note what a source said, and ask on.

        A fault of this program's own in one source does not lose the answers of the others.
        """
        if isinstance(finding, Exception):
            self.fault = finding
            finding = QueryResult(
                QueryStatus.FAILED, _("a mistake in smtpsetup itself ({name})").format(name=type(finding).__name__)
            )
        self.pending.remove(query)
        before = self.best
        found = tuple(_completed(candidate, self.circumstances) for candidate in finding.candidates)
        self.candidates += found
        if self.best is not before:
            self.best_since = time.monotonic()
        self.route = finding.route or self.route
        self.dns_failed = self.dns_failed or finding.dns_failed
        self.proxy_failed = self.proxy_failed or finding.proxy_failed
        self.reports.append(
            SourceReport(
                query.source, query.origin, finding.outcome, round(seconds * 1000, 1), finding.detail[:_DETAIL], found
            )
        )
        for follower in finding.next_queries:
            if follower.source is Source.PROBE:
                self.postponed.append(follower)
            else:
                self.start(follower)

    def is_settled(self) -> bool:
        """Whether nothing better can come, or what could has had its time.

        A domain that does not exist has no answer, and where the DNS gives none, its hosts cannot be tried either.
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
            if query.rank < best.rank or (query.rank in _OWN_WORD and not best.trust.vouches)
        ]
        return not better or time.monotonic() - self.best_since >= GRACE_SECONDS


def ask_sources(
    circumstances: Circumstances,
    *,
    ask_all: bool,
    known: Provider | None = None,
    on_report: Callable[[SourceReport, int], None] = lambda _report, _left: None,
) -> Discovery:
    """Look for the outgoing server of the address's domain.

    `ask_all` waits for every source instead of stopping at the best answer. `known` is the table's row for the domain,
    where it has one. `on_report` is told of each source that has answered and how many are still awaited.
    """
    progress = _Progress(circumstances)
    if known:
        row = Candidate(Source.TABLE, Trust.TABLE, Rank.TABLE, known.file, (), known)
        progress.candidates.append(_completed(row, circumstances))
    for query in first_queries(circumstances):
        progress.start(query)
    guess_at = time.monotonic() + _GUESS_AFTER_SECONDS
    was_cut_short = False
    while ask_all or not progress.is_settled():
        _start_guessing(progress, ask_all=ask_all, is_time=time.monotonic() > guess_at)
        if not progress.pending:
            break
        try:
            query, seconds, finding = progress.answers.get(
                timeout=min(_TICK_SECONDS, circumstances.deadline.remaining())
            )
        except queue.Empty:
            continue
        except TimeoutError:
            was_cut_short = True
            break
        progress.take(query, seconds, finding)
        on_report(progress.reports[-1], len(progress.pending))
    if progress.fault and not progress.candidates:
        raise progress.fault
    return _concluded(progress, was_cut_short=was_cut_short)


def _start_guessing(progress: _Progress, *, ask_all: bool, is_time: bool) -> None:
    """Try the usual names once nothing else has an answer, or the rest takes long."""
    if progress.candidates and not ask_all:
        return
    if is_time and progress.route is None and registrable(progress.circumstances.domain) and not progress.has_guessed:
        progress.has_guessed = True
        progress.postponed.append(guess_query(progress.circumstances))
    if ask_all or is_time or not progress.pending:
        for query in progress.postponed:
            progress.start(query)
        progress.postponed = []


def _concluded(progress: _Progress, *, was_cut_short: bool) -> Discovery:
    circumstances = progress.circumstances
    candidates = sorted(progress.candidates, key=lambda candidate: candidate.rank)
    reports = list(progress.reports)
    reports += [
        SourceReport(query.source, query.origin, QueryStatus.TIMEOUT, 0.0, _("not waited for"))
        for query in progress.pending
    ]
    rival = _rival(candidates)
    if rival and not was_cut_short:
        best_works, rival_works = _both_probed(candidates[0], rival, circumstances, reports)
        if rival_works and not best_works:
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
    """The domain's own word where it contradicts a best candidate that rests on the MX.

    Web hosts publish settings for every domain they serve.
    """
    if not candidates or candidates[0].rank not in (Rank.MX, Rank.MAILBOX_BEHIND_FILTER):
        return None
    return next((one for one in candidates[1:] if one.trust is Trust.TLS and not agree(candidates[0], one)), None)


def agree(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates mean the same provider: by the table, or by whose hosts they name."""
    if one.provider and other.provider and one.provider.id == other.provider.id:
        return True
    owners = [{registrable(host) for host in candidate.hosts} - {None} for candidate in (one, other)]
    return bool(owners[0] & owners[1])


def _both_probed(
    best: Candidate, rival: Candidate, circumstances: Circumstances, reports: list[SourceReport]
) -> tuple[bool, bool]:
    """Ask both servers whether they take mail from customers at all; one that does not has lost."""
    if not best.servers:
        return True, False
    deadline = circumstances.deadline.at_most(_RIVAL_SECONDS)
    started = time.monotonic()
    servers = (best.servers[0], rival.servers[0])
    probed = run_parallel({server: _question(server, circumstances, deadline) for server in servers}, deadline)
    ms = round((time.monotonic() - started) * 1000, 1)
    for server in servers:
        seen = probed.get(server)
        outcome = QueryStatus.TIMEOUT if seen is None else QueryStatus.FOUND if seen.works else QueryStatus.ABSENT
        reports.append(
            SourceReport(Source.PROBE, str(server), outcome, ms, described(seen) if seen else _("no answer in time"))
        )
    works = [server in probed and probed[server].works for server in servers]
    return works[0], works[1]


def _question(server: Server, circumstances: Circumstances, deadline: Deadline) -> Callable[[], Probed]:
    return lambda: probe(
        server, circumstances.domain, circumstances.fetcher.policy, deadline, circumstances.fetcher.look_up
    )


def _completed(candidate: Candidate, circumstances: Circumstances) -> Candidate:
    """A candidate with its provider's row, where one is known by its servers.

    It gets the row's servers, which were checked.
    """
    address, table = circumstances.address, circumstances.table
    provider = candidate.provider or next(
        (row for host in candidate.hosts if (row := table.by_server_host(host, address.domain))), None
    )
    if provider is None:
        return candidate
    servers = servers_for(address, provider)
    if not set(candidate.hosts) <= {server.host for server in servers}:
        return candidate
    return replace(
        candidate, provider=provider, servers=servers, username=username_for(address, provider)[0], auth=provider.auth
    )

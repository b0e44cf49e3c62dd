"""What a domain's MX tells: its provider, a filter in front of one, or whose hosts to ask on about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.discovery import autoconfig, pacc
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, Trust
from smtpsetup.discovery.filters import FILTERS, FORWARDERS, named
from smtpsetup.discovery.queries import Circumstances, MailRoute, Query, QueryResult, silence
from smtpsetup.discovery.sources import ask_file_of_mail_host, ask_own_file, ask_pacc, ask_srv, ispdb_asker
from smtpsetup.discovery.suffixes import registrable
from smtpsetup.discovery.usual_names import ask_usual_names, guesses
from smtpsetup.net.dns import DnsAnswer, DnsStatus
from smtpsetup.net.parallel import run_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.net.dns import MailExchange
    from smtpsetup.providers.table import Sign


def first_queries(circumstances: Circumstances) -> list[Query]:
    """What can be asked at once. Below a public suffix every name may be another owner's: nothing is asked there."""
    domain = circumstances.domain
    queries = [Query(Source.MX, Rank.MX, f"MX {domain}", ask_mx)]
    if registrable(domain):
        queries += [
            Query(Source.PACC, Rank.PACC, pacc.url(domain), ask_pacc),
            Query(Source.AUTOCONFIG, Rank.AUTOCONFIG, autoconfig.own_url(domain), ask_own_file),
            Query(Source.AUTOCONFIG, Rank.WELL_KNOWN, autoconfig.well_known_url(domain), ask_own_file),
            Query(Source.SRV, Rank.SRV, f"SRV _submissions._tcp.{domain}, _submission._tcp.{domain}", ask_srv),
        ]
        if circumstances.ask_ispdb:
            queries.append(
                Query(Source.ISPDB, Rank.ISPDB, autoconfig.DATABASES[0].format(domain=domain), ispdb_asker(domain))
            )
    return queries


def ask_mx(circumstances: Circumstances, query: Query) -> QueryResult:
    """Where the domain's mail goes: a provider of the table, a filter in front of one, or hosts to ask on about."""
    answer = circumstances.resolver.mx(circumstances.domain, circumstances.deadline)
    if answer.status is DnsStatus.NO_RECORDS:  # the domain itself is then its mail host (RFC 5321 section 5.1)
        route = MailRoute(answer.status, (circumstances.domain,))
        return QueryResult(
            QueryStatus.ABSENT, _("no records"), next_queries=_last_queries(circumstances, route), route=route
        )
    if answer.status is not DnsStatus.FOUND:
        return silence(answer, _("no such domain"), MailRoute(answer.status))
    exchanges: tuple[MailExchange, ...] = answer.records
    exchanges = tuple(mx for mx in exchanges if mx.host != ".")
    if not exchanges:
        return QueryResult(
            QueryStatus.ABSENT, _("the domain takes no mail"), route=MailRoute(answer.status, takes_no_mail=True)
        )
    hosts = tuple(mx.host for mx in exchanges)
    route = MailRoute(
        answer.status,
        hosts,
        filter_name=next((name for host in hosts if (name := named(host, FILTERS))), None),
        forwarder_name=next((name for host in hosts if (name := named(host, FORWARDERS))), None),
    )
    # behind a filter another MX may name the provider; otherwise only the most preferred ones do, the rest may be a
    # helper's
    telling = (
        hosts if route.filter_name else tuple(mx.host for mx in exchanges if mx.preference == exchanges[0].preference)
    )
    for host in telling:
        provider = circumstances.table.by_mx_host(host)
        if provider:
            candidate = Candidate(query.source, Trust.DNS, query.rank, f"MX {host}", (), provider)
            return QueryResult(QueryStatus.FOUND, host, (candidate,), route=route)
    return QueryResult(
        QueryStatus.ABSENT, _route_detail(route), next_queries=_after_unknown_mx(circumstances, route), route=route
    )


def _route_detail(route: MailRoute) -> str:
    if route.filter_name:
        return _("{name} filters the mail; that says nothing about sending").format(name=route.filter_name)
    if route.forwarder_name:
        return _("{name} only forwards the mail").format(name=route.forwarder_name)
    return _("{host}, which the table does not know").format(host=route.hosts[0])


def _after_unknown_mx(circumstances: Circumstances, route: MailRoute) -> tuple[Query, ...]:
    queries = [
        Query(Source.MX, Rank.MAILBOX_BEHIND_FILTER, _("signs of a mailbox provider in the DNS"), _signs_asker(route))
    ]
    if not (route.filter_name or route.forwarder_name):
        for domain in _mail_host_domains(route.hosts[0], circumstances.domain):
            queries.append(
                Query(Source.AUTOCONFIG, Rank.MX_AUTOCONFIG, autoconfig.own_url(domain), ask_file_of_mail_host)
            )
            if circumstances.ask_ispdb:
                url = autoconfig.DATABASES[0].format(domain=domain)
                queries.append(Query(Source.ISPDB, Rank.MX_ISPDB, url, ispdb_asker(domain, Trust.DNS)))
    return (*queries, *_last_queries(circumstances, route))


def _mail_host_domains(host: str, domain: str) -> list[str]:
    """Whose files may describe an MX host: its name without the first label, and what was registered.

    Never a public suffix.
    """
    base = registrable(host)
    full = host.partition(".")[2]
    wanted = [full] if base and full.endswith(f".{base}") else []
    return [name for name in (*wanted, base) if name and name != domain]


def _signs_asker(route: MailRoute) -> Callable[[Circumstances, Query], QueryResult]:
    def ask(circumstances: Circumstances, _query: Query) -> QueryResult:
        """Records that a provider's customers put into their DNS.

        A mailbox there is likely, whatever stands in front of it.
        """
        rows = circumstances.table.with_signs()
        wanted = {(sign.type, sign.name) for row in rows for sign in row.signs}
        asked = run_parallel({key: _sign_question(circumstances, *key) for key in wanted}, circumstances.deadline)
        answers = {key: asked.get(key, DnsAnswer(DnsStatus.TIMEOUT)) for key in wanted}
        candidates = []
        for row in rows:
            seen = [sign for sign in row.signs if _is_there(sign, answers[sign.type, sign.name])]
            is_strong = any(not sign.is_weak for sign in seen)
            if is_strong or (seen and route.filter_name):
                # without a filter in front, the signs may be what an earlier provider left behind
                rank = Rank.MAILBOX_BEHIND_FILTER if is_strong and route.filter_name else Rank.SIGNS
                origin = ", ".join(
                    f"{sign.type} {sign.name + '.' if sign.name else ''}{circumstances.domain}" for sign in seen
                )
                candidates.append(Candidate(Source.MX, Trust.DNS, rank, origin, (), row))
        if candidates:
            return QueryResult(QueryStatus.FOUND, candidates[0].origin, tuple(candidates))
        failed = any(answer.status.is_temporary for answer in answers.values())
        return QueryResult(QueryStatus.FAILED if failed else QueryStatus.ABSENT, _("none"), dns_failed=failed)

    return ask


def _sign_question(circumstances: Circumstances, record_type: str, name: str) -> Callable[[], DnsAnswer]:
    full = f"{name}.{circumstances.domain}" if name else circumstances.domain
    ask = circumstances.resolver.cname if record_type == "CNAME" else circumstances.resolver.txt
    return lambda: ask(full, circumstances.deadline)


def _is_there(sign: Sign, answer: DnsAnswer) -> bool:
    if sign.type == "CNAME":
        return any(target == sign.value or target.endswith(f".{sign.value}") for target in answer.records)
    words = [word for text in answer.records for word in text.lower().split()]
    return sign.value in words or any(word.startswith(f"{sign.value};") for word in words)


def _last_queries(circumstances: Circumstances, route: MailRoute) -> tuple[Query, ...]:
    domain = circumstances.domain
    mail_hosts = () if route.filter_name or route.forwarder_name else route.hosts[:2]
    if not registrable(domain):
        return ()
    return (
        Query(
            Source.PROBE,
            Rank.PROBE,
            _("smtp.{domain} and other usual names").format(domain=domain),
            ask_usual_names(guesses(domain, mail_hosts)),
        ),
    )


def guess_query(circumstances: Circumstances) -> Query:
    """The probe of the usual names, for when nothing is known about the MX."""
    return _last_queries(circumstances, MailRoute(DnsStatus.TIMEOUT))[0]

"""What a domain's MX shows: its provider, a filter in front of one, or a mail host to ask about."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import ProviderStatus
from smtpsetup.discovery import autoconfig, pacc
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Rank, Source, Trust
from smtpsetup.discovery.filters import FILTERS, FORWARDERS, named
from smtpsetup.discovery.queries import MailRoute, Query, QueryResult, SearchContext, look_up_all, not_found
from smtpsetup.discovery.sources import ask_file_of_mail_host, ask_ispdb, ask_own_file, ask_pacc, ask_srv
from smtpsetup.discovery.suffixes import registrable
from smtpsetup.discovery.usual_names import ask_usual_names, guesses
from smtpsetup.net.dns import DnsAnswer, DnsStatus
from smtpsetup.providers.settings import servers_for

if TYPE_CHECKING:
    from smtpsetup.net.dns import MailExchange
    from smtpsetup.providers.row import Sign


def first_queries(context: SearchContext) -> list[Query]:
    """The queries to start with. A public suffix is only asked for its MX: every name below may be another owner's."""
    domain = context.domain
    queries = [Query(Source.MX, Rank.MX, f"MX {domain}", ask_mx)]
    if registrable(domain):
        queries += [
            Query(Source.PACC, Rank.PACC, pacc.url(domain), ask_pacc),
            Query(Source.AUTOCONFIG, Rank.AUTOCONFIG, autoconfig.own_url(domain), ask_own_file),
            Query(Source.AUTOCONFIG, Rank.WELL_KNOWN, autoconfig.well_known_url(domain), ask_own_file),
            Query(Source.SRV, Rank.SRV, f"SRV _submissions._tcp.{domain}, _submission._tcp.{domain}", ask_srv),
            *_ispdb_queries(context, Rank.ISPDB, domain, Trust.THIRD_PARTY),
        ]
    return queries


def _ispdb_queries(context: SearchContext, rank: Rank, domain: str, trust: Trust) -> list[Query]:
    if not context.ask_ispdb:
        return []
    url = autoconfig.DATABASES[0].format(domain=domain)
    return [Query(Source.ISPDB, rank, url, partial(ask_ispdb, domain=domain, trust=trust))]


def ask_mx(context: SearchContext, query: Query) -> QueryResult:
    """Look up where the domain's mail goes: to a provider of the table, a filter, or hosts to ask about."""
    answer = context.resolver.mx(context.domain, context.deadline)
    if answer.status is DnsStatus.NO_RECORDS:  # the domain itself is then its mail host (RFC 5321 section 5.1)
        route = MailRoute(answer.status, (context.domain,))
        probes = guess_queries(context, route.hosts)
        return QueryResult(QueryStatus.ABSENT, _("no records"), next_queries=probes, route=route)
    if answer.status is not DnsStatus.FOUND:
        return not_found(answer, _("no such domain"), MailRoute(answer.status))
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
    # behind a filter, any MX may name the provider; otherwise only the most preferred: the rest may be a backup service
    preferred = tuple(mx.host for mx in exchanges if mx.preference == exchanges[0].preference)
    for host in hosts if route.filter_name else preferred:
        provider = context.table.by_mx_host(host)
        # the name of a server may have no underscore, which an MX host has now and then
        servers = servers_for(context.address, provider, "" if "_" in host else host) if provider else ()
        if provider and (provider.status is ProviderStatus.UNKNOWN or not servers):
            named_only = Candidate(query.source, Trust.DNS, Rank.MX_WITHOUT_SETTINGS, f"MX {host}", (), provider)
            following = _after_unknown_mx(context, route)
            return QueryResult(QueryStatus.FOUND, host, (named_only,), next_queries=following, route=route)
        if provider:
            candidate = Candidate(query.source, Trust.DNS, query.rank, f"MX {host}", servers, provider)
            return QueryResult(QueryStatus.FOUND, host, (candidate,), route=route)
    return QueryResult(
        QueryStatus.ABSENT, _route_detail(route), next_queries=_after_unknown_mx(context, route), route=route
    )


def _route_detail(route: MailRoute) -> str:
    if route.filter_name:
        return _("{name} filters the mail; that says nothing about sending").format(name=route.filter_name)
    if route.forwarder_name:
        return _("{name} only forwards the mail").format(name=route.forwarder_name)
    return _("{host}, which the table does not know").format(host=route.hosts[0])


def _after_unknown_mx(context: SearchContext, route: MailRoute) -> tuple[Query, ...]:
    own_mx = all(host == context.domain or host.endswith(f".{context.domain}") for host in route.hosts)
    ask_signs = partial(_ask_signs, is_filtered=bool(route.filter_name), has_own_mx=own_mx)
    queries = [Query(Source.MX, Rank.MAILBOX_BEHIND_FILTER, _("signs of a mailbox provider in the DNS"), ask_signs)]
    if route.filter_name or route.forwarder_name:
        return (*queries, *guess_queries(context))
    for domain in _mail_host_domains(route.hosts[0], context.domain):
        queries.append(Query(Source.AUTOCONFIG, Rank.MX_AUTOCONFIG, autoconfig.own_url(domain), ask_file_of_mail_host))
        queries += _ispdb_queries(context, Rank.MX_ISPDB, domain, Trust.DNS)
    return (*queries, *guess_queries(context, route.hosts[:2]))


def _mail_host_domains(host: str, domain: str) -> list[str]:
    """The domains whose files may describe an MX host: its name without the first label, and its registrable domain."""
    base = registrable(host)
    full = host.partition(".")[2]
    wanted = [full] if base and full.endswith(f".{base}") else []
    return [name for name in (*wanted, base) if name and name != domain]


def _ask_signs(context: SearchContext, _query: Query, *, is_filtered: bool, has_own_mx: bool) -> QueryResult:
    """Look for DNS records that providers have their customers publish: they make a mailbox there likely."""
    rows = context.table.with_signs()
    methods = {"CNAME": context.resolver.cname, "TXT": context.resolver.txt}
    wanted = {(sign.type, sign.name) for row in rows for sign in row.signs}
    answers = look_up_all(context, {(kind, name): (methods[kind], _below(name, context)) for kind, name in wanted})
    candidates = []
    for row in rows:
        seen = [sign for sign in row.signs if _is_there(sign, answers[sign.type, sign.name])]
        is_strong = any(not sign.is_weak for sign in seen)
        is_likely = is_filtered or (has_own_mx and any(sign.counts_with_own_mx for sign in seen))
        if is_strong or (seen and is_likely):
            # without a filter in front, the signs may be left over from an earlier provider
            rank = Rank.MAILBOX_BEHIND_FILTER if is_strong and is_filtered else Rank.SIGNS
            if row.status is ProviderStatus.UNKNOWN:
                rank = Rank.SIGNS_WITHOUT_SETTINGS
            origin = ", ".join(f"{sign.type} {_below(sign.name, context)}" for sign in seen)
            candidates.append(Candidate(Source.MX, Trust.DNS, rank, origin, (), row))
    if candidates:
        return QueryResult(QueryStatus.FOUND, candidates[0].origin, tuple(candidates))
    failed = any(answer.status.is_temporary for answer in answers.values())
    return QueryResult(QueryStatus.FAILED if failed else QueryStatus.ABSENT, _("none"), dns_failed=failed)


def _below(name: str, context: SearchContext) -> str:
    return f"{name}.{context.domain}" if name else context.domain


def _is_there(sign: Sign, answer: DnsAnswer) -> bool:
    if sign.type == "CNAME":
        return any(target == sign.value or target.endswith(f".{sign.value}") for target in answer.records)
    # "+" is what SPF means without it (RFC 7208 section 4.6.2)
    words = [word.removeprefix("+") for text in answer.records for word in text.lower().split()]
    return sign.value in words or any(word.startswith(f"{sign.value};") for word in words)


def guess_queries(context: SearchContext, mail_hosts: tuple[str, ...] = ()) -> tuple[Query, ...]:
    """The probe of the usual names and of the domain's mail hosts; none for a public suffix."""
    domain = context.domain
    if not registrable(domain):
        return ()
    origin = _("smtp.{domain} and other usual names").format(domain=domain)
    return (Query(Source.PROBE, Rank.PROBE, origin, partial(ask_usual_names, hosts=guesses(domain, mail_hosts))),)

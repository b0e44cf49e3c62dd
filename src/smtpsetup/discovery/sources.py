"""The sources that name mail servers: the domain's own files and SRV records, and the public database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security
from smtpsetup.discovery import autoconfig, pacc
from smtpsetup.discovery.candidates import QueryStatus, Rank, Trust
from smtpsetup.discovery.fetch import FetchError
from smtpsetup.discovery.queries import MOST, QueryResult, found, look_up_all, not_found
from smtpsetup.discovery.settings import Setting, UnusableError, best_first, server_named
from smtpsetup.net.parallel import run_in_background

if TYPE_CHECKING:
    from smtpsetup.core.model import Server
    from smtpsetup.discovery.fetch import Document
    from smtpsetup.discovery.queries import Query, SearchContext
    from smtpsetup.net.dns import Service


def ask_pacc(context: SearchContext, query: Query) -> QueryResult:
    """Fetch the domain's PACC document and its digest in parallel.

    Few domains have a digest; without one, the web server is not waited for.
    """
    fetched = run_in_background(lambda: context.fetcher.get(query.origin, context.deadline), context.deadline)
    texts = context.resolver.txt(pacc.digest_name(context.domain), context.deadline)
    announced = pacc.digests(texts.records)
    if not announced:
        return not_found(texts, _("no digest in the DNS"))
    document = fetched()
    if document.is_foreign:
        raise UnusableError(_("a redirect leads to {url}, which is not followed").format(url=document.url))
    setting = pacc.settings(document.body, announced, context.address)
    return found(query, Trust.TLS, query.rank, [setting])


def ask_own_file(context: SearchContext, query: Query) -> QueryResult:
    """Fetch the domain's own autoconfig file. A redirect to another owner's host makes it less trustworthy."""
    document = autoconfig.fetch_own(query.origin, context.address, context.fetcher, context.deadline)
    trust, rank = (Trust.DNS, Rank.REDIRECTED) if document.is_foreign else (Trust.TLS, query.rank)
    return _found_in(document, context, query, trust, rank)


def ask_file_of_mail_host(context: SearchContext, query: Query) -> QueryResult:
    """Fetch the autoconfig file of the MX's domain. Only unsigned DNS connects that domain to the address's."""
    document = context.fetcher.get(query.origin, context.deadline)
    return _found_in(document, context, query, Trust.DNS, query.rank)


def ask_ispdb(context: SearchContext, query: Query, *, domain: str, trust: Trust) -> QueryResult:
    """Ask the public database about a domain; its second address only if the first cannot be reached."""
    first, second = (url.format(domain=domain) for url in autoconfig.DATABASES)
    try:
        document = context.fetcher.get(first, context.deadline)
    except FetchError as error:
        if error.status:
            raise
        document = context.fetcher.get(second, context.deadline)
    return _found_in(document, context, query, trust, query.rank)


def _found_in(document: Document, context: SearchContext, query: Query, trust: Trust, rank: Rank) -> QueryResult:
    settings = autoconfig.settings(document.body, context.address)
    return found(query, trust, rank, settings, origin=document.url)


def ask_srv(context: SearchContext, query: Query) -> QueryResult:
    """Look up the domain's SRV records (RFC 6186, RFC 8314 section 5.1), implicit TLS first."""
    srv = context.resolver.srv
    answers = look_up_all(
        context,
        {
            Security.TLS: (srv, f"_submissions._tcp.{context.domain}"),
            Security.STARTTLS: (srv, f"_submission._tcp.{context.domain}"),
        },
    )
    settings: list[Setting] = []
    reasons: list[str] = []
    declined = False
    for security, answer in answers.items():
        for service in answer.records:
            declined = declined or service.target == "."
            try:
                if service.target != ".":
                    settings.append(Setting(_service_server(service, security)))
            except UnusableError as error:
                reasons.append(str(error))
    if settings:
        return found(query, Trust.DNS, query.rank, best_first(settings))
    if reasons:
        raise UnusableError("; ".join(reasons[:MOST]))
    if declined:
        return QueryResult(QueryStatus.ABSENT, _("the domain says that it offers no submission"))
    return not_found(max(answers.values(), key=lambda answer: answer.status.is_temporary), _("no records"))


def _service_server(service: Service, security: Security) -> Server:
    # STARTTLS records often name port 465 by mistake, which speaks implicit TLS
    return server_named(service.target, service.port, Security.TLS if service.port == 465 else security)  # noqa: PLR2004  RFC 8314 section 3.3

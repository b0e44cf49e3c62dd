"""The sources that name servers outright: the domain's own files and records, and the public database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security
from smtpsetup.discovery import autoconfig, pacc
from smtpsetup.discovery.candidates import QueryStatus, Rank, Trust
from smtpsetup.discovery.fetch import FetchError
from smtpsetup.discovery.queries import MOST, QueryResult, found, silence
from smtpsetup.discovery.settings import Setting, UnusableError, best_first, server_named
from smtpsetup.net.dns import DnsAnswer, DnsStatus
from smtpsetup.net.parallel import run_in_background, run_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.model import Server
    from smtpsetup.discovery.queries import Circumstances, Query
    from smtpsetup.net.dns import Service


def ask_pacc(circumstances: Circumstances, query: Query) -> QueryResult:
    """The domain's PACC document and its digest, side by side.

    Nearly every domain has no digest, and then no web server need be waited for.
    """
    fetched = run_in_background(
        lambda: circumstances.fetcher.get(query.origin, circumstances.deadline), circumstances.deadline
    )
    texts = circumstances.resolver.txt(pacc.digest_name(circumstances.domain), circumstances.deadline)
    announced = pacc.digests(texts.records)
    if not announced:
        return silence(texts, _("no digest in the DNS"))
    document = fetched()
    if document.is_foreign:
        raise UnusableError(_("a redirect leads to {url}, which is not followed").format(url=document.url))
    setting = pacc.settings(document.body, announced, circumstances.address)
    return found(query, Trust.TLS, query.rank, [setting])


def ask_own_file(circumstances: Circumstances, query: Query) -> QueryResult:
    """The domain's own autoconfig file.

    One that a redirect to another owner's host gave is worth what the redirect is worth.
    """
    document = autoconfig.fetch_own(query.origin, circumstances.address, circumstances.fetcher, circumstances.deadline)
    trust, rank = (Trust.DNS, Rank.REDIRECTED) if document.is_foreign else (Trust.TLS, query.rank)
    return found(query, trust, rank, autoconfig.settings(document.body, circumstances.address), origin=document.url)


def ask_file_of_mail_host(circumstances: Circumstances, query: Query) -> QueryResult:
    """The autoconfig file of whoever runs the MX: HTTPS all the way, but only the DNS says that they do."""
    document = circumstances.fetcher.get(query.origin, circumstances.deadline)
    return found(
        query, Trust.DNS, query.rank, autoconfig.settings(document.body, circumstances.address), origin=document.url
    )


def ispdb_asker(domain: str, trust: Trust = Trust.THIRD_PARTY) -> Callable[[Circumstances, Query], QueryResult]:
    """The question to the public database for a domain.

    `trust` is DNS where the domain asked about is only the MX's.
    """

    def ask(circumstances: Circumstances, query: Query) -> QueryResult:
        for number, url in enumerate(autoconfig.DATABASES, start=1):
            try:
                document = circumstances.fetcher.get(url.format(domain=domain), circumstances.deadline)
            except FetchError as error:
                if error.status or number == len(autoconfig.DATABASES):
                    raise
            else:
                return found(
                    query,
                    trust,
                    query.rank,
                    autoconfig.settings(document.body, circumstances.address),
                    origin=document.url,
                )
        raise AssertionError("the last database either answered or raised")

    return ask


def ask_srv(circumstances: Circumstances, query: Query) -> QueryResult:
    """The domain's SRV records (RFC 6186, RFC 8314 section 5.1), implicit TLS first."""
    names = {
        Security.TLS: f"_submissions._tcp.{circumstances.domain}",
        Security.STARTTLS: f"_submission._tcp.{circumstances.domain}",
    }
    asked = run_parallel(
        {security: _srv_question(circumstances, name) for security, name in names.items()}, circumstances.deadline
    )
    answers = {security: asked.get(security, DnsAnswer(DnsStatus.TIMEOUT)) for security in names}
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
    return silence(max(answers.values(), key=lambda answer: answer.status.is_temporary), _("no records"))


def _srv_question(circumstances: Circumstances, name: str) -> Callable[[], DnsAnswer]:
    return lambda: circumstances.resolver.srv(name, circumstances.deadline)


def _service_server(service: Service, security: Security) -> Server:
    # a record for STARTTLS that names port 465 is a slip often made: what listens there waits for TLS
    return server_named(service.target, service.port, Security.TLS if service.port == 465 else security)  # noqa: PLR2004  RFC 8314 section 3.3

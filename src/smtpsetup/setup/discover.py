"""Identifying an address whose domain the table does not know, from what discovery finds."""

from __future__ import annotations

import datetime
import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.discovery.candidates import QueryStatus, Rank, Source, Trust
from smtpsetup.discovery.fetch import Fetcher
from smtpsetup.discovery.queries import SearchContext, dns_reason
from smtpsetup.discovery.search import ask_sources
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.net.dns import DnsStatus, Resolver
from smtpsetup.providers import settings
from smtpsetup.setup.identify import Identification, UnknownDomainError, domain_shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.discovery.candidates import Candidate, SourceReport
    from smtpsetup.discovery.queries import MailRoute
    from smtpsetup.discovery.search import Discovery
    from smtpsetup.providers.row import Provider
    from smtpsetup.providers.table import Table

_CONFIDENCE = {Trust.TLS: "high", Trust.THIRD_PARTY: "medium", Trust.DNS: "medium", Trust.GUESS: "low"}


def discover(  # noqa: PLR0913  the address, the table and the limits of one search
    address: Address,
    table: Table,
    *,
    seconds: float,
    ask_ispdb: bool,
    ask_all: bool = False,
    suggestion: str | None = None,
    on_report: Callable[[SourceReport, int], None] = lambda _report, _left: None,
) -> Identification:
    """Ask the sources in parallel, within `seconds`; with `ask_all` also those that the best answer makes needless.

    `suggestion` is the address that was perhaps meant. `on_report` gets each source's report, and the number of those
    that are pending. Raises UnknownDomainError, and SmtpsetupError for an invalid name server setting.
    """
    context = _context(address, table, seconds, ask_ispdb=ask_ispdb)
    row = table.by_domain(address.domain)
    known = None if row is None or row.status is ProviderStatus.UNKNOWN else row
    discovery = ask_sources(context, ask_all=ask_all, known=known, on_report=on_report)
    if not discovery.candidates:
        unknown = functools.partial(UnknownDomainError, address, suggestion, discovery=discovery)
        raise _nothing_found(unknown, address, discovery, seconds)
    found = _identification(address, suggestion, discovery)
    is_table_alone = found.best is not None and found.best.rank is Rank.TABLE and not ask_all
    return replace(found, best=None) if is_table_alone else found


def owners_word(
    address: Address, provider: Provider, table: Table, *, seconds: float, ask_ispdb: bool
) -> Candidate | None:
    """Settings that contradict the provider's row: the domain's own, or the public database's; None where none do."""
    context = _context(address, table, seconds, ask_ispdb=ask_ispdb)
    return ask_sources(context, ask_all=False, known=provider).rival


def _context(address: Address, table: Table, seconds: float, *, ask_ispdb: bool) -> SearchContext:
    deadline = Deadline(seconds)
    resolver = Resolver(deadline)
    fetcher = Fetcher(tls.policy(), resolver.addresses if resolver.is_chosen else None)
    return SearchContext(address, table, resolver, fetcher, deadline, ask_ispdb=ask_ispdb)


def _identification(address: Address, suggestion: str | None, discovery: Discovery) -> Identification:
    best = discovery.candidates[0]
    provider = best.provider
    is_doubtful_row = best.rank is Rank.TABLE and provider is not None and provider.only_suggests
    vouching = [one for one in discovery.candidates if one.trust.vouches and not (is_doubtful_row and one is best)]
    vouched = frozenset(host for one in vouching for host in one.hosts)
    if is_doubtful_row:  # what the public database says today is a newer source for the same host
        agreeing = [one for one in discovery.candidates if one.rank is Rank.ISPDB and set(one.hosts) & set(best.hosts)]
        vouching += agreeing
        vouched |= frozenset(host for one in agreeing for host in one.hosts if host in best.hosts)
    # a source that vouches for the best candidate's host is named instead: HTTPS confirms what the MX led to
    source = next((one for one in vouching if best.servers and best.servers[0].host in one.hosts), best)
    username, note = settings.username_for(address, provider)
    if provider is None:
        username, note = _username(address, best)
    return Identification(
        address,
        provider,
        str(source.source),
        _confidence(best, source, discovery),
        best.servers,
        username,
        note,
        best.auth or (Auth.PASSWORD,),
        provider.last_checked if provider else datetime.datetime.now(datetime.UTC).date(),
        vouched_hosts=vouched,
        remarks=_remarks(address, suggestion, discovery),
        best=source,
        discovery=discovery,
    )


def _username(address: Address, best: Candidate) -> tuple[str, str]:
    whole, _note = settings.username_for(address, None)
    if best.username is None:
        return str(whole), _("Your login is most likely the whole address.")
    if best.username == whole:
        return best.username, _("Your login is the whole address.")
    return best.username, _("Your login is the part before the @.") if best.username == address.mailbox else ""


def _confidence(best: Candidate, source: Candidate, discovery: Discovery) -> str:
    known = best.provider.confidence if best.provider and source.trust is not Trust.TLS else _CONFIDENCE[source.trust]
    is_doubtful = discovery.rival is not None or best.rank is Rank.SIGNS
    return "medium" if known == "high" and is_doubtful else known


def _remarks(address: Address, suggestion: str | None, discovery: Discovery) -> tuple[str, ...]:
    """Sentences for people about the route of the mail and conflicting sources."""
    best, route, rival = discovery.candidates[0], discovery.route, discovery.rival
    remarks = []
    if route and route.filter_name and not best.trust.vouches:
        remarks.append(
            _("{filter} filters the mail to {domain}; the mailbox is somewhere else.").format(
                filter=route.filter_name, domain=address.domain
            )
        )
    if route and route.forwarder_name:
        remarks.append(
            _("{name} only forwards the mail to {domain}; it sends none.").format(
                name=route.forwarder_name, domain=address.domain
            )
        )
    if route and route.takes_no_mail:
        remarks.append(_("{domain} takes no mail itself: its DNS says so.").format(domain=address.domain))
    if best.provider is None:
        remarks += _named_only(address, discovery)
    if rival:
        text = _(
            "Sources disagree: {source} names {host} instead. That is not certain: ask your provider before you use it."
        )
        if rival.trust.vouches:
            text = _(
                "Sources disagree: {source} names {host} instead. If the login fails, try `smtpsetup configure "
                "{address} --host {host}`."
            )
        host = rival.hosts[0] if rival.hosts else "-"
        remarks.append(text.format(source=rival.origin, host=host, address=address))
    if suggestion:
        remarks.append(_("Did you mean {address}?").format(address=suggestion))
    return tuple(remarks)


def _named_only(address: Address, discovery: Discovery) -> list[str]:
    """Whom the domain's DNS names, if it is a provider whose settings the table does not know: one who can be asked."""
    named = next((one for one in discovery.candidates if not one.rank.has_settings and one.provider), None)
    if named is None or named.provider is None:
        return []
    text = _("{domain} is run by {provider} (its MX points there).")
    if named.rank.may_be_left_over:
        text = _("{domain} is most likely run by {provider} (its DNS shows it: {origin}).")
    said = text.format(domain=address.domain, provider=named.provider.name, origin=named.origin)
    ask = _("Ask {provider} whether this server is right.").format(provider=named.provider.name)
    return [" ".join(part for part in (said, ask, named.provider.docs_url) if part)]


def _nothing_found(
    unknown: functools.partial[UnknownDomainError], address: Address, discovery: Discovery, seconds: float
) -> UnknownDomainError:
    """Why nothing was found, by the most telling failure."""
    domain, route = domain_shown(address), discovery.route
    if route and route.status is DnsStatus.NO_NAME:
        return unknown(
            code="dns.not-found",
            message=_("There is no domain {domain}.").format(domain=domain),
            causes=(
                _("The DNS says that the name does not exist: it is misspelt, was never registered or has expired."),
            ),
            hints=(_("Check the part after the @."),),
        )
    if route and route.takes_no_mail:
        return unknown(
            message=_("{domain} takes no mail: its DNS says so (a null MX).").format(domain=domain),
            causes=(_("It is parked, or used for a website only, so there is no mailbox to send from."),),
            hints=(_("Send from an address that has a mailbox, or ask whoever runs the domain to set up one."),),
        )
    if discovery.dns_failed or (discovery.was_cut_short and route is None):
        return _dns_failed(unknown, address, route)
    if discovery.proxy_failed:
        return unknown(
            code="connect.unreachable",
            message=_("Who runs the mail of {domain} could not be looked up on the web.").format(domain=domain),
            causes=_failed(discovery),
            hints=(_("Check the proxy that the environment names: `env | grep -i proxy`."),),
        )
    if discovery.was_cut_short:
        text = _("Who runs the mail of {domain} was not found within {n:g} seconds.")
        return unknown(
            code="connect.timeout",
            message=text.format(domain=domain, n=seconds),
            causes=(_("Not everyone who may know has answered."),),
            hints=(_("Give it more time: `smtpsetup identify {address} --timeout 30`.").format(address=address),),
        )
    return unknown(
        message=_("Who runs the mail of {domain} could not be found out.").format(domain=domain),
        causes=(
            *_failed(discovery),
            _(
                "Its DNS leads to no known provider, it publishes no settings, and no server with a usual name can be "
                "used."
            ),
        ),
        hints=(_("See what each source said: `smtpsetup identify {address} --all`.").format(address=address),),
    )


def _dns_failed(
    unknown: functools.partial[UnknownDomainError], address: Address, route: MailRoute | None
) -> UnknownDomainError:
    status = route.status if route else DnsStatus.TIMEOUT
    if not status.is_temporary:
        status = DnsStatus.SERVER_FAILURE  # of another query than that for the MX
    hints: tuple[str, ...] = (_("Try again in a while, and check this machine's network: does a web page open?"),)
    if status in (DnsStatus.SERVER_FAILURE, DnsStatus.REFUSED):
        hints = (
            _(
                "Try again in a while. If it stays, the domain's own name servers may be broken: tell whoever runs "
                "its DNS."
            ),
            _("Ask another name server meanwhile: `SMTPSETUP_NAMESERVER=9.9.9.9 smtpsetup identify {address}`.").format(
                address=address
            ),
        )
    return unknown(
        code="dns.temporary",
        message=_("Who runs the mail of {domain} could not be looked up.").format(domain=domain_shown(address)),
        causes=(f"{dns_reason(status)[:1].upper()}{dns_reason(status)[1:]}.",),
        hints=hints,
    )


def _failed(discovery: Discovery) -> tuple[str, ...]:
    """The details of the sources that failed, timed out, or gave an answer that must not be used."""
    details: list[str] = []
    for report in discovery.reports:
        if report.outcome not in (QueryStatus.FOUND, QueryStatus.ABSENT):
            details += (
                report.detail.split("; ") if report.source is Source.PROBE else [f"{report.origin}: {report.detail}"]
            )
    return tuple(details)

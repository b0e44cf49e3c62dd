"""Finding out about an address whose domain the table does not know, and what the findings come to."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.discovery.candidates import QueryStatus, Rank, Source, Trust
from smtpsetup.discovery.fetch import Fetcher
from smtpsetup.discovery.queries import SearchContext, dns_reason
from smtpsetup.discovery.search import ask_sources
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.net.dns import DnsStatus, Resolver
from smtpsetup.providers import settings
from smtpsetup.setup.identify import Identification, UnknownDomainError, addresses_shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.discovery.candidates import Candidate, SourceReport
    from smtpsetup.discovery.queries import MailRoute
    from smtpsetup.discovery.search import Discovery
    from smtpsetup.providers.table import Table

_CONFIDENCE = {Trust.TLS: "high", Trust.THIRD_PARTY: "medium", Trust.DNS: "medium", Trust.GUESS: "low"}


def discover(  # noqa: PLR0913  independent options, most of them keywords
    address: Address,
    table: Table,
    *,
    seconds: float,
    ask_ispdb: bool,
    ask_all: bool = False,
    meant: str | None = None,
    on_report: Callable[[SourceReport, int], None] = lambda _report, _left: None,
) -> Identification:
    """Ask everyone who may know, within `seconds`; `meant` is the address that was perhaps misspelt.

    Raises UnknownDomainError, and SmtpsetupError for a name server setting that is none.
    """
    deadline = Deadline(seconds)
    resolver = Resolver(deadline)
    fetcher = Fetcher(tls.policy(), resolver.addresses if resolver.is_chosen else None)
    context = SearchContext(address, table, resolver, fetcher, deadline, ask_ispdb=ask_ispdb)
    known = table.by_domain(address.domain)
    discovery = ask_sources(context, ask_all=ask_all, known=known, on_report=on_report)
    if not discovery.candidates:
        raise _nothing_found(address, meant, discovery, seconds)
    return _concluded(address, meant, discovery)


def _concluded(address: Address, meant: str | None, discovery: Discovery) -> Identification:
    best = discovery.candidates[0]
    provider = best.provider
    vouching = [one for one in discovery.candidates if one.trust.vouches]
    # what the domain itself says over HTTPS vouches for the same host that its MX only led to
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
        vouched_hosts=frozenset(host for one in vouching for host in one.hosts),
        remarks=_remarks(address, meant, discovery),
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


def _remarks(address: Address, meant: str | None, discovery: Discovery) -> tuple[str, ...]:
    """What a person should know beside the answer."""
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
    if rival:
        remarks.append(
            _(
                "Sources disagree: {source} names {host} instead. If the login fails, try `smtpsetup configure "
                "{address} --host {host}`."
            ).format(source=rival.origin, host=rival.hosts[0] if rival.hosts else "-", address=address)
        )
    if meant:
        remarks.append(_("Did you mean {address}?").format(address=meant))
    return tuple(remarks)


def _nothing_found(address: Address, meant: str | None, discovery: Discovery, seconds: float) -> UnknownDomainError:
    domain, route = addresses_shown(address), discovery.route
    if route and route.status is DnsStatus.NO_NAME:
        return UnknownDomainError(
            address,
            meant,
            code="dns.not-found",
            message=_("There is no domain {domain}.").format(domain=domain),
            causes=(
                _("The DNS says that the name does not exist: it is misspelt, was never registered or has expired."),
            ),
            hints=(_("Check the part after the @."),),
            discovery=discovery,
        )
    if route and route.takes_no_mail:
        return _takes_no_mail(address, meant, discovery)
    if discovery.dns_failed or (discovery.was_cut_short and route is None):
        return _could_not_ask(address, meant, discovery, route)
    if discovery.proxy_failed:
        return UnknownDomainError(
            address,
            meant,
            code="connect.unreachable",
            message=_("Who runs the mail of {domain} could not be looked up on the web.").format(domain=domain),
            causes=_failed(discovery),
            hints=(_("Check the proxy that the environment names: `env | grep -i proxy`."),),
            discovery=discovery,
        )
    if discovery.was_cut_short:
        return UnknownDomainError(
            address,
            meant,
            code="connect.timeout",
            message=_("Who runs the mail of {domain} was not found within {n:g} seconds.").format(
                domain=domain, n=seconds
            ),
            causes=(_("Not everyone who may know has answered."),),
            hints=(_("Give it more time: `smtpsetup identify {address} --timeout 30`.").format(address=address),),
            discovery=discovery,
        )
    return UnknownDomainError(
        address,
        meant,
        message=_("Who runs the mail of {domain} could not be found out.").format(domain=domain),
        causes=(
            *_failed(discovery),
            _(
                "Its DNS leads to no known provider, it publishes no settings, and no server with a usual name can be "
                "used."
            ),
        ),
        hints=(_("See what each source said: `smtpsetup identify {address} --all`.").format(address=address),),
        discovery=discovery,
    )


def _takes_no_mail(address: Address, meant: str | None, discovery: Discovery) -> UnknownDomainError:
    return UnknownDomainError(
        address,
        meant,
        message=_("{domain} takes no mail: its DNS says so (a null MX).").format(domain=addresses_shown(address)),
        causes=(_("It is parked, or used for a website only, so there is no mailbox to send from."),),
        hints=(_("Send from an address that has a mailbox, or ask whoever runs the domain to set up one."),),
        discovery=discovery,
    )


def _could_not_ask(
    address: Address, meant: str | None, discovery: Discovery, route: MailRoute | None
) -> UnknownDomainError:
    status = (
        route.status
        if route and route.status.is_temporary
        else DnsStatus.TIMEOUT
        if route is None
        else DnsStatus.SERVER_FAILURE
    )
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
    return UnknownDomainError(
        address,
        meant,
        code="dns.temporary",
        message=_("Who runs the mail of {domain} could not be looked up.").format(domain=addresses_shown(address)),
        causes=(f"{dns_reason(status)[:1].upper()}{dns_reason(status)[1:]}.",),
        hints=hints,
        discovery=discovery,
    )


def _failed(discovery: Discovery) -> tuple[str, ...]:
    """Sources that might have told more but could not be asked, or said what must not be used."""
    told: list[str] = []
    for report in discovery.reports:
        if report.outcome not in (QueryStatus.FOUND, QueryStatus.ABSENT):
            told += (
                report.detail.split("; ") if report.source is Source.PROBE else [f"{report.origin}: {report.detail}"]
            )
    return tuple(told)

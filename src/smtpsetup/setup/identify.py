"""The provider, servers and login of an address, from the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import ProviderStatus
from smtpsetup.providers import settings

if TYPE_CHECKING:
    import datetime

    from smtpsetup.address.address import Address
    from smtpsetup.core.model import Auth, Server
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.discovery.search import Discovery
    from smtpsetup.providers.row import Provider
    from smtpsetup.providers.table import Table

_SLIPS_OF_COM = ("cim", "clm", "cmo", "comm", "con", "coom", "cpm", "ocm", "vom", "xom")  # no such top-level domains
_CLOSE = 0.85  # difflib's ratio: one slip in a name of nine letters is 0.89


@dataclass(frozen=True, slots=True)
class Identification:
    """What is known about an address. `username` is None where only the person knows it.

    `vouched_hosts` may get a password without being confirmed, also outside the address's own domain.
    `remarks` are sentences for people. `best` is the source of the answer and `discovery` all that was found, both None
    where the table has the domain.
    """

    address: Address
    provider: Provider | None
    source: str
    confidence: str
    servers: tuple[Server, ...]
    username: str | None
    username_note: str
    auth: tuple[Auth, ...]
    last_checked: datetime.date | None
    vouched_hosts: frozenset[str]
    remarks: tuple[str, ...] = ()
    best: Candidate | None = None
    discovery: Discovery | None = None

    @property
    def only_suggested(self) -> bool:
        """Whether the answer is that of a row that nothing newer than three years supports."""
        return self.source == "table" and self.provider is not None and self.provider.only_suggests

    @property
    def needs_confirmation(self) -> bool:
        """Whether a person must confirm the first server before it gets a password."""
        return bool(self.servers) and self.is_unconfirmed(self.servers[0].host)

    def is_unconfirmed(self, host: str) -> bool:
        """Whether only unsigned DNS, a third party or a guess names this host, outside the address's own domain.

        So is every host of a row that no source of the last three years supports, or that takes its name from the MX.
        """
        if host in self.vouched_hosts:
            return False
        is_named_by_mx = self.provider is not None and any("{mx}" in server.host for server in self.provider.servers)
        if self.only_suggested or is_named_by_mx:
            return True
        from smtpsetup.discovery.suffixes import same_owner  # not needed for hosts of the table

        return not same_owner(host, self.address.domain)


class UnknownDomainError(SmtpsetupError):
    """Nothing is known about a domain; `suggestion` is the address that was perhaps meant, or None."""

    def __init__(  # noqa: PLR0913  the parts of SmtpsetupError that depend on the cause
        self,
        address: Address,
        suggestion: str | None,
        *,
        code: str = "config.no-settings-found",
        message: str = "",
        causes: tuple[str, ...] = (),
        hints: tuple[str, ...] = (),
        discovery: Discovery | None = None,
        known_cause: str | None = None,
    ) -> None:
        meant = (_("Did you mean {address}?").format(address=suggestion),) if suggestion else ()
        if code == "config.no-settings-found":
            hints = (*_by_hand(address), *hints)
        elif code != "dns.not-found":
            hints = (*hints, *_by_hand(address))
        super().__init__(
            code,
            message
            or _("The provider table does not know who runs the mail of {domain}.").format(
                domain=domain_shown(address)
            ),
            causes=causes,
            hints=(*meant, *hints),
            known_cause=known_cause,
        )
        self.suggestion = suggestion
        self.discovery = discovery


def _by_hand(address: Address) -> tuple[str, ...]:
    import shlex  # for an error only

    quoted = shlex.quote(str(address))
    return (
        _(
            "If you know who runs it, name them, such as one.com: `smtpsetup configure {address} --provider NAME`."
        ).format(address=quoted),
        _("Or look for the outgoing server (SMTP) on the help page of whoever sells you the mail or the domain."),
        _("Then set it up: `smtpsetup configure {address} --host HOST --port 465 --security tls`.").format(
            address=quoted
        ),
    )


def domain_shown(address: Address) -> str:
    """The domain of an address for people, an international one as U-labels and A-labels."""
    if address.domain == address.unicode_domain:
        return address.domain
    return f"{address.unicode_domain} ({address.domain})"


def identify(text: str, table: Table) -> Identification:
    """What the table knows about an address. Raises MalformedAddressError, UnknownDomainError."""
    address = parse_address(text)
    provider = table.by_domain(address.domain)
    if provider is None:
        cause, known_cause = _("It is a domain of one's own or of a small provider."), ""
        if "." not in address.domain:
            cause = known_cause = _("There is no dot in {domain}: is its ending missing, such as .se?").format(
                domain=address.unicode_domain
            )
        raise UnknownDomainError(address, suggestion(address, table), causes=(cause,), known_cause=known_cause)
    return from_row(address, provider)


def from_row(address: Address, provider: Provider) -> Identification:
    """What the table's row says about an address."""
    username, note = settings.username_for(address, provider)
    servers = settings.servers_for(address, provider)
    return Identification(
        address,
        provider,
        "table",
        provider.confidence,
        servers,
        username,
        note,
        provider.auth,
        provider.last_checked,
        vouched_hosts=frozenset() if provider.only_suggests else frozenset(server.host for server in servers),
    )


def refusal(found: Identification) -> SmtpsetupError | None:
    """The error for a provider without SMTP for its customers, or whose settings are not known; None for any other."""
    provider = found.provider
    if provider is None or provider.status not in (ProviderStatus.UNAVAILABLE, ProviderStatus.UNKNOWN):
        return None
    if provider.status is ProviderStatus.UNKNOWN:
        return _settings_unknown(found, provider)
    text = _("{provider} has no SMTP server, so no other program can send from {address}.")
    if provider.has_closed:
        text = _("{provider} has closed, so nothing can be sent from {address}.")
    return SmtpsetupError(
        "config.provider-without-smtp",
        text.format(provider=provider.name, address=found.address),
        causes=provider.notes,
        known_cause="",  # `identify --more` has the notes
        hints=(
            *provider.enable_steps,
            _("Send from an address at another provider, or through a relay service with a domain of your own."),
        ),
        url=provider.docs_url or None,
    )


def _settings_unknown(found: Identification, provider: Provider) -> SmtpsetupError:
    import shlex  # as above

    ask = (_("Ask {provider} for its outgoing server (SMTP).").format(provider=provider.name),)
    if not provider.docs_url:  # nobody is known who could be asked
        ask = (_("Ask whoever provides the mailbox for its outgoing server (SMTP)."),)
    text = _("{domain} belongs to {provider}, and its settings for sending are not known to us.")
    if found.best and found.best.rank.may_be_left_over:
        text = _("{domain} most likely belongs to {provider}, and its settings for sending are not known to us.")
    return SmtpsetupError(
        "config.no-settings-found",
        text.format(domain=domain_shown(found.address), provider=provider.name),
        hints=(
            *ask,
            _("Then set it up: `smtpsetup configure {address} --host HOST --port 465 --security tls`.").format(
                address=shlex.quote(str(found.address))
            ),
        ),
        url=provider.docs_url or None,
    )


def source_sentence(found: Identification) -> str:
    """A sentence that names the source of the answer; `""` where it is the table."""
    best = found.best
    if best is None:
        return ""
    from smtpsetup.discovery.candidates import Rank  # not needed for an answer from the table

    names = {
        "domain": domain_shown(found.address),
        "provider": found.provider.name if found.provider else "",
        "origin": best.origin,
    }
    by_provider = {
        Rank.TABLE: _("{domain} is run by {provider}."),
        Rank.PACC: _("{domain} is run by {provider} (its own settings say so)."),
        Rank.MX: _("{domain} is run by {provider} (its MX points there)."),
        Rank.MX_WITHOUT_SETTINGS: _("{domain} is run by {provider} (its MX points there)."),
        Rank.MAILBOX_BEHIND_FILTER: _("{domain} is run by {provider} (its DNS shows it: {origin})."),
        Rank.AUTOCONFIG: _("{domain} is run by {provider} (its own settings say so)."),
        Rank.WELL_KNOWN: _("{domain} is run by {provider} (its own settings say so)."),
        Rank.ISPDB: _("{domain} is run by {provider} (Thunderbird's database says so)."),
        Rank.SRV: _("{domain} is run by {provider} (its SRV records point there)."),
        Rank.SIGNS: _("{domain} is most likely run by {provider} (its DNS shows it: {origin})."),
        Rank.SIGNS_WITHOUT_SETTINGS: _("{domain} is most likely run by {provider} (its DNS shows it: {origin})."),
    }
    by_rank = {
        Rank.PACC: _("{domain} publishes its own settings (PACC)."),
        Rank.AUTOCONFIG: _("{domain} publishes its own settings (autoconfig)."),
        Rank.WELL_KNOWN: _("{domain} publishes its own settings (autoconfig)."),
        Rank.ISPDB: _("Thunderbird's database has settings for {domain}."),
        Rank.SRV: _("The DNS of {domain} names this server (SRV)."),
        Rank.REDIRECTED: _("{domain} refers to settings that someone else publishes ({origin})."),
        Rank.MX_AUTOCONFIG: _("Whoever takes the mail for {domain} publishes these settings ({origin})."),
        Rank.MX_ISPDB: _("Thunderbird's database has settings for whoever takes the mail for {domain}."),
        Rank.PROBE: _(
            "A server with a usual name, {origin}, takes mail from customers; that it is for {domain} is a guess."
        ),
    }
    text = by_provider.get(best.rank) if found.provider else None
    return (text or by_rank[best.rank]).format(**names)


def why_unconfirmed(found: Identification) -> str:
    """Why a person must confirm the server, as a sentence."""
    if found.only_suggested and found.last_checked:
        return _("What is known of it is from {year}, and nothing newer confirms it.").format(
            year=found.last_checked.year
        )
    if found.only_suggested:
        return _("The sources that name it have no date, and nothing newer confirms it.")
    return _("The server is outside {domain}, and only sources that can be forged name it.").format(
        domain=found.address.unicode_domain
    )


def suggestion(address: Address, table: Table) -> str | None:
    """The address at a large provider that this one is perhaps a misspelling of; None where there is none."""
    import difflib  # needed for unknown domains only

    if "." not in address.domain:
        endings = (_("com"), "com", "se")
        full = next((name for end in endings if table.by_domain(name := f"{address.domain}.{end}")), None)
        return f"{address.local}@{full}" if full else None
    name, _dot, ending = address.domain.rpartition(".")
    if ending in _SLIPS_OF_COM and table.by_domain(f"{name}.com"):
        return f"{address.local}@{name}.com"
    close = difflib.get_close_matches(address.domain, table.often_mistyped(), n=1, cutoff=_CLOSE)
    return f"{address.local}@{close[0]}" if close else None

"""Who runs an address's mail, and what it takes to send through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup import addresses, candidates
from smtpsetup.errors import SmtpsetupError
from smtpsetup.i18n import gettext as _
from smtpsetup.model import Status

if TYPE_CHECKING:
    from smtpsetup.addresses import Address
    from smtpsetup.model import Server
    from smtpsetup.providers import Provider, Table

_CLOSE = 0.85  # difflib's ratio: one slip in a name of nine letters is 0.89


@dataclass(frozen=True, slots=True)
class Identification:
    """What is known about an address. `username` is None where only the person knows it."""

    address: Address
    provider: Provider
    source: str
    servers: tuple[Server, ...]
    username: str | None
    username_note: str
    needs_confirmation: bool


class UnknownDomainError(SmtpsetupError):
    """Nothing is known about a domain; `suggestion` is the address that was perhaps meant, or None."""

    def __init__(self, address: Address, suggestion: str | None) -> None:
        hints: tuple[str, ...] = (
            _("If you know who runs it, name them: `smtpsetup configure {address} --provider one-com`.").format(address=address),
            _("Or look for the outgoing server (SMTP) on the help page of whoever sells you the mail or the domain."),
            _("Then set it up: `smtpsetup configure {address} --host HOST --port 465 --security tls`.").format(address=address),
        )
        if suggestion:
            hints = (_("Did you mean {address}?").format(address=suggestion), *hints)
        domain = addresses_shown(address)
        super().__init__(
            "config.no-settings-found",
            _("The provider table does not know who runs the mail of {domain}.").format(domain=domain),
            causes=(_("It is a domain of one's own or of a small provider; this version looks it up in the table only."),),
            hints=hints,
        )
        self.suggestion = suggestion


def addresses_shown(address: Address) -> str:
    """The domain of an address for people, an international one in both its forms."""
    if address.domain == address.unicode_domain:
        return address.domain
    return f"{address.unicode_domain} ({address.domain})"


def identify(text: str, table: Table) -> Identification:
    """What the table knows about an address. Raises MalformedAddressError, UnknownDomainError."""
    address = addresses.parse(text)
    provider = table.by_domain(address.domain)
    if provider is None:
        domain = _similar_domain(address.domain, table)
        raise UnknownDomainError(address, f"{address.local}@{domain}" if domain else None)
    username, note = candidates.username_for(address, provider)
    servers = candidates.servers_for(address, provider)
    return Identification(address, provider, "table", servers, username, note, needs_confirmation=False)


def without_smtp(found: Identification) -> SmtpsetupError | None:
    """The error that says so when the provider gives its customers no SMTP."""
    if found.provider.status is not Status.UNAVAILABLE:
        return None
    return SmtpsetupError(
        "config.provider-without-smtp",
        _("{provider} has no SMTP server, so no other program can send from {address}.").format(provider=found.provider.name, address=found.address),
        causes=found.provider.notes,
        hints=(
            *found.provider.enable_steps,
            _("Send from an address at another provider, or through a relay service with a domain of your own."),
        ),
        url=found.provider.docs_url or None,
    )


def _similar_domain(domain: str, table: Table) -> str | None:
    """A large provider's domain that looks like this one with a slip of the keyboard."""
    import difflib  # only unknown domains come here

    often_mistyped = [name for row in table.all() for name in row.often_mistyped]
    return next(iter(difflib.get_close_matches(domain, often_mistyped, n=1, cutoff=_CLOSE)), None)

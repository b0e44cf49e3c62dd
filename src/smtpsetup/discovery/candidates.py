"""What a source says about a domain's outgoing server, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.model import Auth, Server
    from smtpsetup.providers.row import Provider


class Source(StrEnum):
    """Where an answer came from."""

    TABLE = "table"
    PACC = "pacc"
    MX = "mx"
    AUTOCONFIG = "autoconfig"
    ISPDB = "ispdb"
    SRV = "srv"
    PROBE = "probe"


class Trust(StrEnum):
    """What proves that an answer belongs to the address's domain, the strongest first."""

    TABLE = "table"
    TLS = "tls"  # fetched over HTTPS from a name below the domain
    THIRD_PARTY = "third-party"
    DNS = "dns"  # unsigned DNS, or a redirect to another owner's host
    GUESS = "guess"

    @property
    def vouches(self) -> bool:
        """Whether a named host outside the domain may get a password without asking the person."""
        return self in (Trust.TABLE, Trust.TLS)


class Rank(IntEnum):
    """How plausible an answer is, the best first. docs/discovery.md explains the order."""

    TABLE = 0
    PACC = 1
    MX = 2
    MAILBOX_BEHIND_FILTER = 3
    AUTOCONFIG = 4
    WELL_KNOWN = 5
    ISPDB = 6
    SRV = 7
    REDIRECTED = 8  # a file of the domain's own that a host of another owner serves
    SIGNS = 9  # DNS records that a provider has its customers publish
    MX_AUTOCONFIG = 10
    MX_ISPDB = 11
    PROBE = 12
    MX_WITHOUT_SETTINGS = 13  # the table knows the provider that the MX names, and not its settings
    SIGNS_WITHOUT_SETTINGS = 14  # the same with DNS records in place of the MX

    @property
    def has_settings(self) -> bool:
        """Whether such an answer is more than the name of a provider."""
        return self not in (Rank.MX_WITHOUT_SETTINGS, Rank.SIGNS_WITHOUT_SETTINGS)

    @property
    def may_be_left_over(self) -> bool:
        """Whether the records may be those of an earlier provider, so that the present one is only likely."""
        return self in (Rank.SIGNS, Rank.SIGNS_WITHOUT_SETTINGS)


class QueryStatus(StrEnum):
    """The result of asking a source."""

    FOUND = "found"
    ABSENT = "absent"  # it knows nothing about the domain
    REFUSED = "refused"  # its answer must not be used
    FAILED = "failed"  # it could not be asked
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings from one source. `origin` is the DNS record or URL that they were read from.

    `username` is filled in for the address. It is None, and `auth` is empty, if the source does not say.
    """

    source: Source
    trust: Trust
    rank: Rank
    origin: str
    servers: tuple[Server, ...]
    provider: Provider | None = None
    username: str | None = None
    auth: tuple[Auth, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The servers' hosts, without duplicates."""
        return tuple(dict.fromkeys(server.host for server in self.servers))


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The result of asking one source. `ms` is the duration in milliseconds, `detail` a few words for people."""

    source: Source
    origin: str
    outcome: QueryStatus
    ms: float
    detail: str = ""
    candidates: tuple[Candidate, ...] = ()

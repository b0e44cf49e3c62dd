"""A failure as a fact: what happened, where, and in which words. What it means is said by `diagnosis` alone."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime

    from smtpsetup.core.model import Server, Stage, StageStatus


class Kind(StrEnum):
    """What kind of thing happened, as far as this machine can see it."""

    REPLY = "reply"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    NAME_NOT_FOUND = "name-not-found"
    NAME_TEMPORARY = "name-temporary"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    HOSTNAME_MISMATCH = "hostname-mismatch"
    FINGERPRINT_MISMATCH = "fingerprint-mismatch"
    TLS_TOO_OLD = "tls-too-old"
    TLS_NOT_SPOKEN = "tls-not-spoken"
    TLS_EXPECTED = "tls-expected"
    TLS_FAILED = "tls-failed"
    NOT_SMTP = "not-smtp"
    PROTOCOL_ERROR = "protocol-error"
    NOT_OFFERED = "not-offered"
    NO_COMMON_MECHANISM = "no-common-mechanism"
    INJECTION = "injection"
    TOO_LARGE = "too-large"
    LINE_TOO_LONG = "line-too-long"
    SMTPUTF8_NOT_OFFERED = "smtputf8-not-offered"
    UNPROTECTED = "unprotected"


class Reply(NamedTuple):
    """A server's reply (RFC 5321 section 4.2), cleaned for the terminal and with the session's secrets masked.

    `enhanced` is the enhanced status code (RFC 3463) or `""`; `lines` are the words behind the codes.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The words, one line after the other."""
        return "\n".join(self.lines)

    @property
    def is_temporary(self) -> bool:
        """Whether the server says that the same may work later (4yz)."""
        return self.code // 100 == 4  # noqa: PLR2004  RFC 5321 section 4.2.1

    def __str__(self) -> str:
        codes = f"{self.code} {self.enhanced}".rstrip()
        return "\n".join(f"{codes} {line}".rstrip() for line in self.lines or ("",))


class Failure(NamedTuple):
    """What went wrong in talking to a server.

    `detail` is technical and short; `offered` lists what the server offered instead.

    `is_unknown` is set where the whole message had been sent and the answer to it is missing: it may have been
    accepted.
    """

    stage: Stage
    kind: Kind
    server: Server
    reply: Reply | None = None
    detail: str = ""
    offered: tuple[str, ...] = ()
    is_unknown: bool = False


class StageResult(NamedTuple):
    """How one stage went. `ms` is its duration in milliseconds."""

    stage: Stage
    status: StageStatus
    ms: float
    detail: str = ""
    reply: Reply | None = None


class CertificateFacts(NamedTuple):
    """What a certificate that was not believed says of itself.

    `names` are those it is made out to; both times are in UTC.
    """

    names: tuple[str, ...]
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    is_self_signed: bool


class Evidence(NamedTuple):
    """What a second look at a failure found, as facts.

    `alternative` is another place where the same provider takes logins; `web_is_reachable` tells whether this machine
    gets out at all (None: not tried); `greeting` is the failing server's own words; `is_impostor` that its certificate
    belongs to another owner than the account's provider; `clock_is_ahead` by how many seconds this machine's clock runs
    before the server's (None: the server did not say).
    """

    alternative: Server | None = None
    web_is_reachable: bool | None = None
    certificate: CertificateFacts | None = None
    greeting: str = ""
    is_impostor: bool = False
    clock_is_ahead: float | None = None


class Refused(NamedTuple):
    """A recipient that the server did not take."""

    address: str
    failure: Failure


class TransportError(Exception):
    """Carries a Failure up from the transport, and the recipients that had been refused before it."""

    def __init__(self, failure: Failure, refused: tuple[Refused, ...] = ()) -> None:
        super().__init__(f"{failure.stage}: {failure.kind}")
        self.failure = failure
        self.refused = refused

"""A failure as a fact: what happened, at which stage, and the server's reply. `diagnosis` alone interprets it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime

    from smtpsetup.core.model import Server, Stage, StageStatus


class Kind(StrEnum):
    """What happened, as this machine sees it."""

    REPLY = "reply"
    HTTP = "http"  # the answer of an API
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"  # the other side ended the connection
    PROXY_FAILED = "proxy-failed"
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
    INJECTION = "injection"  # more data than the reply to STARTTLS, before TLS
    TOO_LARGE = "too-large"
    TOO_LARGE_FOR_PERMISSION = "too-large-for-permission"  # an API takes it with another permission
    LINE_TOO_LONG = "line-too-long"
    SMTPUTF8_NOT_OFFERED = "smtputf8-not-offered"
    UNPROTECTED = "unprotected"  # no login without TLS, except to this machine


class Reply(NamedTuple):
    """A server's reply (RFC 5321 section 4.2), cleaned for the terminal and with the session's secrets masked.

    `enhanced` is the enhanced status code (RFC 3463) or `""`; `lines` are the texts that follow the codes.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The texts of all lines."""
        return "\n".join(self.lines)

    @property
    def is_temporary(self) -> bool:
        """Whether the same command may succeed later (4yz)."""
        return self.code // 100 == 4  # noqa: PLR2004  RFC 5321 section 4.2.1

    def __str__(self) -> str:
        codes = f"{self.code} {self.enhanced}".rstrip()
        return "\n".join(f"{codes} {line}".rstrip() for line in self.lines or ("",))


class HttpReply(Reply):
    """An API's answer: the HTTP status, and the error code and message in the body as lines."""

    __slots__ = ()

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later (RFC 9110 section 15, RFC 6585 section 4)."""
        return self.code in _TEMPORARY_STATUS or self.code >= 500  # noqa: PLR2004  RFC 9110 section 15.6


_TEMPORARY_STATUS = (408, 425, 429)


class Failure(NamedTuple):
    """What went wrong in a session with a server.

    `detail` is short and technical. `offered` lists the SASL mechanisms that the server offers.
    `is_unknown` is set if the whole message was sent and no reply came: it may have been accepted. `retry_after` is the
    pause in seconds that an API asks for, 0 where it asks for none.
    """

    stage: Stage
    kind: Kind
    server: Server
    reply: Reply | None = None
    detail: str = ""
    offered: tuple[str, ...] = ()
    is_unknown: bool = False
    retry_after: float = 0.0


class StageResult(NamedTuple):
    """The result of one stage. `ms` is its duration in milliseconds."""

    stage: Stage
    status: StageStatus
    ms: float
    detail: str = ""
    reply: Reply | None = None


class CertificateFacts(NamedTuple):
    """The content of a certificate that was not trusted.

    `names` are its DNS names or its common name, `fingerprint` its SHA-256; both times are in UTC.
    """

    names: tuple[str, ...]
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    is_self_signed: bool
    fingerprint: str = ""


class Evidence(NamedTuple):
    """What probing after a failure found (`setup.second_look`).

    `alternative` is another server of the same provider that offers a login. `web_is_reachable` says whether any web
    server answers (None: not tried). `greeting` is that of the failing server. `is_impostor` says that its certificate
    belongs to somebody other than the account's provider. `clock_ahead_seconds` is how far this machine's clock is
    ahead of the server's (None: not known). `owners_server` is another server than the account's, which the owner of
    the domain names today at `owners_origin`, a DNS name or URL; `is_owner_certain` says that nobody else can have
    written it.
    """

    alternative: Server | None = None
    web_is_reachable: bool | None = None
    certificate: CertificateFacts | None = None
    greeting: str = ""
    is_impostor: bool = False
    clock_ahead_seconds: float | None = None
    owners_server: Server | None = None
    owners_origin: str = ""
    is_owner_certain: bool = False


class Refused(NamedTuple):
    """A recipient that the server refused."""

    address: str
    failure: Failure


class WireError(Exception):
    """The other side broke the protocol, refused to go on, or closed the connection; `kind` says which."""

    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class TransportError(Exception):
    """A Failure in a transport, and the recipients that were refused before it."""

    def __init__(self, failure: Failure, refused: tuple[Refused, ...] = ()) -> None:
        super().__init__(f"{failure.stage}: {failure.kind}")
        self.failure = failure
        self.refused = refused

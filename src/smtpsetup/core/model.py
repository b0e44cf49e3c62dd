"""Enums and immutable values that every package uses. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Security(StrEnum):
    """How a connection to a server is protected (RFC 8314)."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class Auth(StrEnum):
    """The credential that a provider wants from a sender."""

    PASSWORD = "password"  # noqa: S105  a name, not a secret
    APP_PASSWORD = "app-password"  # noqa: S105  as above
    OAUTH2 = "oauth2"
    API_KEY = "api-key"
    TOKEN = "token"  # noqa: S105  as above
    NONE = "none"


class Queue(StrEnum):
    """When mail is put into the outbox instead of being sent at once."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Log(StrEnum):
    """Where one line is logged for each mail."""

    FILE = "file"
    SYSLOG = "syslog"
    NONE = "none"


class AllowedFrom(StrEnum):
    """Which sender addresses an account may use: its own, those of its domain, or any."""

    ADDRESS = "address"
    DOMAIN = "domain"
    ANY = "any"


class TransportKind(StrEnum):
    """How an account's mail goes to its provider: over SMTP, or over HTTPS to Microsoft Graph or the Gmail API."""

    SMTP = "smtp"
    GRAPH = "graph"
    GMAIL = "gmail"


class ProviderStatus(StrEnum):
    """Whether a provider's SMTP can be used as it is."""

    OK = "ok"
    PREPARE = "prepare"  # the customer must switch something on first
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """The stages of sending a mail, in order."""

    CONFIG = "config"
    SECRET = "secret"  # noqa: S105  as above
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    QUIT = "quit"


class StageStatus(StrEnum):
    """How a stage ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Server(NamedTuple):
    """A submission server. `host` is a domain name (A-labels) or an IP address."""

    host: str
    port: int
    security: Security

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Secret:
    """A password, key or token that prints as `***`; only `reveal()` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for the server and the secret store, never for output."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __reduce__(self) -> str:
        message = "a secret is not pickled"
        raise TypeError(message)


def plain_text(text: str) -> str:
    """`text` safe to show: control, format and bidirectional characters as visible escapes.

    A newline or a tab is kept as a space.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else _visible(char) for char in text)


def _visible(char: str) -> str:
    if char in "\n\t":
        return " "
    return char.encode("unicode_escape").decode("ascii")

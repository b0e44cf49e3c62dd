"""An account as it is saved, with everything that sending needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.model import AllowedFrom, Queue, TransportKind

if TYPE_CHECKING:
    from smtpsetup.config.secret_source import SecretSource
    from smtpsetup.core.model import Auth, Server
    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.net.proxy import Proxy


class Account(NamedTuple):
    """Everything that is needed to send, except the secret itself. `provider` is an id of the provider table, or `""`.

    `tls_fingerprint` is a SHA-256 in 64 hexadecimal digits. `verified` says that a login with these settings has
    worked. With `hold_unknown`, mail that may have been delivered is not resent automatically. With `report_failures`,
    a report on mail that cannot be delivered is sent to the account's address. `oauth2` is set if the account signs in
    with OAuth2, unless its secret is a command that prints access tokens. With `oauth2`, `config_file` is the file that
    the account was read from, `""` if it is not saved yet. `endpoint` is the base address of the API where `transport`
    is one, and `server` is its host then. `proxy` is None where the environment decides. `fallback` names the accounts
    that the outbox sends its mail with when this one cannot send for good.
    """

    name: str
    address: str
    from_name: str
    provider: str
    server: Server
    auth: Auth
    username: str
    secret: SecretSource
    ca_file: str | None = None
    tls_fingerprint: str | None = None
    verified: bool = False
    queue: Queue = Queue.ON_FAILURE
    hold_unknown: bool = False
    report_failures: bool = False
    allowed_from: AllowedFrom = AllowedFrom.ADDRESS
    oauth2: TokenClient | None = None
    config_file: str = ""
    transport: TransportKind = TransportKind.SMTP
    endpoint: str = ""
    proxy: Proxy | None = None
    fallback: tuple[str, ...] = ()

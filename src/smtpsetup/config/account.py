"""An account as it is saved: nothing in it is optional that sending needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.model import AllowedFrom, Queue

if TYPE_CHECKING:
    from smtpsetup.config.secret_source import SecretSource
    from smtpsetup.core.model import Auth, Server
    from smtpsetup.core.oauth_types import TokenClient


class Account(NamedTuple):
    """Everything that is needed to send, but for the secret itself. `provider` is its id, `""` where none is known.

    `tls_fingerprint` is a SHA-256 in 64 hexadecimal digits; `verified` says that a login with these settings has
    worked. `hold_unknown` keeps a mail that may have arrived from being sent again by itself; `report_failures` sends a
    report on mail that will not arrive to the account's address. `oauth2` is set for accounts that sign in with OAuth2,
    unless their secret is a command that prints access tokens; `config_file` is where such an account was read, `""`
    where it is not saved yet.
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

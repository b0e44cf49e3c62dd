"""The data of OAuth2: a provider's endpoints, an account's client, and tokens."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from smtpsetup.core.model import TransportKind


class Grant(StrEnum):
    """How an account gets its access tokens (RFC 6749 sections 6 and 4.4, RFC 7523)."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105  a name, not a secret
    CLIENT_CREDENTIALS = "client_credentials"
    JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Endpoints(NamedTuple):
    """A provider's OAuth2 endpoints, with the names of RFC 8414 and RFC 8628; `""` for what it does not have.

    `client` names whose client id is used; several providers may share one. `parameters` are added to the authorization
    request, and `redirect_host` is the loopback host in its redirect URI. `{tenant}` in an endpoint is replaced by the
    organisation, by default `tenant`. `issuer` is set if the endpoints were found from it. A refresh token expires when
    it is not used for `unused_days`; one of a client in testing expires after `testing_days` at the latest. A
    client is registered at `register_url`; `is_closed` says that the provider registers those of partners only. A
    program that signs in by itself asks for `app_scope`, `""` where it cannot.
    """

    client: str
    token_endpoint: str
    authorization_endpoint: str = ""
    device_authorization_endpoint: str = ""
    registration_endpoint: str = ""
    scopes: tuple[str, ...] = ()
    tenant: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    redirect_host: str = "127.0.0.1"
    unused_days: int = 0
    testing_days: int = 0
    register_url: str = ""
    is_closed: bool = False
    issuer: str = ""
    app_scope: str = ""

    def of_tenant(self, tenant: str) -> Endpoints:
        """The endpoints of one organisation; `""` for the default one."""
        chosen = tenant or self.tenant
        return self._replace(
            token_endpoint=self.token_endpoint.replace("{tenant}", chosen),
            authorization_endpoint=self.authorization_endpoint.replace("{tenant}", chosen),
            device_authorization_endpoint=self.device_authorization_endpoint.replace("{tenant}", chosen),
            tenant=chosen,
        )


class Api(NamedTuple):
    """A provider's API that mail can be sent with, and what a sign-in for it asks for.

    `scopes` are those of a person, `large_scope` is one more for large mail, and `shared_scope` one more for another
    mailbox than the person's own; a program that signs in by itself asks for `app_scope`, `""` where it cannot.
    `smtp_may_be_off` says that the customers of the provider often cannot log in over SMTP.
    """

    transport: TransportKind
    scopes: tuple[str, ...]
    app_scope: str = ""
    large_scope: str = ""
    shared_scope: str = ""
    smtp_may_be_off: bool = False


class TokenClient(NamedTuple):
    """What an account needs to get new access tokens, besides its refresh token.

    `client_secret` is `""` for a public client and never printed. `tenant` and `issuer` are the options of the last
    sign-in, or `""`. With another `grant` than the usual one, the program signs in by itself, and the account's secret
    is its client secret or its key, which is good until `secret_expires` (ISO 8601), `""` where that is not known.
    """

    client_id: str
    token_endpoint: str
    scopes: tuple[str, ...] = ()
    client_secret: str = ""
    unused_days: int = 0
    tenant: str = ""
    issuer: str = ""
    grant: Grant = Grant.REFRESH_TOKEN
    secret_expires: str = ""

    @property
    def is_app_only(self) -> bool:
        """Whether the program signs in by itself, without a person."""
        return self.grant is not Grant.REFRESH_TOKEN

    def __repr__(self) -> str:
        return f"TokenClient({self.client_id!r}, {self.token_endpoint!r}, ***)"


class Tokens(NamedTuple):
    """A response of the token endpoint (RFC 6749 section 5.1).

    `expires_at` is in seconds since 1970; `refresh_token` is `""` if there is none.
    """

    access_token: str
    expires_at: float
    refresh_token: str = ""

    def __repr__(self) -> str:
        return "Tokens(***)"

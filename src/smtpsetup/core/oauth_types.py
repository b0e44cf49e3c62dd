"""The words of signing in with OAuth2.

What a provider has, what a registered program is, what an account keeps of both.
"""

from __future__ import annotations

from typing import NamedTuple


class Endpoints(NamedTuple):
    """A provider's side of OAuth2, under the names of RFC 8414 and RFC 8628; `""` for what it does not have.

    `parameters` go along with the authorization request, beside the standard's own. `redirect_host` is how the loopback
    address is written in it. `client` names whose client id it takes: several providers may share one. `{tenant}` in an
    endpoint stands for the organisation, `tenant` unless another is named; `issuer` is set where the endpoints were
    found by it. A refresh token that is not used for `unused_days` is dead; one of a program that is still being
    tested, after `testing_days` in any case. `register_url` is where a client id is had; `is_closed` says that nobody
    gets one.
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

    def of_tenant(self, tenant: str) -> Endpoints:
        """The endpoints of one organisation."""
        chosen = tenant or self.tenant
        return self._replace(
            token_endpoint=self.token_endpoint.replace("{tenant}", chosen),
            authorization_endpoint=self.authorization_endpoint.replace("{tenant}", chosen),
            device_authorization_endpoint=self.device_authorization_endpoint.replace("{tenant}", chosen),
            tenant=chosen,
        )


class TokenClient(NamedTuple):
    """What an account needs for new access tokens, beside its refresh token.

    `client_secret` is `""` for a public client, and printed never.

    `tenant` and `issuer` are what was named to sign in, `""` for neither: so the next time needs no option.
    """

    client_id: str
    token_endpoint: str
    scopes: tuple[str, ...] = ()
    client_secret: str = ""
    unused_days: int = 0
    tenant: str = ""
    issuer: str = ""

    def __repr__(self) -> str:
        return f"TokenClient({self.client_id!r}, {self.token_endpoint!r}, ***)"


class Tokens(NamedTuple):
    """An answer of the token endpoint (RFC 6749 section 5.1).

    `expires_at` is in seconds since 1970; `refresh_token` is `""` where none came.
    """

    access_token: str
    expires_at: float
    refresh_token: str = ""
    scope: str = ""

    def __repr__(self) -> str:
        return "Tokens(***)"

"""An issuer's endpoints (RFC 8414), and dynamic registration (RFC 7591, draft-ietf-mailmaint-oauth-public)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.core.oauth_types import Endpoints
from smtpsetup.oauth.device import DEVICE_GRANT
from smtpsetup.oauth.request import OAuthError, get, parsed, post_json

if TYPE_CHECKING:
    from smtpsetup.net.https import Web

_PATH = "/.well-known/oauth-authorization-server"
_KEYS = ("token_endpoint", "authorization_endpoint", "device_authorization_endpoint", "registration_endpoint")


def endpoints_of(web: Web, issuer: str, scopes: tuple[str, ...]) -> Endpoints:
    """The endpoints that an issuer publishes. Raises OAuthError."""
    parts = parsed(issuer)
    path = parts.path.rstrip("/")
    document = get(web, parts._replace(path=f"{_PATH}{path}", query="", fragment="").geturl())
    if document.get("issuer") != issuer:  # RFC 8414 section 3.3
        raise OAuthError("", _("{url} publishes the settings of another issuer").format(url=plain_text(issuer)))
    found = {key: _endpoint(document, key) for key in _KEYS}
    if not found["token_endpoint"]:
        raise OAuthError("", _("{url} names no token endpoint").format(url=plain_text(issuer)))
    return Endpoints(
        client=str(parts.hostname),
        token_endpoint=found["token_endpoint"],
        authorization_endpoint=found["authorization_endpoint"],
        device_authorization_endpoint=found["device_authorization_endpoint"],
        registration_endpoint=found["registration_endpoint"],
        scopes=scopes,
        issuer=issuer,
    )


def _endpoint(document: dict[str, Any], key: str) -> str:
    value = document.get(key, "")
    return value if isinstance(value, str) and value.startswith("https://") and value.isprintable() else ""


def register(web: Web, endpoints: Endpoints) -> str:
    """Register this installation. Returns its client id. Raises OAuthError."""
    document = {
        "client_name": "smtpsetup",
        "application_type": "native",
        "token_endpoint_auth_method": "none",
        "grant_types": [
            "authorization_code",
            "refresh_token",
            *((DEVICE_GRANT,) if endpoints.device_authorization_endpoint else ()),
        ],
        "response_types": ["code"],
        "redirect_uris": [f"http://{endpoints.redirect_host}/"],
        "scope": " ".join(endpoints.scopes),
    }
    client_id = post_json(web, endpoints.registration_endpoint, document).get("client_id")
    if not isinstance(client_id, str) or not client_id.isprintable() or not client_id:
        raise OAuthError("", _("the answer holds no client id"))
    return client_id

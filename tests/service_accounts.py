"""A fake of Google's token endpoint for service accounts: the JWT grant (RFC 7523) with domain-wide delegation.

The rules are those of developers.google.com/identity/protocols/oauth2/service-account, under "HTTP/REST" and "JWT error
codes".
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.api_http import Answer, Incoming, as_json
from tests.api_servers import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_EMAIL = "mailer@project.iam.gserviceaccount.test"
CLIENT_ID = "100000000000000000001"
KEY_ID = "0123456789abcdef0123456789abcdef01234567"
JSON = {"Content-Type": "application/json; charset=utf-8"}
SHORT_LIVED = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp "
    "values in the JWT claim."
)
NOT_DELEGATED = (
    "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the "
    "scopes requested."
)


@dataclass(frozen=True)
class Assertion:
    """A JWT that the endpoint read, and the error that it was answered with, if any."""

    header: dict[str, Any]
    claims: dict[str, Any]
    error: str = ""


class ServiceAccountServer(ApiServer):
    """The fake; a context manager. `key_file` is the account's JSON key.

    `delegations` has the scopes that the domain's administrator allowed, for each client id; `users` the addresses that
    exist, or None for all. `on_token` is called with each new token, its user and its scopes. A token lives for
    `token_seconds`; clocks may differ by `leeway` seconds.
    """

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        super().__init__()
        self.token_uri = f"{self.origin}/token"
        self.client_email, self.client_id = CLIENT_EMAIL, CLIENT_ID
        self.key_file = self.write_key(self.directory / "key.json")

    def reset(self) -> None:
        """Forget every delegation, rule and record."""
        super().reset()
        self.delegations: dict[str, set[str]] = {}
        self.users: set[str] | None = None
        self.on_token: Callable[[str, str, str], None] | None = None
        self.assertions: list[Assertion] = []
        self.token_seconds = 3600
        self.leeway = 300

    def delegate(self, *scopes: str, client_id: str = CLIENT_ID) -> None:
        """Allow scopes, as an administrator does in the Admin console."""
        self.delegations.setdefault(client_id, set()).update(scopes)

    def write_key(self, file: Path, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> Path:
        """Write a key file; with another key, or with fields changed, or left out where they are None."""
        private = (key or self.key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        values = {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": KEY_ID,
            "private_key": private.decode(),
            "client_email": self.client_email,
            "client_id": self.client_id,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": self.token_uri,
            "universe_domain": "googleapis.com",
            **changes,
        }
        file.write_text(json.dumps({name: value for name, value in values.items() if value is not None}, indent=2))
        file.chmod(0o600)
        return file

    def error_answer(self, code: str, message: str, status: int) -> Answer:
        return Answer(status, as_json({"error": code, "error_description": message}), JSON)

    # requests

    def respond(self, request: Incoming) -> Answer:
        if request.path != "/token" or request.method != "POST":
            return Answer(404)
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form.get("grant_type") != JWT_GRANT:
            raise self.refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}", 400)
        try:
            header, claims, signed, signature = _parsed(form.get("assertion", ""))
        except ValueError:
            raise self.refused("invalid_grant", "Bad Request", 400) from None
        problem = self._problem(header, claims, signed, signature)
        self.assertions.append(Assertion(header, claims, problem[0] if problem else ""))
        if problem:
            raise self.refused(*problem)
        token = f"ya29.{secrets.token_urlsafe(40)}"
        if self.on_token:
            self.on_token(token, claims.get("sub", claims["iss"]), claims["scope"])
        answer = {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"}
        return Answer(200, as_json(answer), JSON)

    def _problem(
        self, header: dict[str, Any], claims: dict[str, Any], signed: bytes, signature: bytes
    ) -> tuple[str, str, int] | None:
        """What is wrong with an assertion: error, description and status."""
        if claims.get("iss") != self.client_email:
            return "invalid_grant", "Invalid grant: account not found", 400
        if header.get("alg") != "RS256" or not self._is_signed(signed, signature):
            return "invalid_grant", "Invalid JWT Signature.", 400
        return (
            self._times(claims)
            or self._audience(claims)
            or self._delegation(str(claims.get("scope") or ""), str(claims.get("sub") or ""))
        )

    def _is_signed(self, signed: bytes, signature: bytes) -> bool:
        try:
            self.key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _times(self, claims: dict[str, Any]) -> tuple[str, str, int] | None:
        issued, expires, now = claims.get("iat"), claims.get("exp"), time.time()
        if not isinstance(issued, int) or not isinstance(expires, int):
            return "invalid_grant", SHORT_LIVED, 400
        is_near = issued <= now + self.leeway and now - self.leeway < expires <= now + 3600 + self.leeway
        return None if is_near and 0 < expires - issued <= 3600 else ("invalid_grant", SHORT_LIVED, 400)

    def _audience(self, claims: dict[str, Any]) -> tuple[str, str, int] | None:
        if claims.get("aud") == self.token_uri:
            return None
        return "invalid_grant", "Invalid JWT: Failed audience check.", 400

    def _delegation(self, scope: str, user: str) -> tuple[str, str, int] | None:
        if not scope:
            return "invalid_scope", "Invalid OAuth scope or ID token audience provided.", 400
        if user and not set(scope.split()) <= self.delegations.get(self.client_id, set()):
            return "unauthorized_client", NOT_DELEGATED, 401
        if user and self.users is not None and user not in self.users:
            return "invalid_grant", "Invalid email or User ID", 400
        return None


def _parsed(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, what is signed, and the signature; raises ValueError."""
    first, second, third = assertion.split(".")
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (first, second, third)]
    header, claims = json.loads(parts[0]), json.loads(parts[1])
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise ValueError(assertion)  # noqa: TRY004  every malformed assertion is the same to the endpoint
    return header, claims, f"{first}.{second}".encode(), parts[2]


@pytest.fixture
def service_accounts() -> Iterator[ServiceAccountServer]:
    """A fake token endpoint for service accounts, without delegations."""
    with ServiceAccountServer() as server:
        yield server

"""Apps and service accounts sign in at the fake token endpoints as at the real ones."""

from __future__ import annotations

import base64
import json
import smtplib
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.oauth_servers import APP_ID, APP_SECRET, CERTIFICATE_APP_ID, SMTP_SCOPE, USER, OAuthServer
from tests.service_accounts import JWT_GRANT, NOT_DELEGATED, SHORT_LIVED, ServiceAccountServer

if TYPE_CHECKING:
    from tests.api_client import Client, Connect


def post_token(client: Client, **form: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a token request."""
    kind = "application/x-www-form-urlencoded"
    status, answer, _headers = client.ask("POST", "", urllib.parse.urlencode(form).encode(), Content_Type=kind)
    return status, answer


def signed(key: rsa.RSAPrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = key.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def number(value: int) -> str:
    """A number as a JWK has it (RFC 7518 section 6.3.1)."""
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def login_for_any_mailbox(server: OAuthServer, token: str) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    for user in (USER, "sales@example.test"):
        with smtplib.SMTP_SSL("localhost", server.tls_port, context=context) as smtp:
            smtp.ehlo()
            response = f"user={user}\1auth=Bearer {token}\1\1"
            assert smtp.auth("XOAUTH2", lambda _challenge=None, given=response: given)[0] == 235


def test_a_service_account_gets_a_token_for_what_is_delegated(
    service_accounts: ServiceAccountServer, connect: Connect
) -> None:
    now = int(time.time())
    endpoint = connect(service_accounts, service_accounts.token_uri, "")
    key = json.loads(service_accounts.key_file.read_text())
    claims = {"iss": key["client_email"], "sub": USER, "scope": "s", "aud": key["token_uri"]}
    claims = {**claims, "iat": now, "exp": now + 3600}
    given: list[tuple[str, str]] = []
    service_accounts.on_token = lambda _token, user, scope: given.append((user, scope))

    def ask(key: rsa.RSAPrivateKey = service_accounts.key, **changes: Any) -> tuple[int, str]:
        assertion = signed(key, {"alg": "RS256", "typ": "JWT"}, {**claims, **changes})
        form = {"grant_type": JWT_GRANT, "assertion": assertion}
        status, answer = post_token(endpoint, **form)
        return status, answer.get("error_description", answer.get("access_token", ""))

    assert ask() == (401, NOT_DELEGATED)
    service_accounts.delegate("s")
    status, token = ask()
    assert (status, token[:5], given) == (200, "ya29.", [(USER, "s")])
    assert ask(exp=now + 3601) == (400, SHORT_LIVED)
    assert ask(iat=now + 400, exp=now + 900) == (400, SHORT_LIVED)
    assert ask(aud="https://oauth2.googleapis.com/token") == (400, "Invalid JWT: Failed audience check.")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask(other) == (400, "Invalid JWT Signature.")
    service_accounts.users = set()
    assert ask() == (400, "Invalid email or User ID")
    assert [assertion.error for assertion in service_accounts.assertions].count("") == 1


def test_an_app_signs_in_with_its_secret_or_its_key(oauth_server: OAuthServer, connect: Connect) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.public_key().public_numbers()
    now = int(time.time())
    endpoint = connect(oauth_server, oauth_server.token_endpoint, "")
    form = {"grant_type": "client_credentials", "scope": "https://mail.test/.default"}
    status, answer = post_token(endpoint, client_id=APP_ID, client_secret=APP_SECRET, **form)
    assert (status, answer["scope"], "refresh_token" in answer) == (200, "https://mail.test/.default", False)
    assert oauth_server.introspect(answer["access_token"]) == {
        "active": True,
        "scope": form["scope"],
        "client_id": APP_ID,
    }
    login_for_any_mailbox(oauth_server, answer["access_token"])
    status, answer = post_token(endpoint, client_id=APP_ID, client_secret="wrong", **form)
    assert (status, answer["error"]) == (401, "invalid_client")

    oauth_server.register_key(
        {"kty": "RSA", "use": "sig", "n": number(numbers.n), "e": number(numbers.e), "x5t#S256": "t"}
    )
    claims = {
        "iss": CERTIFICATE_APP_ID,
        "sub": CERTIFICATE_APP_ID,
        "aud": oauth_server.token_endpoint,
        "exp": now + 300,
        "iat": now,
    }
    form = {**form, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    answers = []
    for thumbprint in ("t", "other"):
        assertion = signed(key, {"alg": "RS256", "x5t#S256": thumbprint}, {**claims, "jti": thumbprint})
        answers.append(post_token(endpoint, client_id=CERTIFICATE_APP_ID, client_assertion=assertion, **form))
    assert [status for status, _answer in answers] == [200, 401], answers
    assert SMTP_SCOPE not in answers[0][1]["scope"]

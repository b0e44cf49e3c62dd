"""Answers of a token endpoint and redirects of a browser are validated."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.model import Auth, Security, Server
from smtpsetup.core.oauth_types import Endpoints, TokenClient
from smtpsetup.oauth import browser
from smtpsetup.oauth import token_cache as tokens
from smtpsetup.oauth.request import OAuthError, tokens_in
from smtpsetup.oauth.token_endpoint import explained

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = Account(
    name="namn@live.se",
    address="namn@live.se",
    from_name="",
    provider="outlook",
    server=Server("smtp-mail.outlook.com", 587, Security.STARTTLS),
    auth=Auth.OAUTH2,
    username="namn@live.se",
    secret=SecretSource(Store.KEYRING),
)

SCOPES = ("https://mail.test/smtp", "offline_access")
ENDPOINTS = Endpoints("test", "https://id.test/token", "https://id.test/authorize?x=1", scopes=SCOPES)
CLIENT = TokenClient("id", "https://id.test/token", SCOPES)


def answer(**changes: Any) -> dict[str, Any]:
    return {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600, **changes}


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [(3600, 3600), ("1800", 1800), (None, 3600), (0, 3600), (-5, 3600), (True, 3600), ("x", 3600), (10**12, 864_000)],
)
def test_an_invalid_token_lifetime_counts_as_an_hour(expires: object, seconds: float) -> None:
    assert tokens_in(answer(expires_in=expires), 1000.0, SCOPES).expires_at == 1000.0 + seconds


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "a b"},
        {"access_token": "a\r\nb"},
        {"token_type": "mac"},
        {"token_type": None},
        {"scope": "openid"},
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(OAuthError):
        tokens_in(answer(**changes), 0.0, SCOPES)


def test_tokens_and_clients_print_without_their_secrets() -> None:
    tokens = tokens_in(answer(refresh_token="geheim"), 0.0, SCOPES)
    client = TokenClient("id", "https://id.test/token", SCOPES, "geheim")
    attempt = browser.begin(ENDPOINTS, CLIENT, "a@example.com", 1)
    for text in (repr(tokens), str(client), repr(attempt)):
        assert "geheim" not in text
        assert "abc" not in text
        assert attempt.verifier not in text


def test_the_authorization_url_has_state_and_challenge_and_never_the_verifier() -> None:
    attempt = browser.begin(ENDPOINTS, CLIENT, "a@example.com", 4711)
    assert attempt.url.startswith("https://id.test/authorize?x=1&response_type=code")
    assert "code_challenge_method=S256" in attempt.url
    assert attempt.state in attempt.url
    assert attempt.verifier not in attempt.url
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2F" in attempt.url


def test_a_pasted_address_of_another_sign_in_is_refused() -> None:
    attempt = browser.begin(ENDPOINTS, CLIENT, "a@example.com", 1)
    assert browser.code_in(attempt, f"http://127.0.0.1:1/?code=c&state={attempt.state}") == "c"
    for url in (
        "http://127.0.0.1:1/?code=c",
        "http://127.0.0.1:1/?code=c&state=other",
        f"http://127.0.0.1:1/?state={attempt.state}",
        "nonsense",
    ):
        with pytest.raises(OAuthError):
            browser.code_in(attempt, url)
    with pytest.raises(OAuthError) as caught:
        browser.code_in(
            attempt, f"http://127.0.0.1:1/?error=access_denied&error_description=%1b[31mno&state={attempt.state}"
        )
    assert caught.value.error == "access_denied"
    assert "\x1b" not in caught.value.description


def asked(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def test_the_listener_answers_only_the_redirect_of_this_sign_in_on_this_machine() -> None:
    with browser.listener() as server:
        host, port = server.getsockname()
        assert host == "127.0.0.1"
        attempt = browser.begin(ENDPOINTS, CLIENT, "a@example.com", port)
        found: list[str] = []
        waiting = threading.Thread(target=lambda: found.append(browser.wait(attempt, server, None)))
        waiting.start()
        own = f"127.0.0.1:{port}".encode()
        for request in (
            b"GET /favicon.ico HTTP/1.1\r\nHost: " + own + b"\r\n\r\n",
            b"POST /?code=c&state=x HTTP/1.1\r\nHost: " + own + b"\r\n\r\n",
            b"GET /?code=c&state=" + attempt.state.encode() + b" HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        ):
            assert b" 404 " in asked(port, request).partition(b"\r\n")[0]
        page = asked(
            port, b"GET /?code=right&state=" + attempt.state.encode() + b" HTTP/1.1\r\nHost: " + own + b"\r\n\r\n"
        )
        waiting.join(5)
    assert b" 200 " in page.partition(b"\r\n")[0]
    assert found == ["right"]


@pytest.mark.parametrize(
    ("error", "description", "code", "exit_code"),
    [
        ("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity.", "auth.token-expired", 77),
        (
            "invalid_grant",
            "AADSTS50173: The provided grant has expired due to it being revoked",
            "auth.token-revoked",
            77,
        ),
        ("invalid_grant", "AADSTS65001: The user or administrator has not consented", "auth.consent-required", 77),
        (
            "access_denied",
            "AADSTS53003: Access has been blocked by Conditional Access policies.",
            "auth.sign-in-blocked",
            77,
        ),
        (
            "invalid_client",
            "AADSTS7000218: The request body must contain client_assertion or client_secret",
            "auth.client-not-public",
            77,
        ),
        ("invalid_grant", "AADSTS9002313: Invalid request. 50011", "auth.token-revoked", 77),
        ("access_denied", "AADSTS90094: The grant requires admin permission.", "auth.admin-approval-required", 77),
        (
            "unauthorized_client",
            "AADSTS700016: Application with identifier 'x' was not found in the directory",
            "auth.client-unknown",
            77,
        ),
        ("invalid_grant", "Token has been expired or revoked.", "auth.token-revoked", 77),
        ("access_denied", "", "auth.sign-in-declined", 77),
        ("expired_token", "", "auth.sign-in-timeout", 77),
        ("invalid_scope", "Some requested scopes were invalid", "auth.scope-refused", 77),
        ("redirect_uri_mismatch", "", "auth.redirect-not-registered", 77),
        ("invalid_client", "The OAuth client was not found.", "auth.client-unknown", 77),
        ("something_new", "words", "auth.token-revoked", 77),
        ("", "no answer in time", "auth.temporary", 75),
    ],
)
def test_a_refusal_is_explained_with_the_providers_words(
    error: str, description: str, code: str, exit_code: int
) -> None:
    shown = explained(OAuthError(error, description), ACCOUNT)
    assert (shown.code, shown.exit_code) == (code, exit_code)
    assert shown.hints
    assert description in f"{shown.message} {shown.causes}"


def test_a_policy_against_device_codes_is_answered_with_the_browser_sign_in() -> None:
    refusal = OAuthError("access_denied", "AADSTS53003: Access has been blocked by Conditional Access policies.")
    shown = explained(refusal, ACCOUNT, is_saved=False, by_device_code=True)
    assert shown.code == "auth.device-code-blocked"
    assert any(
        "`smtpsetup configure namn@live.se --auth oauth2 --provider outlook --browser`" in hint for hint in shown.hints
    )


def test_a_certificate_outside_its_validity_hints_at_the_local_clock() -> None:
    shown = explained(OAuthError("", "its certificate is not valid yet", is_temporary=True, may_be_clock=True), ACCOUNT)
    assert (shown.code, shown.exit_code) == ("auth.temporary", 75)
    assert "clock" in shown.hints[0]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "kept": {}}', "null", "[" * 100_000]
)
def test_a_token_file_that_cannot_be_parsed_counts_as_missing(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "a@example.com.json").write_text(content)
    assert tokens.load(str(tmp_path), "a@example.com") is None


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": "soon"},
        {"access_token": 7},
        {"signed_in_at": None},
        {"refreshed_at": []},
        {"expires_at": 10**400},
        {"ask_again_at": -(10**400)},
        {"signed_in_at": True},
        {"access_token": "\ud800abc"},
        {"refresh_token": "a\nb"},
    ],
)
def test_an_edited_token_file_counts_as_missing(tmp_path: Path, change: dict[str, Any]) -> None:
    kept = tokens.CachedTokens("token", 1e9, "client", 0.0)
    tokens.save(str(tmp_path), "a@example.com", kept)
    path = tmp_path / "tokens" / "a@example.com.json"
    assert tokens.load(str(tmp_path), "a@example.com") == kept
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "kept": document["kept"] | change}))
    assert tokens.load(str(tmp_path), "a@example.com") is None

"""The OAuth servers of the tests behave as real ones do, checked with Python's own HTTP and SMTP."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import smtplib
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from tests.oauth_servers import DEVICE_GRANT, SMTP_SCOPE, USER, OAuthServer
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browsers import Chromium

MAIL = b"From: info@example.test\r\nTo: bo@example.test\r\nSubject: Hej\r\n\r\nHej\r\n"


def post(server: OAuthServer, url: str, **form: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    split = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(
        split.netloc, context=ssl.create_default_context(cafile=server.ca_file), timeout=20
    )
    try:
        body = urllib.parse.urlencode({"client_id": server.client_id, **form})
        connection.request("POST", split.path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def token(server: OAuthServer, **form: str) -> tuple[int, dict[str, Any]]:
    status, _headers, body = post(server, server.token_endpoint, **form)
    return status, json.loads(body)


def device(server: OAuthServer) -> dict[str, Any]:
    status, _headers, body = post(server, server.device_authorization_endpoint, scope=server.scope)
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


def tokens(server: OAuthServer, user: str = USER) -> dict[str, Any]:
    """The token answer to a device whose user consents."""
    asked = device(server)
    server.approve_device(asked["user_code"], user)
    status, answer = token(server, grant_type=DEVICE_GRANT, device_code=asked["device_code"])
    assert status == 200, answer
    return answer


def refresh(server: OAuthServer, refresh_token: str) -> tuple[int, dict[str, Any]]:
    return token(server, grant_type="refresh_token", refresh_token=refresh_token)


def authorization(server: OAuthServer, redirect: str, **more: str) -> tuple[str, str]:
    """A URL to sign in at, and its verifier (RFC 7636)."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
    query = {
        "client_id": server.client_id,
        "response_type": "code",
        "redirect_uri": redirect,
        "scope": server.scope,
        "state": "s",
        **pkce,
        **more,
    }
    return f"{server.authorization_endpoint}?{urllib.parse.urlencode(query)}", verifier


def parameters(url: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def submit(
    server: OAuthServer, mechanism: str, access_token: str, user: str = USER, *, starttls: bool = False
) -> list[bytes]:
    """Send a mail. Returns the server's challenges."""
    challenges = []
    bearer = f"auth=Bearer {access_token}\1\1"
    first, dummy = (
        (f"user={user}\1{bearer}", "")
        if mechanism == "XOAUTH2"
        else (f"n,a={user},\1host=localhost\1port=465\1{bearer}", "\1")
    )

    def respond(challenge: bytes | None = None) -> str:
        if challenge is None:
            return first
        challenges.append(challenge)
        return dummy

    context = ssl.create_default_context(cafile=server.ca_file)
    with (
        smtplib.SMTP("localhost", server.starttls_port)
        if starttls
        else smtplib.SMTP_SSL("localhost", server.tls_port, context=context) as smtp
    ):
        if starttls:
            smtp.starttls(context=context)
        smtp.ehlo()
        try:
            smtp.auth(mechanism, respond)
        except smtplib.SMTPAuthenticationError as error:
            reply: tuple[int, object] = (error.smtp_code, error.smtp_error)
        else:
            reply = (0, smtp.sendmail(USER, ["bo@example.test"], MAIL))
    assert reply == ((535, b"5.7.8 Token not accepted") if challenges else (0, {}))
    return challenges


def test_a_device_waits_until_its_user_agrees(oauth_server: OAuthServer) -> None:
    asked = device(oauth_server)
    assert asked["interval"] == 1
    assert asked["verification_uri"] == f"{oauth_server.issuer}/device"
    assert (
        token(oauth_server, grant_type=DEVICE_GRANT, device_code=asked["device_code"])[1]["error"]
        == "authorization_pending"
    )
    oauth_server.approve_device(asked["user_code"])
    status, answer = token(oauth_server, grant_type=DEVICE_GRANT, device_code=asked["device_code"])
    assert (status, answer["token_type"], answer["expires_in"], set(answer["scope"].split())) == (
        200,
        "Bearer",
        3600,
        set(oauth_server.scope.split()),
    )
    assert answer["refresh_token"]
    assert [request.error for request in oauth_server.requests()] == ["authorization_pending", ""]


def test_the_complete_verification_uri_connects_the_device(oauth_server: OAuthServer) -> None:
    asked = device(oauth_server)
    assert "Device connected" in oauth_server.browse(asked["verification_uri_complete"]).text
    assert token(oauth_server, grant_type=DEVICE_GRANT, device_code=asked["device_code"])[0] == 200


def test_a_device_is_answered_access_denied_expired_token_and_slow_down(oauth_server: OAuthServer) -> None:
    refused, late = device(oauth_server), device(oauth_server)
    oauth_server.deny_device(refused["user_code"])
    assert (
        token(oauth_server, grant_type=DEVICE_GRANT, device_code=refused["device_code"])[1]["error"] == "access_denied"
    )
    oauth_server.slow_down()
    assert token(oauth_server, grant_type=DEVICE_GRANT, device_code=late["device_code"])[1]["error"] == "slow_down"
    oauth_server.settings(enforce_interval=True)
    assert (
        token(oauth_server, grant_type=DEVICE_GRANT, device_code=late["device_code"])[1]["error"]
        == "authorization_pending"
    )
    assert token(oauth_server, grant_type=DEVICE_GRANT, device_code=late["device_code"])[1]["error"] == "slow_down"
    oauth_server.settings(enforce_interval=False)
    oauth_server.expire_device_codes()
    assert token(oauth_server, grant_type=DEVICE_GRANT, device_code=late["device_code"])[1]["error"] == "expired_token"


@pytest.mark.parametrize(
    "redirect", ["http://127.0.0.1:12345/", "http://localhost:23456/", "http://127.0.0.1:12345/callback"]
)
def test_a_code_is_exchanged_for_tokens_once_with_its_verifier(oauth_server: OAuthServer, redirect: str) -> None:
    url, verifier = authorization(oauth_server, redirect)
    back = oauth_server.sign_in(url, "asa@example.test")
    assert back.startswith(redirect)
    given = parameters(back)
    assert (given["state"], given["iss"]) == ("s", oauth_server.issuer)
    form = {"grant_type": "authorization_code", "code": given["code"], "redirect_uri": redirect}
    assert token(oauth_server, **form, code_verifier="x" * 43)[1]["error"] == "invalid_grant"
    status, answer = token(oauth_server, **form, code_verifier=verifier)
    assert (status, bool(answer["refresh_token"])) == (200, True)
    assert token(oauth_server, **form, code_verifier=verifier)[1]["error"] == "invalid_grant"
    assert oauth_server.count("authorization_code") == 3


def test_a_sign_in_needs_a_challenge_and_a_user_who_agrees(oauth_server: OAuthServer) -> None:
    url, _verifier = authorization(oauth_server, "http://127.0.0.1:12345/")
    assert parameters(oauth_server.sign_in(url, allow=False))["error"] == "access_denied"
    without = url.replace("code_challenge", "unknown")
    assert parameters(oauth_server.sign_in(without))["error"] == "invalid_request"


def test_a_refresh_token_is_used_once_and_its_reuse_revokes_the_grant(oauth_server: OAuthServer) -> None:
    first = tokens(oauth_server)
    status, second = refresh(oauth_server, first["refresh_token"])
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert refresh(oauth_server, first["refresh_token"])[1]["error"] == "invalid_grant"
    assert refresh(oauth_server, second["refresh_token"])[1]["error"] == "invalid_grant"
    assert submit(oauth_server, "XOAUTH2", second["access_token"])


@pytest.mark.parametrize("starttls", [False, True])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_submits_mail_until_it_expires(oauth_server: OAuthServer, mechanism: str, starttls: bool) -> None:  # noqa: FBT001 a parameter
    oauth_server.settings(access_token_bits=16_000)
    access_token = tokens(oauth_server)["access_token"]
    assert len(access_token) > 2000
    assert submit(oauth_server, mechanism, access_token, starttls=starttls) == []
    [mail] = oauth_server.mails()
    assert (mail.mechanism, mail.user, mail.sender, mail.recipients) == (mechanism, USER, USER, ["bo@example.test"])
    assert (mail.message, mail.kind) == (MAIL, "starttls" if starttls else "tls")
    assert mail.token_hash == hashlib.sha256(access_token.encode()).hexdigest()
    oauth_server.expire_access_tokens()
    [challenge] = submit(oauth_server, mechanism, access_token, starttls=starttls)
    assert json.loads(challenge)["status"] == ("401" if mechanism == "XOAUTH2" else "invalid_token")
    assert [login.problem for login in oauth_server.logins()] == ["", "invalid_token"]


def test_a_token_is_for_its_user_alone_and_needs_the_scope(oauth_server: OAuthServer) -> None:
    access_token = tokens(oauth_server, "asa@example.test")["access_token"]
    assert submit(oauth_server, "XOAUTH2", access_token)
    assert submit(oauth_server, "XOAUTH2", access_token, "asa@example.test") == []
    oauth_server.revoke("asa@example.test")
    assert submit(oauth_server, "OAUTHBEARER", access_token, "asa@example.test")
    oauth_server.settings(withheld_scopes=[SMTP_SCOPE])
    [challenge] = submit(oauth_server, "OAUTHBEARER", tokens(oauth_server)["access_token"])
    assert json.loads(challenge)["status"] == "insufficient_scope"


def test_the_submission_server_gives_the_configured_reply(oauth_server: OAuthServer) -> None:
    oauth_server.settings(login_reply="454 4.7.0 Try later", mechanisms=["XOAUTH2"])
    with smtplib.SMTP_SSL(
        "localhost", oauth_server.tls_port, context=ssl.create_default_context(cafile=oauth_server.ca_file)
    ) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split() == ["XOAUTH2"]
        message = base64.b64encode(b"user=a\1auth=Bearer b\1\1").decode()
        assert smtp.docmd("AUTH", f"XOAUTH2 {message}") == (454, b"4.7.0 Try later")


@pytest.mark.slow
def test_the_token_lifetime_can_be_set(oauth_server: OAuthServer) -> None:
    oauth_server.settings(access_token_seconds=1)
    answer = tokens(oauth_server)
    assert answer["expires_in"] == 1
    time.sleep(2)
    assert submit(oauth_server, "XOAUTH2", answer["access_token"])


def test_rules_change_the_next_token_answers(oauth_server: OAuthServer) -> None:
    oauth_server.settings(rotate=False)
    refresh_token = tokens(oauth_server)["refresh_token"]
    oauth_server.without_refresh_token()
    oauth_server.rule(set={"token_type": "mac"})
    oauth_server.rule(set={"scope": "offline_access"})
    for lifetime in (None, 0, -5, "3600"):
        oauth_server.expires_in(lifetime)
    answers = [refresh(oauth_server, refresh_token)[1] for _number in range(8)]
    assert "refresh_token" not in answers[0]
    assert (answers[1]["token_type"], answers[2]["scope"]) == ("mac", "offline_access")
    assert [answer.get("expires_in") for answer in answers[3:]] == [None, 0, -5, "3600", 3600]


def test_rules_make_the_token_endpoint_fail(oauth_server: OAuthServer) -> None:
    refresh_token = tokens(oauth_server)["refresh_token"]
    oauth_server.unavailable(retry_after="7")
    oauth_server.unavailable(status=429, retry_after="Wed, 21 Oct 2037 07:28:00 GMT")
    oauth_server.page()
    oauth_server.redirect()
    oauth_server.error("invalid_client", status=401)
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    answers = [post(oauth_server, oauth_server.token_endpoint, **form) for _number in range(5)]
    assert [status for status, _headers, _body in answers] == [503, 429, 200, 307, 401]
    assert [headers["Retry-After"] for _status, headers, _body in answers[:2]] == ["7", "Wed, 21 Oct 2037 07:28:00 GMT"]
    assert answers[2][1]["Content-Type"].startswith("text/html")
    assert post(oauth_server, answers[3][1]["Location"], **form)[0] == 200
    assert oauth_server.requests("elsewhere")[0].parameters == ["client_id", "grant_type", "refresh_token"]
    oauth_server.slow(0.5)
    began = time.monotonic()
    assert refresh(oauth_server, refresh_token)[0] == 200
    assert time.monotonic() - began >= 0.5


def test_a_lost_answer_has_used_up_the_refresh_token(oauth_server: OAuthServer) -> None:
    kept = tokens(oauth_server)["refresh_token"]
    oauth_server.rule(drop=True)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        refresh(oauth_server, kept)
    status, answer = refresh(oauth_server, kept)
    assert status == 200
    oauth_server.rule(drop=True, after=True)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        refresh(oauth_server, answer["refresh_token"])
    assert refresh(oauth_server, answer["refresh_token"])[1]["error"] == "invalid_grant"


@pytest.fixture
def redirect() -> Iterator[str]:
    """The redirect URI of a client that waits for its user's browser."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    with ScriptedServer((None, head + b"Go back to the terminal.", "drop")) as client:
        yield f"http://127.0.0.1:{client.port}/"


def test_browsing_ends_at_the_page_of_the_client(oauth_server: OAuthServer, redirect: str) -> None:
    url, _verifier = authorization(oauth_server, redirect, login_hint=USER)
    page = oauth_server.browse(url, None)
    assert (page.status, page.text) == (200, "Go back to the terminal.")
    assert parameters(page.url)["code"]


@pytest.mark.slow
def test_a_real_browser_signs_in(oauth_server: OAuthServer, redirect: str, chromium: Chromium) -> None:
    url, verifier = authorization(oauth_server, redirect, login_hint="bo@example.test")
    page = chromium.sign_in(url, USER)
    assert page.text == "Go back to the terminal."
    form = {"grant_type": "authorization_code", "code": parameters(page.url)["code"], "redirect_uri": redirect}
    status, answer = token(oauth_server, **form, code_verifier=verifier)
    assert status == 200
    assert submit(oauth_server, "XOAUTH2", answer["access_token"]) == []


@pytest.mark.slow
def test_a_real_browser_connects_a_device(oauth_server: OAuthServer, chromium: Chromium) -> None:
    asked = device(oauth_server)
    assert "Device connected" in chromium.sign_in(asked["verification_uri_complete"], USER).text
    assert token(oauth_server, grant_type=DEVICE_GRANT, device_code=asked["device_code"])[0] == 200

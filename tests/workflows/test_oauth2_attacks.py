"""Faults and attacks at the token endpoint neither end a sign-in nor disclose a token."""

from __future__ import annotations

import json
import re
import signal
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.oauth_types import Endpoints, TokenClient
from smtpsetup.oauth import device, token_endpoint
from smtpsetup.oauth.request import OAuthError, tokens_in
from tests.oauth_servers import CLIENT_ID, DEVICE_GRANT, OAuthServer
from tests.servers import ScriptedServer, wait_for
from tests.signing_in import ADDRESS, DEVICE, attempt, expire, has_nothing, kept, knows, sent, signed_in, signing_up

if TYPE_CHECKING:
    from tests.conftest import Home, Run


def code_of(done: Run) -> tuple[int, str]:
    return done.code, done.json["error"]["code"]


# the token endpoint


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_redirect_of_a_token_request_is_not_followed(
    ready: tuple[Home, OAuthServer], scheme: str, status: int
) -> None:
    home, server = ready
    expire(home, server)
    with ScriptedServer([]) as other:
        server.redirect(status=status, location=f"{scheme}://localhost:{other.port}/token")
        assert code_of(sent(home, "--json")) == (75, "auth.temporary")
        assert other.connections == 0
    assert sent(home).code == 0


def test_a_redirect_of_a_device_request_is_not_followed(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    with ScriptedServer([]) as other:
        server.redirect(endpoint="device", location=f"https://localhost:{other.port}/token", status=307)
        assert code_of(home.run(*signing_up(home, "--json"))) == (75, "auth.temporary")
        assert other.connections == 0
    assert has_nothing(home)


@pytest.mark.parametrize("trouble", ["redirect", "page"])
def test_a_redirect_or_page_during_polling_does_not_end_the_sign_in(
    oauth: tuple[Home, OAuthServer], trouble: str
) -> None:
    """As a captive portal does."""
    home, server = oauth
    with ScriptedServer([]) as other:
        rule = {"location": f"https://localhost:{other.port}/token"} if trouble == "redirect" else {}
        getattr(server, trouble)(grant_type=DEVICE_GRANT, **rule)
        with attempt(home, *signing_up(home, "--json"), pattern=DEVICE) as waiting:
            wait_for(lambda: server.requests("token", DEVICE_GRANT))
            server.approve_device(waiting.shown)
            assert waiting.end().code == 0
        assert other.connections == 0


def test_pages_until_the_device_code_expires_are_reported_by_their_status(
    polling: tuple[OAuthServer, TokenClient, device.DeviceCode],
) -> None:
    server, client, code = polling
    server.page(100, grant_type=DEVICE_GRANT)
    with pytest.raises(OAuthError) as caught:
        device.wait(token_endpoint.web(), client, code._replace(seconds=0.3, interval=0.1), pause=time.sleep)
    assert (caught.value.error, caught.value.description) == ("", "HTTP status 200")


@pytest.mark.parametrize("by", ["table", "account"])
def test_a_token_endpoint_without_tls_is_refused(oauth: tuple[Home, OAuthServer], by: str) -> None:
    home, server = oauth
    with ScriptedServer([]) as other:
        plain = f"http://localhost:{other.port}/token"
        if by == "table":
            knows(home, server, token_endpoint=plain)
            done = home.run(*signing_up(home, "--json"))
        else:
            signed_in(home, server)
            expire(home, server)
            home.config.write_text(home.config.read_text().replace(server.token_endpoint, plain))
            done = sent(home, "--json")
        assert (other.connections, done.code, done.json["error"]["code"]) == (0, 78, "config.invalid")


HTML = {
    "status": 200,
    "headers": {"Content-Type": "text/html"},
    "body": "<!DOCTYPE html><h1>Log in to the hotel's network</h1>",
}
ANSWER = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (HTML, (75, "auth.temporary")),
        ({"status": 200, "body": {**ANSWER, "filler": "x" * 65_536}}, (75, "auth.temporary")),
        ({"status": 200, "body": {**ANSWER, "token_type": "mac"}}, (75, "auth.temporary")),
        ({"status": 200, "body": {**ANSWER, "access_token": "a\r\nb"}}, (75, "auth.temporary")),
        ({"status": 200, "body": {**ANSWER, "access_token": ["a"]}}, (75, "auth.temporary")),
        ({"status": 200, "body": "[" * 60_000}, (75, "auth.temporary")),
        ({"status": 200, "body": {"error": "invalid_grant"}}, (77, "auth.token-revoked")),
        (
            {"status": 400, "body": {"error": "\x1b[31m", "error_description": "\x1b]0;x\x07" + "y" * 60_000}},
            (77, "auth.token-revoked"),
        ),
        ({"set": {"scope": "offline_access"}}, (77, "auth.scope-refused")),
    ],
)
def test_an_unusable_token_answer_is_reported_and_the_sign_in_kept(
    ready: tuple[Home, OAuthServer], rule: dict[str, Any], expected: tuple[int, str]
) -> None:
    home, server = ready
    server.settings(rotate=False)
    expire(home, server)
    before = (home.path / "token").read_text()
    server.rule(**rule)
    done = sent(home, "--json")
    assert code_of(done) == expected
    assert "\x1b" not in done.out + done.err
    assert len(done.err) < 5000
    assert server.mails() == []
    assert (home.path / "token").read_text() == before
    assert sent(home).code == 0


@pytest.mark.parametrize("lifetime", [None, 0, -5, "3600", "soon", 1e300, True, [1]])
def test_an_invalid_token_lifetime_does_not_cause_repeated_renewals(
    ready: tuple[Home, OAuthServer], lifetime: object
) -> None:
    home, server = ready
    expire(home, server)
    server.rule(**({"remove": ["expires_in"]} if lifetime is None else {"set": {"expires_in": lifetime}}))
    for _mail in range(2):
        assert sent(home).code == 0
    assert server.count("refresh_token") == 1
    assert time.time() + 3000 < kept(home)["expires_at"] < time.time() + 11 * 86_400


def test_a_dripping_token_answer_ends_at_the_deadline(
    oauth_server: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_endpoint, "_SECONDS", 1.0)
    monkeypatch.setenv("SSL_CERT_FILE", oauth_server.ca_file)
    body = json.dumps({**ANSWER, "filler": "x" * 1000}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    directory = Path(oauth_server.ca_file).parent
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "key.pem")
    drip = [step for byte in head + body for step in (bytes([byte]), 0.05)]
    with ScriptedServer([None, *drip], context) as slow:
        began = time.monotonic()
        with pytest.raises(OAuthError) as caught:
            token_endpoint.refresh_tokens(
                TokenClient("id", f"https://localhost:{slow.port}/token"), "r", before_request=lambda: None
            )
        assert 0.9 < time.monotonic() - began < 5
        assert slow.connections == 1
    assert caught.value.is_temporary


@pytest.mark.parametrize(
    "seconds",
    [
        float("inf"),
        float("nan"),
        10**400,
        "9" * 5000,
    ],
    ids=["infinity", "not a number", "400 digits", "5000 digits"],
)
def test_an_out_of_range_token_lifetime_is_bounded(seconds: object) -> None:
    assert 0 < tokens_in({**ANSWER, "expires_in": seconds}, 0.0, ()).expires_at <= 10 * 86_400


# a code for another device


@pytest.mark.parametrize(
    "rule",
    [
        {"set": {"verification_uri": "http://localhost/device"}},
        {"set": {"verification_uri": "javascript:alert(1)"}},
        {"set": {"verification_uri": ["https://localhost/"]}},
        {"set": {"user_code": ""}},
        {"set": {"device_code": None}},
        {"remove": ["device_code"]},
        HTML,
    ],
)
def test_a_device_answer_without_a_code_or_safe_address_is_not_shown(
    oauth: tuple[Home, OAuthServer], rule: dict[str, Any]
) -> None:
    home, server = oauth
    server.rule(endpoint="device", **rule)
    done = home.run(*signing_up(home, "--json"))
    assert code_of(done) == (75, "auth.temporary")
    assert not re.search(DEVICE, done.err, re.MULTILINE)
    assert server.requests("token") == []
    assert has_nothing(home)


def test_a_device_code_is_shown_escaped(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    changed = {
        "user_code": "\x1b[2JABCD-EFGH\r\nPassword:",
        "verification_uri": "https://localhost/\x1b]0;x\x07\u202e",
        "interval": 0.1,
        "expires_in": 1,
    }
    server.rule(endpoint="device", set=changed)
    server.settings(device_interval=None)
    done = home.run(*signing_up(home))
    assert done.code == 77
    assert "ABCD-EFGH" in done.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", done.err)
    assert "\nPassword:" not in done.err


@pytest.fixture
def polling(
    oauth_server: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[OAuthServer, TokenClient, device.DeviceCode]:
    """A device code that nobody has typed in yet, in this process."""
    monkeypatch.setenv("SSL_CERT_FILE", oauth_server.ca_file)
    scopes = tuple(oauth_server.scope.split())
    client = TokenClient(CLIENT_ID, oauth_server.token_endpoint, scopes)
    endpoints = Endpoints("test", client.token_endpoint, "", oauth_server.device_authorization_endpoint, scopes=scopes)
    return oauth_server, client, device.begin(token_endpoint.web(), endpoints, client)


def test_each_slow_down_adds_five_seconds_to_the_interval(
    polling: tuple[OAuthServer, TokenClient, device.DeviceCode],
) -> None:
    server, client, code = polling
    server.slow_down(2)
    server.unavailable(retry_after="30", grant_type=DEVICE_GRANT)
    server.approve_device(code.user_code)
    pauses: list[float] = []
    assert device.wait(token_endpoint.web(), client, code, pause=pauses.append).refresh_token
    assert pauses == [1.0, 6.0, 11.0, 30.0]


def test_an_expired_device_code_is_reported(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    with attempt(home, *signing_up(home, "--json"), pattern=DEVICE) as waiting:
        server.expire_device_codes()
        assert code_of(waiting.end()) == (77, "auth.sign-in-timeout")
    assert has_nothing(home)


def test_polling_ends_when_the_device_code_expires(polling: tuple[OAuthServer, TokenClient, device.DeviceCode]) -> None:
    _server, client, code = polling
    with pytest.raises(OAuthError) as caught:
        device.wait(token_endpoint.web(), client, code._replace(seconds=0.3, interval=0.1), pause=time.sleep)
    assert caught.value.error == "expired_token"


@pytest.mark.parametrize(("options", "pattern"), [((), DEVICE), (("--browser",), ADDRESS)])
def test_ctrl_c_during_a_sign_in_exits_with_130_and_saves_nothing(
    oauth: tuple[Home, OAuthServer], options: tuple[str, ...], pattern: str
) -> None:
    home, server = oauth
    with attempt(home, *signing_up(home, *options), pattern=pattern) as waiting:
        if not options:
            wait_for(lambda: server.requests("token", DEVICE_GRANT))
        waiting.process.send_signal(signal.SIGINT)
        done = waiting.end()
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    assert has_nothing(home)


# the wire


@pytest.mark.parametrize(
    "offers", [b"250-x\r\n250 AUTH OAUTHBEARER XOAUTH2\r\n", b"250-x\r\n250-STARTTLS\r\n250 AUTH XOAUTH2\r\n"]
)
def test_no_token_is_sent_when_starttls_is_stripped(oauth: tuple[Home, OAuthServer], offers: bytes) -> None:
    home, server = oauth
    knows(home, server, server.starttls_port, "starttls")
    signed_in(home, server)
    with ScriptedServer(
        [b"220 x ESMTP\r\n", None, offers, None, b"454 4.7.0 TLS not available\r\n", *[None] * 5]
    ) as stripped:
        home.config.write_text(home.config.read_text().replace(str(server.starttls_port), str(stripped.port)))
        done = sent(home, "--json")
        assert code_of(done)[1] in ("starttls.not-offered", "starttls.refused")
    said = b"".join(stripped.received)
    assert stripped.connections >= 1
    assert b"EHLO" in said
    assert b"AUTH" not in said
    assert kept(home)["access_token"].encode() not in said


def test_a_server_with_an_untrusted_certificate_gets_no_token(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    before = len(server.logins())
    home.env.pop("SSL_CERT_FILE")
    assert code_of(sent(home, "--json")) == (69, "tls.untrusted")
    expire(home, server)
    assert code_of(sent(home, "--json")) == (75, "auth.temporary")
    assert len(server.logins()) == before
    assert server.count("refresh_token") == 0

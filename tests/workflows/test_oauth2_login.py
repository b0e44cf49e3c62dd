"""A token logs in with OAUTHBEARER (RFC 7628) or, where that is not offered, with XOAUTH2."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, Security
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.transports.smtp import SmtpTransport
from tests.conftest import account_at
from tests.oauth_servers import SCOPE, SMTP_SCOPE, USER, OAuthServer
from tests.servers import ScriptedServer
from tests.signing_in import DEVICE, configured, has_nothing, kept, knows, sent, signed_in, signing_in, signing_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Home, Run

NAMES = ["åsa@exämple.test", "日本@example.test", "a=b,c@example.test", "=2C=3D,@example.test"]


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        (["XOAUTH2", "OAUTHBEARER"], "OAUTHBEARER"),
        (["PLAIN", "LOGIN", "OAUTHBEARER"], "OAUTHBEARER"),
        (["LOGIN", "XOAUTH2"], "XOAUTH2"),  # as Microsoft
    ],
)
def test_oauthbearer_is_preferred_to_xoauth2(oauth: tuple[Home, OAuthServer], offered: list[str], used: str) -> None:
    home, server = oauth
    server.settings(mechanisms=offered)
    signed_in(home, server)
    assert sent(home).code == 0
    assert [login.mechanism for login in server.logins()] == [used]


def test_a_token_is_never_sent_as_a_password(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    server.settings(mechanisms=["PLAIN", "LOGIN"])
    done = configured(home, server, "--json")
    assert done.json["error"]["code"] in ("auth.no-common-mechanism", "auth.not-offered")
    assert server.logins() == []
    assert has_nothing(home)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_token_of_more_than_twelve_kilobytes_logs_in(
    home: Home, oauth_server: OAuthServer, mechanism: str, security: str
) -> None:
    oauth_server.settings(access_token_bits=66_000, mechanisms=[mechanism])
    knows(home, oauth_server, oauth_server.tls_port if security == "tls" else oauth_server.starttls_port, security)
    done = configured(home, oauth_server, "-v")
    assert done.code == 0, done.err
    token = kept(home)["access_token"]
    assert len(base64.b64encode(token.encode())) > 12_288
    mail = sent(home, "-v")
    assert mail.code == 0, mail.err
    assert [(login.mechanism, login.problem) for login in oauth_server.logins()] == [(mechanism, "")] * 2
    encoded = base64.b64encode(token.encode()).decode()[8:200]
    assert not any(piece in done.err + mail.err for piece in (token[:100], token[-100:], encoded))


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("name", NAMES)
def test_a_user_name_arrives_as_it_is(oauth: tuple[Home, OAuthServer], name: str, mechanism: str) -> None:
    home, server = oauth
    server.settings(mechanisms=[mechanism])
    arguments = signing_up(home, "--username", name)
    done = signing_in(home, *arguments, act=lambda code: server.approve_device(code, name), pattern=DEVICE)
    assert done.code == 0, done.err
    assert sent(home).code == 0
    assert {(login.user, login.problem) for login in server.logins()} == {(name, "")}


# the bytes on the wire


def logged_in(
    script: Sequence[bytes | None], mechanism: str, name: str = "info@example.com", token: str = "t"
) -> tuple[list[bytes], Exception | None]:
    """The lines that a scripted server receives of one login, and the error that ends it."""
    greeting = [b"220 x ESMTP\r\n", None, f"250-x\r\n250 AUTH {mechanism}\r\n".encode(), None]
    with ScriptedServer([*greeting, *script, None, b"221 2.0.0 bye\r\n"]) as server:
        account = account_at(server.port, Security.NONE)
        with SmtpTransport().session(account, Conditions(5)) as session:
            session.connect()
            try:
                session.log_in(name, Secret(token), with_token=True)
            except TransportError as error:
                return server.received[1:], error
            return server.received[1:], None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("token", ["vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "x" * 20_000])
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_the_response_follows_the_mechanism(mechanism: str, token: str, name: str) -> None:
    is_long = len(token) > 1000
    script = [*([b"334 \r\n", None] if is_long else []), b"235 2.7.0 ok\r\n"]
    received, error = logged_in(script, mechanism, name, token)
    assert error is None
    line = received[0].rstrip(b"\r\n")
    if is_long:
        assert line == b"AUTH " + mechanism.encode()
        response = received[1].rstrip(b"\r\n")
    else:
        assert line.startswith(b"AUTH " + mechanism.encode() + b" ")
        assert len(line) <= 510  # RFC 5321 section 4.5.3.1.4, with its line end
        response = line.split(b" ")[2]
    said = base64.b64decode(response, validate=True).decode()
    if mechanism == "XOAUTH2":
        assert said == f"user={name}\1auth=Bearer {token}\1\1"
    else:
        gs2, _host, _port, *rest = said.split("\1")
        assert gs2.split("=", 1)[1].removesuffix(",").replace("=2C", ",").replace("=3D", "=") == name
        assert gs2.count(",") == 2
        assert rest == [f"auth=Bearer {token}", "", ""]


CHALLENGE = base64.b64encode(b'{"status":"invalid_token","scope":"https://mail.test/smtp"}')


@pytest.mark.parametrize(("mechanism", "answer"), [("OAUTHBEARER", b"AQ==\r\n"), ("XOAUTH2", b"\r\n")])
@pytest.mark.parametrize(
    "challenge", [CHALLENGE, b"", b"no base64!", base64.b64encode(b"\xff\x00{"), base64.b64encode(b"[" * 5000)]
)
def test_the_challenge_of_a_refused_token_is_answered(mechanism: str, answer: bytes, challenge: bytes) -> None:
    received, error = logged_in([b"334 " + challenge + b"\r\n", None, b"535 5.7.8 no\r\n"], mechanism)
    assert received[1:2] == [answer]
    assert isinstance(error, TransportError)
    assert error.failure.reply
    assert error.failure.reply.code == 535


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_second_challenge_is_cancelled(mechanism: str) -> None:
    received, error = logged_in([b"334 \r\n", None, b"334 \r\n", None, b"501 5.5.2 stopped\r\n"], mechanism)
    assert isinstance(error, TransportError)
    assert b"*\r\n" in received


# after a refusal


def refused(home: Home, server: OAuthServer) -> Run:
    """A sign-in whose token lacks the scope to send, although the token endpoint grants it."""
    server.settings(withheld_scopes=[SMTP_SCOPE])
    server.rule(
        endpoint="token", count=1, grant_type="urn:ietf:params:oauth:grant-type:device_code", set={"scope": SCOPE}
    )
    return configured(home, server, "--json")


def test_a_token_without_the_permission_to_send_gives_no_account(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    done = refused(home, server)
    assert (done.code, done.json["error"]["stage"]) == (77, "auth")
    assert [login.problem for login in server.logins()] == ["insufficient_scope"]
    assert has_nothing(home)


@pytest.mark.parametrize(("mechanism", "status"), [("OAUTHBEARER", "insufficient_scope"), ("XOAUTH2", "403")])
def test_the_challenge_is_part_of_the_error(oauth: tuple[Home, OAuthServer], mechanism: str, status: str) -> None:
    home, server = oauth
    server.settings(mechanisms=[mechanism])
    error = json.dumps(refused(home, server).json["error"])
    assert status in error
    assert SMTP_SCOPE in error


@pytest.mark.parametrize(
    ("reply", "code", "exit_code", "asked", "logins"),
    [
        ("535 5.7.8 Token not accepted", "auth.token-revoked", 77, 1, 2),
        (
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "auth.disabled-by-admin",
            77,
            0,
            1,
        ),
        ("454 4.7.0 Temporary authentication failure", "auth.temporary", 75, 0, 1),
    ],
)
def test_a_refused_login_requests_one_new_token_at_most(  # noqa: PLR0913, PLR0917  the columns of a table
    ready: tuple[Home, OAuthServer], reply: str, code: str, exit_code: int, asked: int, logins: int
) -> None:
    home, server = ready
    server.settings(login_reply=reply)
    done = sent(home, "--json")
    assert (done.code, done.json["error"]["code"]) == (exit_code, code)
    assert server.count("refresh_token") == asked
    assert len(server.logins()) == logins
    server.settings(login_reply=None)
    assert sent(home).code == 0
    assert [mail.user for mail in server.mails()] == [USER]

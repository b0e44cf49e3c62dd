"""A server that is not in the table is found by its metadata (RFC 8414) and gives a client id (RFC 7591)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.oauth_servers import CLIENT_ID, SCOPE, USER, OAuthServer
from tests.signing_in import ADDRESS, DEVICE, expire, has_nothing, sent, signing_in
from tests.workflows.conftest import tls_at

if TYPE_CHECKING:
    from tests.conftest import Home, Run


def arguments(home: Home, server: OAuthServer, *options: str, issuer: str | None = None) -> tuple[str, ...]:
    """The arguments of `configure` for a server outside the table."""
    return (
        *("configure", USER, *tls_at(server.tls_port), "--from-name", "", "--json"),
        *("--issuer", issuer or server.issuer, "--scope", SCOPE, "--password-file", str(home.path / "token"), *options),
    )


@pytest.fixture
def unlisted(home: Home, oauth_server: OAuthServer) -> tuple[Home, OAuthServer]:
    """A home without a table of its own, and the servers."""
    home.env.update(oauth_server.env)
    return home, oauth_server


def refused(home: Home, server: OAuthServer, *options: str, issuer: str | None = None) -> Run:
    """Run a `configure` that fails before the sign-in."""
    done = home.run(*arguments(home, server, *options, issuer=issuer))
    assert server.requests("token") == server.requests("device") == []
    assert has_nothing(home)
    return done


def test_metadata_and_registration_lead_to_a_delivered_mail(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    done = signing_in(home, *arguments(home, server, "--browser"), act=server.browse, pattern=ADDRESS)
    assert done.code == 0, done.err
    assert [request.status for request in server.requests("registration")] == [201]
    assert sent(home).code == 0
    expire(home, server)
    assert sent(home).code == 0
    clients = {request.client_id for request in server.requests("token")}
    assert len(clients) == 1
    assert CLIENT_ID not in clients
    assert len(server.requests("registration")) == 1  # the client id is kept
    assert [mail.user for mail in server.mails()] == [USER, USER]


def test_registration_includes_the_device_grant(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    done = signing_in(home, *arguments(home, server), act=server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err
    assert sent(home).code == 0


def test_a_given_client_id_needs_no_registration(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    done = signing_in(
        home, *arguments(home, server, "--client-id", CLIENT_ID), act=server.approve_device, pattern=DEVICE
    )
    assert done.code == 0, done.err
    assert server.requests("registration") == []
    assert sent(home).code == 0


def test_signing_in_again_works_at_a_server_outside_the_table(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    assert signing_in(home, *arguments(home, server, "--browser"), act=server.browse, pattern=ADDRESS).code == 0
    server.revoke()
    again = ("login", USER, "--issuer", server.issuer, "--scope", SCOPE, "--browser")
    done = signing_in(home, *again, act=server.browse, pattern=ADDRESS)
    assert done.code == 0, done.err
    assert len(server.requests("registration")) == 1
    assert sent(home).code == 0


@pytest.mark.parametrize(
    "other",
    [
        "https://127.0.0.1:{port}",
        "https://localhost:{port}/",
        "https://localhost:{port}/tenant",
        "https://LOCALHOST:{port}",
    ],
)
def test_the_metadata_of_another_issuer_is_refused(unlisted: tuple[Home, OAuthServer], other: str) -> None:
    home, server = unlisted
    done = refused(home, server, issuer=other.format(port=server.issuer.rpartition(":")[2]))
    assert done.json["error"]["code"] == "config.invalid"
    assert server.requests("registration") == []


@pytest.mark.parametrize(
    "issuer",
    [
        *(
            "http://localhost:{port}",
            "localhost:{port}",
            "ftp://localhost:{port}",
            "https://",
            "https://u:p@localhost:{port}",
        ),
        "https://[",
    ],
)
def test_an_issuer_that_is_not_an_https_address_is_refused(unlisted: tuple[Home, OAuthServer], issuer: str) -> None:
    home, server = unlisted
    done = refused(home, server, issuer=issuer.format(port=server.issuer.rpartition(":")[2]))
    assert done.code in (2, 78), done.out + done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.test"},
        {"issuer": None},
        {"token_endpoint": "http://localhost/token"},
        {"token_endpoint": 5},
        {"token_endpoint": "https://localhost/\r\nx"},
    ],
)
def test_unusable_metadata_is_refused(unlisted: tuple[Home, OAuthServer], change: dict[str, Any]) -> None:
    home, server = unlisted
    server.rule(endpoint="metadata", set=change)
    done = refused(home, server)
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert server.requests("registration") == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"status": 503, "body": ""}, 75),
        ({"status": 404, "body": ""}, 78),
        ({"status": 200, "body": "<!DOCTYPE html>"}, 78),
        ({"status": 302, "body": "", "headers": {"Location": "https://localhost/"}}, 78),
        ({"drop": True}, 75),
    ],
)
def test_a_server_without_metadata_is_reported(
    unlisted: tuple[Home, OAuthServer], rule: dict[str, Any], code: int
) -> None:
    home, server = unlisted
    server.rule(endpoint="metadata", **rule)
    done = refused(home, server)
    assert (done.code, done.json["error"]["code"]) == (code, "config.invalid")


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 403, "body": {"error": "access_denied", "error_description": "known programs only"}},
        {"status": 400, "body": {"error": "invalid_redirect_uri"}},
        {"status": 401, "body": ""},
        {"status": 201, "body": {"client_id": ""}},
        {"status": 201, "body": {"client_id": "a\r\nb"}},
        {"status": 307, "body": "", "headers": {"Location": "https://localhost/"}},
    ],
)
def test_a_refused_registration_is_reported(unlisted: tuple[Home, OAuthServer], rule: dict[str, Any]) -> None:
    home, server = unlisted
    server.rule(endpoint="registration", **rule)
    done = refused(home, server)
    assert len(server.requests("registration")) == 1
    assert done.code == 77
    assert done.json["error"]["code"] in ("auth.oauth2-required", "auth.consent-required")
    assert "login ''" not in str(done.json["error"]["hints"])


def test_an_unavailable_registration_is_temporary(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    server.rule(endpoint="registration", status=503, body="")
    done = refused(home, server)
    assert (done.code, done.json["error"]["code"]) == (75, "auth.temporary")


def test_the_hint_for_an_ended_sign_in_works(unlisted: tuple[Home, OAuthServer]) -> None:
    home, server = unlisted
    assert (
        signing_in(
            home, *arguments(home, server, "--client-id", CLIENT_ID), act=server.approve_device, pattern=DEVICE
        ).code
        == 0
    )
    server.revoke()
    assert f"smtpsetup login {USER}" in " ".join(sent(home, "--json").json["error"]["hints"])
    done = signing_in(home, "login", USER, act=server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err

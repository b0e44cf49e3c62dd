"""Dovecot's submission server, which has tokens introspected, accepts the tokens of smtpsetup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oauth_servers import USER, OAuthServer
from tests.signing_in import (
    ADDRESS,
    DEVICE,
    configured,
    expire,
    has_nothing,
    kept,
    knows,
    sent,
    signed_in,
    signing_in,
    signing_up,
)

if TYPE_CHECKING:
    from tests.browsers import Chromium
    from tests.conftest import Home
    from tests.dovecot import Dovecot


@pytest.fixture
def at_dovecot(home: Home, oauth_server: OAuthServer, dovecot: Dovecot) -> Home:
    """A home whose table knows Dovecot."""
    knows(home, oauth_server, dovecot.tls_port)
    return home


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dovecot", "mechanism"),
    [("oauthbearer xoauth2", "OAUTHBEARER"), ("oauthbearer", "OAUTHBEARER"), ("xoauth2", "XOAUTH2")],
    indirect=["dovecot"],
)
def test_a_code_on_another_device_leads_to_a_mail_that_dovecot_relays(
    at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot, mechanism: str
) -> None:
    done = configured(at_dovecot, oauth_server, "--json")
    assert done.code == 0, done.err
    assert at_dovecot.run("send", "kund@example.org", "-s", "Hej åäö", "--body", "Räkning €").code == 0
    (mail,) = dovecot.mails
    assert (mail.sender, mail.recipients) == (USER, ("kund@example.org",))
    assert b"=?utf-8?" in mail.content.lower()
    assert dovecot.logins == [mechanism] * 2  # the one that proves the sign-in, and the mail's
    assert oauth_server.count("refresh_token") == 0


@pytest.mark.slow
def test_a_browser_leads_to_a_mail_that_dovecot_relays(
    at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot, chromium: Chromium
) -> None:
    done = signing_in(
        at_dovecot, *signing_up(at_dovecot, "--browser"), act=lambda url: chromium.sign_in(url, USER), pattern=ADDRESS
    )
    assert done.code == 0, done.err
    assert sent(at_dovecot).code == 0
    assert [mail.recipients for mail in dovecot.mails] == [("kund@example.org",)]


@pytest.mark.slow
# 1,000 characters, which exceeds the line length of an AUTH command, and 6,000
@pytest.mark.parametrize("token_bits", [6_000, 36_000])
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_long_token_is_accepted(
    home: Home, oauth_server: OAuthServer, dovecot: Dovecot, security: str, token_bits: int
) -> None:
    oauth_server.settings(access_token_bits=token_bits)
    knows(home, oauth_server, dovecot.tls_port if security == "tls" else dovecot.starttls_port, security)
    done = configured(home, oauth_server)
    assert done.code == 0, done.err
    assert sent(home).code == 0
    assert len(dovecot.mails) == 1


@pytest.mark.matrix
@pytest.mark.parametrize("dovecot", ["oauthbearer", "xoauth2"], indirect=True)
def test_a_revoked_access_token_is_replaced_once(at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot) -> None:
    signed_in(at_dovecot, oauth_server)
    refused = kept(at_dovecot)["access_token"]
    oauth_server.expire_access_tokens()
    done = sent(at_dovecot)
    assert done.code == 0, done.err
    assert oauth_server.count("refresh_token") == 1
    assert len(dovecot.mails) == 1
    assert len(dovecot.logins) == 1  # the one that failed is not among them
    assert kept(at_dovecot)["access_token"] != refused


def test_a_revoked_grant_is_reported_after_one_token_request(
    at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot
) -> None:
    signed_in(at_dovecot, oauth_server)
    oauth_server.revoke()
    done = sent(at_dovecot, "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.token-revoked")
    assert oauth_server.count("refresh_token") == 1
    assert dovecot.mails == []


def test_an_expired_token_is_replaced_before_the_login(
    at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot
) -> None:
    signed_in(at_dovecot, oauth_server)
    expire(at_dovecot, oauth_server)
    assert sent(at_dovecot).code == 0
    assert oauth_server.count("refresh_token") == 1
    assert len(oauth_server.requests("introspection")) == 1  # no login was refused on the way


@pytest.mark.slow
def test_a_token_of_another_user_is_refused(home: Home, oauth_server: OAuthServer, dovecot: Dovecot) -> None:
    knows(home, oauth_server, dovecot.tls_port)
    done = signing_in(
        home,
        *signing_up(home, "--json"),
        act=lambda code: oauth_server.approve_device(code, "asa@example.test"),
        pattern=DEVICE,
    )
    assert (done.code, done.json["error"]["code"]) == (77, "auth.wrong-user")
    assert has_nothing(home)


def test_a_failed_introspection_is_a_temporary_error(
    at_dovecot: Home, oauth_server: OAuthServer, dovecot: Dovecot
) -> None:
    signed_in(at_dovecot, oauth_server)
    oauth_server.rule(2, endpoint="introspection", status=503, body="")
    done = sent(at_dovecot, "--json")
    assert (done.code, done.json["error"]["code"], done.json["error"]["retry"]) == (75, "auth.temporary", True)
    assert sent(at_dovecot).code == 0

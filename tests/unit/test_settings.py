"""Options take precedence, then the provider's row, then the defaults."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from smtpsetup.address.address import parse_address
from smtpsetup.address.hosts import InvalidHostError, checked_host, is_loopback
from smtpsetup.core.model import Auth, Security, Server
from smtpsetup.providers.proposal import Overrides, known_for, propose
from smtpsetup.providers.settings import username_for
from smtpsetup.providers.table import Table

if TYPE_CHECKING:
    from smtpsetup.providers.row import Provider

TABLE = Table(datetime.date(2026, 11, 24))
OWN = parse_address("info@mittforetag.se")


def row(provider_id: str) -> Provider:
    found = TABLE.by_id(provider_id)
    assert found
    return found


@pytest.mark.parametrize(
    ("typed", "server"),
    [
        (Overrides(), Server("send.one.com", 465, Security.TLS)),
        (Overrides(port=587), Server("send.one.com", 587, Security.STARTTLS)),
        (Overrides(security=Security.STARTTLS), Server("send.one.com", 587, Security.STARTTLS)),
        (Overrides(port=2525), Server("send.one.com", 2525, Security.STARTTLS)),
        (Overrides(host="mail.example.com"), Server("mail.example.com", 465, Security.TLS)),
        (Overrides(host="mail.example.com", port=587), Server("mail.example.com", 587, Security.STARTTLS)),
        (
            Overrides(host="mail.example.com", security=Security.STARTTLS),
            Server("mail.example.com", 587, Security.STARTTLS),
        ),
        (Overrides(host="mail.example.com", port=25), Server("mail.example.com", 25, Security.STARTTLS)),
    ],
)
def test_the_server_comes_from_the_options_then_the_row_then_the_defaults(typed: Overrides, server: Server) -> None:
    assert propose(known_for(OWN, row("one-com")), typed).server == server


def test_without_a_row_and_a_host_no_server_is_proposed() -> None:
    assert propose(known_for(OWN, None), Overrides(port=587)).server is None


def test_plaintext_is_never_proposed_unless_asked_for() -> None:
    for port in (None, 25, 465, 587, 2525, 1025):
        server = propose(known_for(OWN, None), Overrides(host="mail.example.com", port=port)).server
        assert server
        assert server.security is not Security.NONE


@pytest.mark.parametrize(
    ("address", "provider_id", "username"),
    [
        ("namn@one.com", "one-com", "namn@one.com"),
        ("namn+tag@gmail.com", "gmail", "namn@gmail.com"),
        ("namn@web.de", "webde", "namn"),
        ("namn+tag@free.fr", "free-fr", "namn"),
        ("namn@bahnhof.se", "bahnhof", None),
        ("info@mittforetag.se", "sendgrid", "apikey"),
        ("info@mittforetag.se", "microsoft365-direct-send", ""),
    ],
)
def test_the_username_has_the_form_that_the_provider_requires(
    address: str, provider_id: str, username: str | None
) -> None:
    name, note = username_for(parse_address(address), row(provider_id))
    assert name == username
    assert note or username == ""


def test_a_typed_username_and_authentication_take_precedence() -> None:
    proposal = propose(known_for(OWN, row("one-com")), Overrides(username="kund1", auth=Auth.TOKEN))
    assert (proposal.username, proposal.auth) == ("kund1", Auth.TOKEN)
    assert propose(known_for(OWN, row("one-com")), Overrides(auth=Auth.NONE)).username == ""


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("Send.One.COM", "send.one.com"),
        (" send.one.com. ", "send.one.com"),
        ("mejl.mindomän.se", "mejl.xn--mindomn-bxa.se"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_name_is_normalized(typed: str, host: str) -> None:
    assert checked_host(typed) == host


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ".",
        "smtp://send.one.com",
        "https://one.com/",
        "send one.com",
        "send..one.com",
        ".one.com",
        "send.one.com:465",
        "a@one.com",
        "300.1.1.1",
        "2001:db8:::1",
        "-one.com",
        "one_com",
        "x" * 64 + ".se",
        "send.one.com\r\nQUIT",
        "send\x00.one.com",
        "send.one.com/x",
    ],
)
def test_an_invalid_host_name_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(InvalidHostError) as caught:
        checked_host(typed)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("127.0.0.1.evil.test", False),
        ("1.127.0.0", False),
    ],
)
def test_loopback_is_recognized_by_the_whole_name(host: str, expected: bool) -> None:  # noqa: FBT001  a row of the table above
    assert is_loopback(host) is expected

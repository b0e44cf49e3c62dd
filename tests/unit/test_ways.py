"""The ways from a provider that takes no password, and the form of client ids."""

from __future__ import annotations

import datetime

import pytest

from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.core.oauth_types import Endpoints
from smtpsetup.oauth.client_steps import client_steps, wrong_form
from smtpsetup.providers.table import Table
from smtpsetup.setup.ways import HOSTS, ways_for

TABLE = Table(datetime.date(2026, 11, 1))


def kinds(name: str, *, is_own_domain: bool = False) -> list[str]:
    row = TABLE.by_name(name)
    assert row
    return [str(way.kind) for way in ways_for(row, is_own_domain=is_own_domain)]


def test_each_provider_without_passwords_has_its_ways() -> None:
    assert kinds("microsoft-personal") == ["sign-in", "own-domain", "gmail", "relay"]
    assert kinds("tuta") == ["own-domain", "gmail"]
    assert kinds("onet-poczta") == ["paid-plan", "own-domain", "gmail"]
    assert kinds("proton-bridge") == ["paid-plan", "own-domain", "gmail"]
    assert kinds("proton", is_own_domain=True) == ["paid-plan"]


@pytest.mark.parametrize("name", ["gmail", "one-com", "fastmail", "mailgun", "gmx-de"])
def test_where_a_password_or_a_token_works_nothing_else_is_offered(name: str) -> None:
    assert kinds(name) == []


def test_the_hosts_that_are_named_take_a_password() -> None:
    for name in HOSTS:
        row = TABLE.by_name(name)
        assert row is not None, name
        assert (row.name, row.status, Auth.PASSWORD in row.auth) == (name, ProviderStatus.OK, True)


@pytest.mark.parametrize("name", ["microsoft-personal", "gmail"])
def test_the_steps_to_a_client_id_name_their_addresses(name: str) -> None:
    row = TABLE.by_name(name)
    assert row
    assert row.oauth2
    steps = client_steps(row.oauth2)
    assert len(steps) >= 5
    assert "https://" in steps[0]


@pytest.mark.parametrize(
    ("client", "typed", "fits"),
    [
        ("microsoft", "11111111-2222-3333-4444-555555555555", True),
        ("microsoft", "11111111-AAAA-3333-4444-555555555555", True),
        ("microsoft", "abc", False),
        ("microsoft", "11111111-2222-3333-4444-55555555555", False),
        ("google", "1234-ab12.apps.googleusercontent.com", True),
        ("google", "11111111-2222-3333-4444-555555555555", False),
        ("fastmail", "anything", True),
        ("fastmail", "two words", False),
        ("fastmail", "lösen", False),
    ],
)
def test_a_client_id_is_checked_for_the_providers_form(client: str, typed: str, *, fits: bool) -> None:
    endpoints = Endpoints(client=client, token_endpoint="https://example.com/token", scopes=("mail",))
    assert bool(wrong_form(endpoints, typed)) is not fits

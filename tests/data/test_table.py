"""Every row of the shipped table holds what the schema cannot see by itself."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any

import pytest

from smtpsetup import addresses, candidates, provider_schema
from smtpsetup.model import Auth, Security, Status
from smtpsetup.providers import Table, shipped_table

TODAY = datetime.date(2026, 11, 24)
RAW = tomllib.loads(Path(shipped_table()).read_text(encoding="utf-8"))
ROWS = Table(TODAY).all()


def test_the_shipped_table_has_no_fault() -> None:
    assert provider_schema.faults(RAW) == []


def test_every_row_is_found_by_each_of_its_domains() -> None:
    table = Table(TODAY)
    for row in ROWS:
        for domain in row.domains:
            assert table.by_domain(domain) == row


def test_every_often_mistyped_domain_is_one_of_its_row() -> None:
    for row in ROWS:
        assert set(row.often_mistyped) <= set(row.domains)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_gives_a_person_something_to_use(row: Any) -> None:
    address = addresses.parse(f"namn+faktura@{row.domains[0].removeprefix('*.') if row.domains else 'mittforetag.se'}")
    username, note = candidates.username_for(address, row)
    if row.status is Status.UNAVAILABLE:
        assert not row.servers
        assert row.notes
        return
    servers = candidates.servers_for(address, row)
    assert all("{" not in server.host and candidates.checked_host(server.host) == server.host for server in servers)
    assert {server.security for server in servers} <= {Security.TLS, Security.STARTTLS}
    assert all(server.security is Security.STARTTLS for server in servers if server.port in {25, 587} and row.id != "spectrum")
    assert all(server.security is Security.TLS for server in servers if server.port == 465)
    assert username is not None or row.username.label
    assert note or row.username.form == "none"
    assert row.status is Status.OK or row.enable_steps


@pytest.mark.parametrize("language", ["en", "sv"])
def test_every_text_is_a_sentence_in_both_languages(language: str) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [value[language]] if "sv" in value else [text for inner in value.values() for text in texts(inner)]
        return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []

    for row in RAW["provider"]:
        label = row["username"].get("label", {}).get(language)
        for text in texts(row):
            assert text == text.strip()
            assert text.isprintable()
            assert text == label or text.endswith((".", "!", "?", ")")) or "http" in text.split()[-1], text


# what the guide of 2018 listed, as it is in 2026 (server, port, security, what works)
GUIDE = [
    ("namn@gmail.com", "smtp.gmail.com", 465, "tls", Auth.APP_PASSWORD),
    ("namn@outlook.com", "smtp-mail.outlook.com", 587, "starttls", Auth.OAUTH2),
    ("namn@live.se", "smtp-mail.outlook.com", 587, "starttls", Auth.OAUTH2),
    ("namn@hotmail.se", "smtp-mail.outlook.com", 587, "starttls", Auth.OAUTH2),
    ("namn@msn.com", "smtp-mail.outlook.com", 587, "starttls", Auth.OAUTH2),
    ("namn@foretag.onmicrosoft.com", "smtp.office365.com", 587, "starttls", Auth.OAUTH2),
    ("namn@yahoo.com", "smtp.mail.yahoo.com", 465, "tls", Auth.APP_PASSWORD),
    ("namn@yahoo.se", "smtp.mail.yahoo.com", 465, "tls", Auth.APP_PASSWORD),
    ("namn@one.com", "send.one.com", 465, "tls", Auth.PASSWORD),
    ("namn@loopia.se", "mailcluster.loopia.se", 465, "tls", Auth.PASSWORD),
]


@pytest.mark.parametrize(("address", "host", "port", "security", "auth"), GUIDE)
def test_every_address_of_the_2018_guide_gets_what_holds_today(address: str, host: str, port: int, security: str, auth: Auth) -> None:
    parsed = addresses.parse(address)
    row = Table(TODAY).by_domain(parsed.domain)
    assert row
    server = candidates.servers_for(parsed, row)[0]
    assert (server.host, server.port, server.security) == (host, port, security)
    assert row.auth[0] is auth


@pytest.mark.parametrize(
    ("domain", "row_id"),
    [("yahoo.co.jp", "yahoo-japan"), ("gmx.de", "gmx-de"), ("gmx.com", "gmx-com"), ("tuta.com", "tuta"), ("hey.com", "hey"), ("cox.net", "cox")],
)
def test_families_that_are_easily_confused_are_kept_apart(domain: str, row_id: str) -> None:
    row = Table(TODAY).by_domain(domain)
    assert row
    assert row.id == row_id


@pytest.mark.parametrize("row_id", ["sendgrid", "resend", "mailtrap", "sparkpost"])
def test_relays_with_a_fixed_word_as_login_say_it(row_id: str) -> None:
    words = {"sendgrid": "apikey", "resend": "resend", "mailtrap": "api", "sparkpost": "SMTP_Injection"}
    row = Table(TODAY).by_id(row_id)
    assert candidates.username_for(addresses.parse("info@mittforetag.se"), row)[0] == words[row_id]

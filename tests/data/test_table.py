"""Every row of the shipped table keeps the rules that the schema cannot express."""

from __future__ import annotations

import datetime
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from smtpsetup.address.address import parse_address
from smtpsetup.address.hosts import checked_host
from smtpsetup.cli import send
from smtpsetup.core.model import Auth, ProviderStatus, Security
from smtpsetup.providers import schema, settings
from smtpsetup.providers.table import Table, shipped_table
from smtpsetup.setup.identify import UnknownDomainError, identify

TODAY = datetime.date(2026, 11, 24)
RAW = tomllib.loads(Path(shipped_table()).read_text(encoding="utf-8"))
ROWS = Table(TODAY).all()


def test_the_shipped_table_is_valid() -> None:
    assert schema.faults(RAW) == []


@pytest.mark.slow
def test_every_row_is_found_by_each_of_its_domains_with_one_row_parsed() -> None:
    table = Table(TODAY)
    for row in ROWS:
        for domain in row.domains:
            assert table.by_domain(domain) == row


def test_the_fast_lookup_finds_no_unknown_domain() -> None:
    table = Table(TODAY)
    everything = {domain for row in ROWS for domain in row.domains}
    for number in range(1000):
        domain = f"mail{number}.example{number % 7}.{'se' if number % 2 else 'com'}"
        assert domain not in everything
        assert table.by_domain(domain) is None


KNOWN = [
    line.split("\t") for line in (Path(__file__).parent / "known_domains.tsv").read_text(encoding="utf-8").splitlines()
]
# servers where the table is right and the list of domains is not, with the reason; also in docs/providers.md
NO_SUCH_DOMAINS = {  # names in old lists that the provider does not have, or has no more
    "hotmail.ru": "not among Microsoft's domains",
    "yahoo.ru": "not among Yahoo's domains",
    "yahoo.en": "there is no top-level domain en",
    "yahoo.cn": "Yahoo's mail in China closed in 2013",
    "yahoo.com.cn": "Yahoo's mail in China closed in 2013",
}
KNOWN_BETTER = {
    "smtp.1und1.de": "1&1 mail is called IONOS now: smtp.ionos.de",
    "smtp.protonmail.ch": "addresses at Proton's own domains send through Proton Mail Bridge",
    "smtp.virgin.net": "Virgin Media has one server: smtp.virginmedia.com",
}


@pytest.mark.slow
def test_every_well_known_domain_gets_one_of_its_known_servers() -> None:
    table = Table(TODAY)
    wrong = []
    for domain, *servers in KNOWN:
        row = table.by_domain(domain)
        found = {str(server) for server in settings.servers_for(parse_address(f"a@{domain}"), row)} if row else set()
        hosts = {server.partition(":")[0] for server in servers}
        if not found & set(servers) and not hosts & set(KNOWN_BETTER) and domain not in NO_SUCH_DOMAINS:
            wrong.append((domain, servers, row and row.id, found))
    assert wrong == []


@pytest.mark.parametrize("domain", ["hotmail.se", "live.co.nz", "outlook.com.pe", "yahoo.com.vn", "live.se"])
def test_the_names_of_a_provider_in_many_countries_are_known(domain: str) -> None:
    row = Table(TODAY).by_domain(domain)
    assert row
    assert row.id == ("yahoo" if domain.startswith("yahoo") else "microsoft-personal")


@pytest.mark.parametrize(
    "domain",
    [
        "live.studio",
        "outlook.dev",
        "hotmail.con",
        "yahoo.nu",
        "live.foretag.se",
        "mylive.se",
        "yahoo.example.com",
        "live",
    ],
)
def test_a_name_that_a_provider_does_not_have_is_not_taken_for_its(domain: str) -> None:
    assert Table(TODAY).by_domain(domain) is None


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("hotnail.com", "hotmail.com"),
        ("outlok.com", "outlook.com"),
        ("iclod.com", "icloud.com"),
        ("yaho.se", "yahoo.se"),
        ("hotmail.con", "hotmail.com"),
        ("telia.cmo", "telia.com"),
    ],
)
def test_a_misspelt_domain_of_a_large_provider_has_a_suggestion(slip: str, meant: str) -> None:
    with pytest.raises(UnknownDomainError) as caught:
        identify(f"a@{slip}", Table(TODAY))
    assert caught.value.suggestion == f"a@{meant}"


@pytest.mark.slow
def test_no_domain_of_the_table_counts_as_misspelt() -> None:
    table = Table(TODAY)
    for row in ROWS:
        for domain in row.domains:
            if "*" not in domain:
                assert identify(f"a@{domain}", table).provider == row


def test_every_often_mistyped_domain_is_one_of_its_row() -> None:
    for row in ROWS:
        assert set(row.often_mistyped) <= set(row.domains)


def test_every_row_has_usable_servers_and_a_username_or_notes() -> None:
    for row in ROWS:
        name = next((name for name in row.domains if "*" not in name), "mittforetag.se")
        address = parse_address(f"namn+faktura@{name}")
        username, note = settings.username_for(address, row)
        if row.status in (ProviderStatus.UNAVAILABLE, ProviderStatus.UNKNOWN):
            assert not row.servers, row.id
            assert row.notes, row.id
            continue
        servers = settings.servers_for(address, row, "mx.example.com")
        assert servers, row.id
        assert all("{" not in server.host and checked_host(server.host) == server.host for server in servers), row.id
        assert {server.security for server in servers} <= {Security.TLS, Security.STARTTLS}, row.id
        assert all(server.security is Security.STARTTLS for server in servers if server.port == 25), row.id
        assert all(server.security is Security.TLS for server in servers if server.port == 465), row.id
        assert username is not None or row.username.label, row.id
        assert note or row.username.form == "none", row.id
        assert row.status is ProviderStatus.OK or row.enable_steps, row.id


def test_every_fact_has_a_source_and_what_is_well_supported_has_a_recent_one() -> None:
    for raw, row in zip(RAW["provider"], Table(datetime.date(2026, 11, 26)).all(), strict=True):
        assert "last_checked" not in raw, row.id
        assert row.sources, row.id
        assert not (row.confidence == "high" and row.only_suggests and row.servers), row.id
        assert row.last_checked is None or row.last_checked <= datetime.date(2026, 11, 26), row.id


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


# the addresses of the guide of 2018, with the settings of 2026: server, port, security, authentication
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
def test_every_address_of_the_2018_guide_gets_todays_settings(
    address: str, host: str, port: int, security: str, auth: Auth
) -> None:
    parsed = parse_address(address)
    row = Table(TODAY).by_domain(parsed.domain)
    assert row
    server = settings.servers_for(parsed, row)[0]
    assert (server.host, server.port, server.security) == (host, port, security)
    assert row.auth[0] is auth


@pytest.mark.parametrize(
    ("domain", "row_id"),
    [
        ("yahoo.co.jp", "yahoo-japan"),
        ("gmx.de", "gmx-de"),
        ("gmx.com", "gmx-com"),
        ("tuta.com", "tuta"),
        ("hey.com", "hey"),
        ("cox.net", "cox"),
    ],
)
def test_similar_domain_families_are_kept_apart(domain: str, row_id: str) -> None:
    row = Table(TODAY).by_domain(domain)
    assert row
    assert row.id == row_id


@pytest.mark.parametrize("row_id", ["sendgrid", "resend", "mailtrap", "sparkpost"])
def test_relays_with_a_fixed_username_have_it(row_id: str) -> None:
    words = {"sendgrid": "apikey", "resend": "resend", "mailtrap": "api", "sparkpost": "SMTP_Injection"}
    row = Table(TODAY).by_id(row_id)
    assert settings.username_for(parse_address("info@mittforetag.se"), row)[0] == words[row_id]


KNOWN_PROVIDERS = json.loads((Path(__file__).parent / "known_providers.json").read_text(encoding="utf-8"))


def test_each_researched_provider_has_its_servers_and_authentication() -> None:
    rows = {row.id: row for row in ROWS}
    for row_id, facts in KNOWN_PROVIDERS.items():
        row = rows[row_id]
        assert {f"{server.host}:{server.port}:{server.security}" for server in row.servers} == set(facts["servers"])
        assert [str(auth) for auth in row.auth if auth is not Auth.NONE] == facts["auth"], row_id
        assert row_id == "proton" or len(row.domains) >= facts["domains"], row_id
        assert row.status is not ProviderStatus.PREPARE or row.enable_steps, row_id


def test_no_limit_is_below_the_size_from_which_send_looks_it_up() -> None:
    looked_up_from = {
        "recipients_per_message": send._MANY_RECIPIENTS,
        "message_size_mb": send._LARGE / send._MEGABYTE,
        "messages_per_day": send._MANY_A_DAY,
        "recipients_per_day": send._MANY_A_DAY,
    }
    for row in ROWS:
        for key, least in looked_up_from.items():
            limit = row.limits.get(key, least)
            assert isinstance(limit, int | float)
            assert limit >= least, row.id


CORRECTED = [
    line.split("\t") for line in (Path(__file__).parent / "corrected.tsv").read_text(encoding="utf-8").splitlines()[1:]
]


def test_what_was_corrected_stays_so() -> None:
    table = Table(TODAY)
    for domain, *expected in CORRECTED:
        try:
            found = identify(f"namn@{domain}", table)
        except UnknownDomainError:
            assert expected == ["-"] * 4, domain
            continue
        assert found.provider
        server = str(found.servers[0]) if found.servers else "-"
        known = [found.provider.id, str(found.provider.status), server, ",".join(found.auth) or "-"]
        assert known == expected, domain


def test_the_term_for_a_user_name_says_which_one() -> None:
    """Or people read "the user name: user name"."""
    assert not [row.id for row in ROWS if row.username.label.casefold() in {"user name", "username"}]

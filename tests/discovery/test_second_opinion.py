"""The owner of a domain is asked beside an old or poorly supported row of the table, and after a refused login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.discovery.conftest import configured

if TYPE_CHECKING:
    from tests.conftest import Home

ROW = """
[[provider]]
id = "gamla-hotellet"
name = "Gamla Hotellet"
domains = ["{domain}"]
mx_suffixes = []
status = "{status}"
servers = {servers}
auth = {auth}
docs_url = "https://hjalp.example/smtp"
confidence = "{confidence}"
sources = [{{ at = "an old list", date = {date} }}]
username = {{ form = "address" }}
"""


def with_row(  # noqa: PLR0913  the parts of a row
    home: Home, domain: str, host: str, *, date: str = "2014-01-01", confidence: str = "low", status: str = "ok"
) -> None:
    """Give the user a row for a domain; without a host, its settings are not known."""
    servers = f'[{{ host = "{host}", port = 465, security = "tls" }}]' if host else "[]"
    text = ROW.format(
        domain=domain,
        status=status,
        servers=servers,
        auth='["password"]' if host else "[]",
        date=date,
        confidence=confidence,
    )
    home.file(".config/smtpsetup/providers.toml", text)


def identified(home: Home, domain: str, *options: str) -> dict[str, Any]:
    result: dict[str, Any] = home.run("identify", f"info@{domain}", "--json", *options).json["result"]
    return result


def test_the_owners_other_server_is_told_and_the_tables_stays_first(inside: Home) -> None:
    with_row(inside, "delegerad.se", "smtp.gammal.test")
    result = identified(inside, "delegerad.se")
    assert [server["host"] for server in result["servers"]] == ["smtp.gammal.test"]
    assert result["needs_confirmation"] is True
    assert any("--host smtp.hotellet.net" in note for note in result["notes"])
    shown = inside.run("identify", "info@delegerad.se").out
    assert "is from 2014" in shown
    assert "nothing newer confirms it" in shown


@pytest.mark.parametrize("domain", ["delegerad.se", "gammalkund.se"])  # by its own file, and by the public database
def test_an_old_row_that_somebody_confirms_today_needs_no_confirmation(inside: Home, domain: str) -> None:
    with_row(inside, domain, "smtp.hotellet.net" if domain == "delegerad.se" else "mail.gammalkund.se")
    result = identified(inside, domain)
    assert result["needs_confirmation"] is False
    assert result["source"] == ("autoconfig" if domain == "delegerad.se" else "ispdb")
    assert identified(inside, domain, "--offline")["needs_confirmation"] is True


def test_nobody_is_asked_about_a_recent_and_well_supported_row(inside: Home) -> None:
    with_row(inside, "delegerad.se", "smtp.gammal.test", date="2026-10-01", confidence="high")
    result = identified(inside, "delegerad.se")
    assert (result["source"], result["needs_confirmation"]) == ("table", False)
    assert not any("hotellet" in note for note in result["notes"])


def test_a_password_goes_to_the_server_of_an_old_row_only_after_a_confirmation(inside: Home) -> None:
    with_row(inside, "bra-egen.se", "mail.bra-egen.se", date="2014-01-01")
    run = configured(inside, "bra-egen.se")
    assert (run.code, run.json["error"]["code"]) == (78, "config.invalid")
    assert "2014" in run.json["error"]["causes"][0]
    assert "--accept-host mail.bra-egen.se" in " ".join(run.json["error"]["hints"])


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 78), (("--accept-host", "other.example"), 78), (("--accept-host", "mail.bra-egen.se"), 0)],
)
def test_naming_the_provider_does_not_confirm_the_server_of_an_old_row(
    options: tuple[str, ...], code: int, inside: Home
) -> None:
    with_row(inside, "bra-egen.se", "mail.bra-egen.se")
    run = configured(inside, "bra-egen.se", "--provider", "gamla-hotellet", "--no-verify", *options)
    assert run.code == code, run.out
    assert inside.config.exists() is (code == 0)


def test_a_saved_account_moves_to_the_server_of_an_old_row_only_after_a_confirmation(inside: Home) -> None:
    with_row(inside, "bra-egen.se", "mail.bra-egen.se")
    own = ("--host", "smtp.bra-egen.se", "--port", "465", "--security", "tls", "--no-verify")
    assert configured(inside, "bra-egen.se", *own).code == 0
    before = inside.config.read_text()
    run = configured(inside, "bra-egen.se", "--provider", "gamla-hotellet", "--no-verify")
    assert (run.code, run.json["error"]["code"]) == (78, "config.invalid")
    assert inside.config.read_text() == before


def test_a_provider_that_was_named_and_whose_settings_nobody_knows_is_refused(inside: Home) -> None:
    with_row(inside, "tom.se", "", status="unknown")
    run = configured(inside, "annan.se", "--provider", "gamla-hotellet")
    assert (run.code, run.json["error"]["code"]) == (68, "config.no-settings-found")


def test_what_anyone_can_forge_is_named_without_a_command(inside: Home) -> None:
    with_row(inside, "srv-utanfor.se", "smtp.gammal.test")
    notes = " ".join(identified(inside, "srv-utanfor.se")["notes"])
    assert "smtp.hotellet.net instead" in notes
    assert "--host" not in notes


def test_an_old_row_is_confirmed_for_the_host_that_was_named_alone(inside: Home) -> None:
    with_row(inside, "delegerad.se", "smtp.gammal.test")
    file = inside.config.with_name("providers.toml")
    other = '{ host = "smtp.hotellet.net", port = 465, security = "tls" }'
    file.write_text(file.read_text().replace('security = "tls" }]', f'security = "tls" }}, {other}]'))
    result = identified(inside, "delegerad.se")
    assert [server["host"] for server in result["servers"]] == ["smtp.gammal.test", "smtp.hotellet.net"]
    assert result["needs_confirmation"] is True


@pytest.mark.slow
def test_a_name_server_that_fails_is_told_where_the_table_does_not_know_the_settings(inside: Home) -> None:
    with_row(inside, "tom.se", "", status="unknown")
    run = inside.run("identify", "info@tom.se", "--json", SMTPSETUP_NAMESERVER="127.0.0.1:1")
    assert (run.code, run.json["error"]["code"]) == (75, "dns.temporary")


def test_offline_asks_nobody_after_a_refused_login(inside: Home) -> None:
    with_row(inside, "flyttad.se", "smtp.flyttad.se")
    run = configured(inside, "flyttad.se", "--accept-host", "smtp.flyttad.se", "--offline")
    assert run.json["error"]["code"] == "auth.bad-credentials"
    assert not any("autoconfig" in hint for hint in run.json["error"]["hints"])


def test_after_a_refused_login_the_owner_is_asked_too(inside: Home) -> None:
    with_row(inside, "flyttad.se", "smtp.flyttad.se")
    run = configured(inside, "flyttad.se", "--accept-host", "smtp.flyttad.se")
    assert (run.code, run.json["error"]["code"]) == (77, "auth.bad-credentials")
    assert "autoconfig.flyttad.se" in run.json["error"]["hints"][0]
    assert "--host smtp.hotellet.net --port 465 --security tls" in run.json["error"]["hints"][0]


def test_settings_that_the_table_does_not_know_are_searched_for(inside: Home) -> None:
    with_row(inside, "delegerad.se", "", status="unknown")
    result = identified(inside, "delegerad.se")
    assert (result["source"], result["servers"][0]["host"]) == ("autoconfig", "smtp.hotellet.net")


def test_a_known_provider_is_named_although_its_domain_is_gone(inside: Home) -> None:
    with_row(inside, "finns-inte.se", "", status="unknown")
    run = inside.run("identify", "info@finns-inte.se", "--json")
    assert (run.code, run.json["error"]["code"]) == (68, "config.no-settings-found")
    assert run.json["result"]["notes"] == ["There is no domain finns-inte.se."]


@pytest.mark.parametrize("options", [(), ("--offline",)])
def test_a_provider_whose_settings_nobody_knows_is_named(inside: Home, options: tuple[str, ...]) -> None:
    with_row(inside, "tom.se", "", status="unknown")
    run = inside.run("identify", "info@tom.se", "--json", *options)
    assert (run.code, run.json["error"]["code"]) == (68, "config.no-settings-found")
    assert run.json["result"]["provider"] == {"id": "gamla-hotellet", "name": "Gamla Hotellet"}
    assert (run.json["result"]["status"], run.json["result"]["servers"]) == ("unknown", [])
    assert run.json["error"]["url"] == "https://hjalp.example/smtp"
    assert not any("--provider" in hint for hint in run.json["error"]["hints"])

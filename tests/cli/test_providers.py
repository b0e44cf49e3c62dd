"""`providers`: the table is listed, shown and validated, and every row has its sources."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from smtpsetup.providers.table import Table, shipped_table
from tests.unit.test_providers import ROW, TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home

LINE_KEYS = {"id", "name", "domains", "servers", "auth", "status", "confidence", "last_checked", "file"}
ROW_KEYS = LINE_KEYS | {
    "mx_suffixes",
    "username",
    "enable",
    "limits",
    "from_policy",
    "notes",
    "refusals",
    "docs_url",
    "sources",
}


def test_the_list_has_every_row_and_can_be_filtered(home: Home) -> None:
    everything = home.run("providers", "list", "--json").json["result"]
    assert len(everything) == len(Table(TODAY).all())
    assert {frozenset(row) for row in everything} == {frozenset(LINE_KEYS)}
    assert {row["id"] for row in home.run("providers", "list", "live.se", "--json").json["result"]} == {
        "microsoft-personal"
    }
    assert {
        row["status"] for row in home.run("providers", "list", "--status", "unavailable", "--json").json["result"]
    } == {"unavailable"}
    assert all(
        "oauth2" in row["auth"] for row in home.run("providers", "list", "--auth", "oauth2", "--json").json["result"]
    )
    assert "mailcluster.loopia.se:465 TLS" in home.run("providers", "list", "loopia").out


@pytest.mark.parametrize("name", ["one-com", "One.com", "ONE-COM"])
def test_a_row_is_shown_whole_with_its_sources(home: Home, name: str) -> None:
    result = home.run("providers", "show", name, "--json").json["result"]
    assert set(result) == ROW_KEYS
    assert result["id"] == "one-com"
    assert result["file"] == shipped_table()
    shown = home.run("providers", "show", name).out
    assert result["sources"][0]["at"] in shown
    assert result["last_checked"] == max(one["date"] for one in result["sources"] if one["date"])


@pytest.mark.parametrize(
    ("age", "confidence", "expected"),
    [
        (400, "high", "it may have changed since"),
        (1, "high", "Checked"),
        (1, "medium", "sources were few"),
        (1, "low", "one old source only"),
    ],
)
def test_identify_shows_the_age_and_confidence_of_a_row(home: Home, age: int, confidence: str, expected: str) -> None:
    day = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=age)
    home.file(
        ".config/smtpsetup/providers.toml",
        ROW.replace("2026-11-24", day.isoformat()).replace('"high"', f'"{confidence}"'),
    )
    shown = home.run("identify", "a@example.com", "--more").out
    assert expected in shown
    assert (f"Source of {day.year}" if age > 365 else day.strftime("%Y-%m")) in shown


def test_a_provider_without_smtp_is_shown_with_its_notes(home: Home) -> None:
    assert "no SMTP" in home.run("providers", "show", "tuta").out


def test_an_unknown_provider_is_exit_68(home: Home) -> None:
    done = home.run("providers", "show", "nobody", "--json")
    assert (done.code, done.json["error"]["code"]) == (68, "config.no-settings-found")


def test_a_row_of_the_users_table_names_its_file(home: Home) -> None:
    path = home.file(".config/smtpsetup/providers.toml", ROW)
    assert home.run("providers", "show", "my-host", "--json").json["result"]["file"] == str(path)
    assert home.run("identify", "a@example.com", "--json").json["result"]["servers"][0]["host"] == "smtp.example.com"


def test_the_users_row_takes_precedence_over_the_systems(tmp_path: Path) -> None:
    system, own = tmp_path / "system.toml", tmp_path / "own.toml"
    system.write_text(ROW + ROW.replace("my-host", "other").replace("example.com", "example.org"))
    own.write_text(ROW.replace("My Host", "Mine"))
    table = Table(TODAY, own_files=(str(system), str(tmp_path / "missing.toml"), str(own)))
    found = table.by_domain("example.com")
    assert found
    assert (found.name, found.file) == ("Mine", str(own))
    assert table.by_domain("example.org")
    assert [row.id for row in table.all()].count("my-host") == 1


def test_validation_reports_all_errors_together_and_changes_nothing(home: Home) -> None:
    faulty = ROW.replace("port = 465", "port = 465, prt = 1").replace(
        'confidence = "high"', 'confidence = "none"'
    ) + ROW.replace('name = "My Host"\n', "")
    path = home.file(".config/smtpsetup/providers.toml", faulty)
    done = home.run("providers", "validate", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    faults = done.json["result"]["files"][0]["faults"]
    assert len(faults) == 3
    assert {word for word in ("prt", "confidence", "name") if any(word in fault for fault in faults)} == {
        "prt",
        "confidence",
        "name",
    }
    assert path.read_text() == faulty
    assert home.run("providers", "validate", shipped_table(), "--json").json["result"]["files"][0]["faults"] == []
    assert home.run("providers", "validate", "missing.toml").code == 78


def test_a_repeated_id_and_an_account_with_an_unknown_provider_are_errors(home: Home) -> None:
    home.file("table.toml", ROW + ROW.replace("example.com", "example.org"))
    assert "id" in home.run("providers", "validate", "table.toml", "--json").json["result"]["files"][0]["faults"][0]
    account = '[accounts.a]\naddress = "a@x.se"\nhost = "x.se"\nport = 465\nsecurity = "tls"\nprovider = "gone"\n'
    home.file(".config/smtpsetup/config.toml", account)
    done = home.run("providers", "validate", "--json")
    assert done.code == 78
    assert "gone" in done.json["error"]["causes"][0]
    home.file(".config/smtpsetup/config.toml", account.replace("gone", "one-com"))
    assert home.run("providers", "validate").code == 0


def test_a_port_that_does_not_fit_the_security_is_an_error(home: Home) -> None:
    home.file("table.toml", ROW.replace('security = "tls"', 'security = "starttls"'))
    done = home.run("providers", "validate", "table.toml", "--json")
    assert "465" in done.json["result"]["files"][0]["faults"][0]


def test_without_a_user_table_validate_shows_its_path(home: Home) -> None:
    done = home.run("providers", "validate")
    assert done.code == 0
    assert ".config/smtpsetup/providers.toml" in done.out

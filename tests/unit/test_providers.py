"""The provider table: lookup by domain, id and host; dated notes; errors that name row and key."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.providers.settings import servers_for
from smtpsetup.providers.table import Table, shipped_table
from smtpsetup.setup.identify import from_row

if TYPE_CHECKING:
    from smtpsetup.providers.row import Provider

TODAY = datetime.date(2026, 11, 24)
ROW = """
[[provider]]
id = "my-host"
name = "My Host"
domains = ["example.com"]
mx_suffixes = []
status = "ok"
servers = [{ host = "smtp.{domain}", port = 465, security = "tls" }]
auth = ["password"]
docs_url = ""
confidence = "high"
sources = [{ at = "https://help.example.com", date = 2026-11-24 }]

[provider.username]
form = "address"
"""


@pytest.fixture
def table() -> Table:
    return Table(TODAY)


def own_table(tmp_path: Path, text: str) -> Table:
    path = tmp_path / "providers.toml"
    path.write_text(text)
    return Table(TODAY, own_files=(str(path),))


def test_a_provider_is_found_by_domain_id_and_server(table: Table) -> None:
    for found in (
        table.by_domain("live.se"),
        table.by_id("microsoft-personal"),
        table.by_server_host("smtp-mail.outlook.com"),
    ):
        assert found
        assert found.id == "microsoft-personal"
    assert table.by_domain("mittforetag.se") is None
    assert table.by_id("nobody") is None


def test_a_domain_that_is_only_named_elsewhere_in_a_row_is_not_found(table: Table) -> None:
    row = next(row for row in table.all() if row.mx_suffixes and row.mx_suffixes[0] not in row.domains)
    assert table.by_domain(row.mx_suffixes[0]) != row


@pytest.mark.parametrize(
    ("day", "expected", "gone"),
    [(datetime.date(2026, 12, 31), "until", "from"), (datetime.date(2027, 1, 1), "from", "until")],
)
def test_dated_notes_are_shown_only_before_or_after_their_date(day: datetime.date, expected: str, gone: str) -> None:
    import tomllib

    raw = tomllib.loads(Path(shipped_table()).read_text())["provider"]
    dated = {
        key: [note["en"] for note in row["notes"] if key in note]
        for row in raw
        if row["id"] == "microsoft365"
        for key in ("until", "from")
    }
    assert dated["until"]
    assert dated["from"]
    row = Table(day).by_id("microsoft365")
    assert row
    assert set(dated[expected]) <= set(row.notes)
    assert not set(dated[gone]) & set(row.notes)


def test_a_users_own_row_adds_to_the_table(tmp_path: Path) -> None:
    table = own_table(tmp_path, ROW)
    found = table.by_domain("example.com")
    assert found
    assert (found.name, found.status, found.auth) == ("My Host", ProviderStatus.OK, (Auth.PASSWORD,))
    assert table.by_domain("live.se")
    assert table.all()[0].id == "my-host"


def test_a_users_own_row_replaces_the_shipped_one_of_that_id(tmp_path: Path) -> None:
    table = own_table(tmp_path, ROW.replace("my-host", "microsoft-personal"))
    assert table.by_domain("live.se") is None
    assert [row.id for row in table.all()].count("microsoft-personal") == 1


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('id = "my-host"', "", "id"),
        ('id = "my-host"', 'id = "My Host"', "id"),
        ("port = 465", "port = 0", "port"),
        ("port = 465", 'port = "465"', "port"),
        ("port = 465", "port = true", "port"),
        ('security = "tls"', 'security = "none"', "security"),
        ('security = "tls"', 'security = "ssl"', "security"),
        ("port = 465", "prt = 465", "prt"),
        ('domains = ["example.com"]', 'domains = ["Example.com"]', "domains"),
        ('domains = ["example.com"]', "domains = [1]", "domains"),
        ('domains = ["example.com"]', 'domains = ["!example.com"]', "domains"),
        ("mx_suffixes = []", 'mx_suffixes = ["*.example.com"]', "mx_suffixes"),
        ('host = "smtp.{domain}"', 'host = "{mx}"', "MX"),
        ('domains = ["example.com"]', 'domains = "example.com"', "domains"),
        ('status = "ok"', 'status = "fine"', "status"),
        ('status = "ok"', 'status = "prepare"', "enable"),
        ('auth = ["password"]', 'auth = ["passwort"]', "auth"),
        ('auth = ["password"]', "auth = []", "auth"),
        ("date = 2026-11-24", 'date = "2026-11-24"', "sources[1].date"),
        ("date = 2026-11-24", "date = 2026-11-24T10:00:00", "sources[1].date"),
        ("date = 2026-11-24", "dated = 2026-11-24", "sources[1].dated"),
        ('confidence = "high"', 'confidence = "high"\nlast_checked = 2026-11-24', "last_checked"),
        ('confidence = "high"', 'confidence = "high"\nhas_closed = true', "unavailable"),
        ('status = "ok"', 'status = "unknown"', "unknown"),
        ('confidence = "high"', 'confidence = "none"', "confidence"),
        ('form = "address"', 'form = "fixed"', "username.value"),
        ('form = "address"', 'form = "own"', "username.label"),
        ('form = "address"', 'form = "address"\nnote = { en = "x" }', "sv"),
        ('form = "address"', 'form = "address"\nnote = { en = "x", sv = "" }', "sv"),
        ('confidence = "high"', 'confidence = "high"\ncolour = 1', "colour"),
    ],
)
def test_an_error_in_a_row_names_its_row_and_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(SmtpsetupError) as caught:
        own_table(tmp_path, ROW.replace(old, new, 1))
    assert caught.value.code == "config.invalid"
    assert named in caught.value.message
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize(
    "text", ["[[provider]\n", "provider = 1\n", "other = 1\n", "provider = [1]\n", "[provider]\nid = 1\n", "\x00"]
)
def test_an_invalid_table_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(SmtpsetupError) as caught:
        own_table(tmp_path, text)
    assert "providers.toml" in caught.value.message


def test_an_error_for_bad_toml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(SmtpsetupError) as caught:
        own_table(tmp_path, ROW + "port = = 3\n")
    assert "line" in caught.value.message


def test_one_domain_in_two_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SmtpsetupError, match=r"example\.com"):
        own_table(tmp_path, ROW + ROW.replace("my-host", "other-host"))


def test_an_own_table_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "providers.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SmtpsetupError):
        Table(TODAY, own_files=(str(path),))
    with pytest.raises(SmtpsetupError):
        Table(TODAY, own_files=(str(tmp_path),))


OWN_ROW = """
[[provider]]
id = "{id}"
name = "{id}"
domains = []
mx_suffixes = ["{suffix}"]
signs = [{{ type = "CNAME", name = "mail", value = "{suffix}" }}]
status = "ok"
servers = [{{ host = "smtp.{id}.test", port = 465, security = "tls" }}]
auth = ["password"]
docs_url = ""
confidence = "high"
sources = [{{ at = "here" }}]
[provider.username]
form = "address"
"""


def test_a_users_rows_say_which_hosts_are_not_the_providers_own(tmp_path: Path) -> None:
    table = own_table(
        tmp_path,
        OWN_ROW.format(id="hotel", suffix="hotel.test").replace('["hotel.test"', '["hotel.test", "!clients.hotel.test"')
        + OWN_ROW.format(id="mine", suffix="clients.your-server.de"),
    )
    found = {host: table.by_mx_host(host) for host in ("mx.hotel.test", "a.clients.hotel.test")}
    assert {host: row and row.id for host, row in found.items()} == {
        "mx.hotel.test": "hotel",
        "a.clients.hotel.test": None,
    }
    mine = table.by_mx_host("a.clients.your-server.de")
    assert mine
    assert mine.id == "mine"


def test_a_server_named_by_the_mx_is_never_sure(table: Table) -> None:
    row = table.by_id("home-pl")
    assert row
    assert from_row(parse_address("info@shop.home.pl"), row).is_unconfirmed("evil.home.pl")


def test_an_mx_host_matches_the_longest_suffix_and_the_users_rows_first(tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(
        OWN_ROW.format(id="wide", suffix="a.test")
        + OWN_ROW.format(id="narrow", suffix="mx.a.test")
        + OWN_ROW.format(id="mine", suffix="one.com")
    )
    file.chmod(0o600)
    table = Table(TODAY, own_files=(str(file),))
    found = {
        host: row.id
        for host in ("1.mx.a.test", "2.a.test", "mx1.one.com", "mxx.a.test", "aspmx.l.google.com")
        if (row := table.by_mx_host(host))
    }
    assert found == {
        "1.mx.a.test": "narrow",
        "2.a.test": "wide",
        "mx1.one.com": "mine",
        "mxx.a.test": "wide",
        "aspmx.l.google.com": "google-workspace",
    }
    assert table.by_mx_host("ba.test") is None
    assert {"wide", "narrow", "mine", "microsoft365"} <= {row.id for row in table.with_signs()}
    mine = table.by_server_host("smtp.mine.test")
    assert mine
    assert mine.id == "mine"


def test_a_server_that_two_rows_share_belongs_to_the_one_for_the_address() -> None:
    table = Table(TODAY)
    rows = [table.by_server_host("smtp.gmail.com", domain) for domain in ("gmail.com", "mittforetag.se")]
    assert [row.id for row in rows if row] == ["gmail", "google-workspace"]
    assert table.by_server_host("l.google.com") is None


DATED = ROW.replace('sources = [{ at = "https://help.example.com", date = 2026-11-24 }]', "sources = [{sources}]")


def dated(tmp_path: Path, sources: str, today: datetime.date) -> Provider:
    """The row with these sources, on a day."""
    path = tmp_path / "providers.toml"
    path.write_text(DATED.replace("{sources}", sources))
    row = Table(today, own_files=(str(path),)).by_id("my-host")
    assert row
    return row


def test_a_row_was_last_checked_when_its_newest_source_was_written(tmp_path: Path) -> None:
    sources = '{ at = "a", date = 2021-03-01 }, { at = "b", date = 2024-05-06 }, { at = "c" }'
    assert dated(tmp_path, sources, TODAY).last_checked == datetime.date(2024, 5, 6)
    assert dated(tmp_path, '{ at = "c" }', TODAY).last_checked is None


@pytest.mark.parametrize(
    ("sources", "days", "is_aged", "only_suggests"),
    [
        ("date = 2024-01-01", 365, False, False),
        ("date = 2024-01-01", 366, True, False),
        ("date = 2024-01-01", 3 * 365, True, False),
        ("date = 2024-01-01", 3 * 365 + 1, True, True),
        ("date = 2014-01-01, still_listed = 2024-01-01", 3 * 365, True, False),
        ("date = 2014-01-01, still_listed = 2024-01-01", 3 * 365 + 1, True, True),
        ('note = "no date"', 1, True, True),
    ],
)
def test_a_row_grows_old_with_the_clock(
    tmp_path: Path,
    sources: str,
    days: int,
    is_aged: bool,  # noqa: FBT001  a parameter of the test
    only_suggests: bool,  # noqa: FBT001  as above
) -> None:
    row = dated(tmp_path, f'{{ at = "a", {sources} }}', datetime.date(2024, 1, 1) + datetime.timedelta(days=days))
    assert (row.is_aged, row.only_suggests) == (is_aged, only_suggests)


def test_a_row_of_the_users_own_without_sources_is_trusted(tmp_path: Path) -> None:
    assert not dated(tmp_path, "", TODAY).only_suggests


def test_hosts_where_customers_run_their_own_servers_are_not_the_providers(table: Table) -> None:
    own = table.by_mx_host("www99.your-server.de")
    assert own
    assert own.id == "hetzner"
    assert table.by_mx_host("static.1.2.3.4.clients.your-server.de") is None


def test_a_server_that_the_mx_names_is_known_only_with_the_mx(table: Table) -> None:
    row = table.by_mx_host("w0123456.kasserver.com")
    assert row
    address = parse_address("info@mittforetag.se")
    assert [server.host for server in servers_for(address, row, "w0123456.kasserver.com")][:1] == [
        "w0123456.kasserver.com"
    ]
    assert servers_for(address, row) == ()

"""The shared outbox in the configuration: what its URL may say, and what it must."""

from __future__ import annotations

import pytest

from smtpsetup.config.outbox_settings import OutboxSettings, outbox_settings, parameters
from smtpsetup.config.secret_source import SecretSource, Store


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLROOTCERT", "SMTPSETUP_OUTBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql:///mail", {"dbname": "mail"}),
        ("postgresql://", {}),
        (
            "postgres://mail@localhost:5433/mail",
            {"host": "localhost", "port": "5433", "user": "mail", "dbname": "mail"},
        ),
        ("postgresql://[::1]/m%20x", {"host": "::1", "dbname": "m x"}),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/mail", {"host": "/var/run/postgresql", "dbname": "mail"}),
        ("postgresql:///mail?host=/tmp&user=a", {"dbname": "mail", "host": "/tmp", "user": "a"}),
        ("postgresql://localhost/mail?sslmode=disable", {"host": "localhost", "dbname": "mail", "sslmode": "disable"}),
    ],
)
def test_a_server_on_this_machine_needs_no_tls(url: str, found: dict[str, str]) -> None:
    assert parameters(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.com/mail",
        "postgresql://localhost,db.example.com/mail",
        "postgresql:///mail?host=db.example.com",
        "postgresql://localhost/mail?hostaddr=192.0.2.1",
        "postgresql://localhost.example.com/mail",
        "postgresql:///mail?service=mail",
        "postgresql://127.0.0.1.nip.io/mail",
        "postgresql://%2Ftmp,192.0.2.1/mail",
    ],
)
def test_another_machine_needs_verified_tls(url: str) -> None:
    assert parameters(url)["sslmode"] == "verify-full"
    assert parameters(url)["sslrootcert"] == "system"
    weaker = f"{url}{'&' if '?' in url else '?'}sslmode=require"
    with pytest.raises(ValueError, match="verify-full"):
        parameters(weaker)


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGSERVICE"])
def test_a_machine_that_the_environment_names_needs_verified_tls(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "192.0.2.1")
    assert parameters("postgresql:///mail")["sslmode"] == "verify-full"


def test_authorities_of_ones_own_are_used(tmp_path: object) -> None:
    url = "postgresql://db.example.com/mail?sslrootcert=/etc/ca.pem"
    assert parameters(url)["sslrootcert"] == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://mail:hemligt@localhost/mail", "password"),
        ("postgresql:///mail?password=hemligt", "password"),
        ("postgresql:///mail?sslpassword=hemligt", "password"),
        ("postgresql:///mail?options=-csearch_path%3Dx", "options"),
        ("postgresql:///mail?sslmode", "cannot be read"),
        ("postgresql://localhost:hemligt/mail", "cannot be read"),
        ("mysql://localhost/mail", "begin with"),
        ("mail", "begin with"),
        ("postgresql:///mail#x", "not allowed"),
    ],
)
def test_a_url_with_a_password_or_what_is_not_known_is_refused_and_not_repeated(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        outbox_settings({"outbox": url})
    assert "hemligt" not in str(caught.value)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPSETUP_OUTBOX", "postgresql:///other")
    assert outbox_settings({"outbox": "postgresql:///mail"}).url == "postgresql:///other"


def test_the_shown_url_has_no_parameters() -> None:
    settings = OutboxSettings("postgresql://mail@db.example.com:5433/mail?passfile=/root/secret")
    assert settings.shown == "postgresql://mail@db.example.com:5433/mail"


def test_secrets_are_in_the_stores_of_accounts() -> None:
    settings = outbox_settings(
        {
            "outbox": "postgresql:///mail",
            "outbox_secret": {"store": "env", "variable": "DB"},
            "outbox_key": {"store": "file", "path": "/key"},
            "keep_sent": 3,
        }
    )
    assert settings.secret == SecretSource(Store.ENV, "DB")
    assert settings.key == SecretSource(Store.FILE, "/key")
    assert settings.keep_sent == 3
    assert outbox_settings({}) == OutboxSettings()


@pytest.mark.parametrize("days", ["14", True, -1, 1e9])
def test_only_a_number_of_days_can_be_kept(days: object) -> None:
    with pytest.raises(ValueError, match="keep_sent"):
        outbox_settings({"keep_sent": days})

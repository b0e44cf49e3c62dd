"""`identify`: the exact JSON, suggestions for misspelt domains, unknown domains, and hostile input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import ERROR_KEYS

if TYPE_CHECKING:
    from tests.conftest import Home

IDENTIFY_KEYS = {
    "address",
    "domain",
    "provider",
    "source",
    "confidence",
    "servers",
    "username",
    "username_note",
    "auth",
    "status",
    "enable",
    "limits",
    "notes",
    "docs_url",
    "last_checked",
    "needs_confirmation",
}


def test_live_se_is_outlook_and_takes_no_password(home: Home) -> None:
    done = home.run("identify", "namn@live.se")
    assert done.code == 0
    assert done.err == ""
    assert "Outlook.com" in done.out
    assert "smtp-mail.outlook.com:587 STARTTLS" in done.out
    assert "OAuth2 only; a password does not work here" in done.out


def test_the_json_of_identify_has_the_documented_keys(home: Home) -> None:
    document = home.run("identify", "Namn+x@LIVE.se", "--json", "--offline").json
    assert set(document) == {"schema", "command", "ok", "result"}
    assert (document["schema"], document["command"], document["ok"]) == (1, "identify", True)
    result = document["result"]
    assert set(result) == IDENTIFY_KEYS
    assert result["servers"][0] == {"host": "smtp-mail.outlook.com", "port": 587, "security": "starttls"}
    assert (result["auth"], result["username"], result["domain"]) == (["oauth2"], "Namn@live.se", "live.se")


def test_a_provider_without_smtp_is_an_error_with_a_result(home: Home) -> None:
    done = home.run("identify", "namn@tuta.com", "--json")
    assert done.code == 69
    assert done.json["error"]["code"] == "config.provider-without-smtp"
    assert set(done.json["error"]) == ERROR_KEYS
    assert set(done.json["result"]) == IDENTIFY_KEYS
    assert done.json["result"]["status"] == "unavailable"


@pytest.mark.parametrize(
    ("address", "meant"), [("namn@gmial.com", "namn@gmail.com"), ("namn@hotnail.com", "namn@hotmail.com")]
)
def test_a_misspelt_domain_is_answered_with_a_suggestion(home: Home, address: str, meant: str) -> None:
    done = home.run("identify", address, "--json")
    assert done.code == 68
    assert meant in done.json["error"]["hints"][0]


def test_an_unknown_domain_is_answered_with_hints(home: Home) -> None:
    done = home.run("identify", "info@mittföretag.example", "--json")
    assert (done.code, done.json["error"]["code"]) == (68, "config.no-settings-found")
    assert "xn--mittfretag-icb.example" in done.json["error"]["message"]
    assert any("--host" in hint for hint in done.json["error"]["hints"])


def test_a_malformed_address_has_a_caret_under_the_error(home: Home) -> None:
    done = home.run("identify", "namn@@live.se")
    assert done.code == 65
    lines = done.err.splitlines()
    row = next(number for number, line in enumerate(lines) if line.strip() == "^")
    assert lines[row - 1][lines[row].index("^")] == "@"
    assert lines[row].index("^") - lines[row - 1].index("namn") == 5


@pytest.mark.parametrize("address", ["\x1b[31m@live.se", "a\nb@live.se", "namn@\u202elive.se"])
def test_control_characters_in_an_address_are_escaped_for_the_terminal(home: Home, address: str) -> None:
    done = home.run("identify", address)
    assert done.code == 65
    assert done.err.replace("\n", "").isprintable()


def test_an_error_in_the_users_table_names_file_and_key(home: Home) -> None:
    home.file(".config/smtpsetup/providers.toml", '[[provider]]\nid = "x"\n')
    done = home.run("identify", "namn@live.se", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert "providers.toml" in done.json["error"]["message"]
    assert "name" in done.json["error"]["message"]


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"SMTPSETUP_LANG": "sv"}, "Leverantör"),
        ({"LANG": "sv_SE.UTF-8"}, "Leverantör"),
        ({"LC_ALL": "de_DE"}, "Provider"),
    ],
)
def test_output_is_in_the_language_of_the_locale(home: Home, env: dict[str, str], word: str) -> None:
    assert word in home.run("identify", "namn@live.se", **env).out

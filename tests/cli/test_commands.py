"""Whole commands as others run them: exit codes, the exact JSON, and no question where nobody sits."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

IDENTIFY_KEYS = {
    *("address", "domain", "provider", "source", "confidence", "servers", "username", "username_note", "auth", "status", "enable"),
    *("limits", "notes", "docs_url", "last_checked", "needs_confirmation"),
}
ACCOUNT_KEYS = {
    *("account", "address", "from_name", "provider", "host", "port", "security", "auth", "username", "secret_store", "default", "verified"),
}
TEST_KEYS = {"account", "server", "stages", "capabilities", "tls", "message_id", "to", "working_alternative"}
SEND_KEYS = {"account", "message_id", "accepted", "refused", "queued", "outbox_id", "reply"}
ERROR_KEYS = {"code", "stage", "message", "causes", "hints", "url", "retry", "reply"}


# identify


def test_identify_says_that_live_se_is_outlook_and_takes_no_password(home: Home) -> None:
    done = home.run("identify", "namn@live.se")
    assert done.code == 0
    assert done.err == ""
    assert "Outlook.com" in done.out
    assert "smtp-mail.outlook.com:587 STARTTLS" in done.out
    assert "OAuth2 only; a password does not work here" in done.out


def test_identify_has_the_contracts_keys(home: Home) -> None:
    document = home.run("identify", "Namn+x@LIVE.se", "--json", "--offline").json
    assert set(document) == {"schema", "command", "ok", "result"}
    assert (document["schema"], document["command"], document["ok"]) == (1, "identify", True)
    result = document["result"]
    assert set(result) == IDENTIFY_KEYS
    assert result["servers"][0] == {"host": "smtp-mail.outlook.com", "port": 587, "security": "starttls"}
    assert (result["auth"], result["username"], result["domain"]) == (["oauth2"], "Namn@live.se", "live.se")


def test_a_provider_without_smtp_is_an_error_with_its_result(home: Home) -> None:
    done = home.run("identify", "namn@tuta.com", "--json")
    assert done.code == 69
    assert done.json["error"]["code"] == "config.provider-without-smtp"
    assert set(done.json["error"]) == ERROR_KEYS
    assert set(done.json["result"]) == IDENTIFY_KEYS
    assert done.json["result"]["status"] == "unavailable"


@pytest.mark.parametrize(("address", "meant"), [("namn@gmial.com", "namn@gmail.com"), ("namn@hotnail.com", "namn@hotmail.com")])
def test_a_slip_of_the_keyboard_is_pointed_out_and_nothing_is_asked(home: Home, address: str, meant: str) -> None:
    done = home.run("identify", address, "--json")
    assert done.code == 68
    assert meant in done.json["error"]["hints"][0]


def test_an_unknown_domain_gets_what_can_be_done_now(home: Home) -> None:
    done = home.run("identify", "info@mittföretag.example", "--json")
    assert (done.code, done.json["error"]["code"]) == (68, "config.no-settings-found")
    assert "xn--mittfretag-icb.example" in done.json["error"]["message"]
    assert any("--host" in hint for hint in done.json["error"]["hints"])


def test_a_malformed_address_has_a_caret_under_the_fault(home: Home) -> None:
    done = home.run("identify", "namn@@live.se")
    assert done.code == 65
    lines = done.err.splitlines()
    row = next(number for number, line in enumerate(lines) if line.strip() == "^")
    assert lines[row - 1][lines[row].index("^")] == "@"
    assert lines[row].index("^") - lines[row - 1].index("namn") == 5


@pytest.mark.parametrize("address", ["\x1b[31m@live.se", "a\nb@live.se", "namn@\u202elive.se"])
def test_control_characters_in_an_address_reach_no_terminal(home: Home, address: str) -> None:
    done = home.run("identify", address)
    assert done.code == 65
    assert done.err.replace("\n", "").isprintable()


def test_a_broken_own_table_is_an_error_that_names_file_and_key(home: Home) -> None:
    home.file(".config/smtpsetup/providers.toml", '[[provider]]\nid = "x"\n')
    done = home.run("identify", "namn@live.se", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert "providers.toml" in done.json["error"]["message"]
    assert "name" in done.json["error"]["message"]


@pytest.mark.parametrize(
    ("env", "word"), [({"SMTPSETUP_LANG": "sv"}, "Leverantör"), ({"LANG": "sv_SE.UTF-8"}, "Leverantör"), ({"LC_ALL": "de_DE"}, "Provider")]
)
def test_people_are_spoken_to_in_their_language(home: Home, env: dict[str, str], word: str) -> None:
    assert word in home.run("identify", "namn@live.se", **env).out


# configure, test, send


def test_the_main_job_from_an_address_to_a_mail(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    done = home.configure(facts, "--from-name", "Mitt Företag AB", "--json")
    assert done.code == 0, done.err
    assert set(done.json["result"]) == ACCOUNT_KEYS
    assert (done.json["result"]["verified"], done.json["result"]["default"], done.json["result"]["secret_store"]) == (True, True, "file")
    assert home.config.stat().st_mode & 0o777 == 0o600

    done = home.run("test", "--json")
    assert done.code == 0
    assert set(done.json["result"]) == TEST_KEYS
    assert [stage["stage"] for stage in done.json["result"]["stages"]] == [
        *("dns", "connect", "tls", "greeting", "ehlo", "auth", "mail", "rcpt", "data", "quit"),
    ]
    assert set(done.json["result"]["stages"][0]) == {"stage", "status", "ms", "detail", "reply"}
    assert set(done.json["result"]["tls"]) == {"version", "cipher", "not_after", "issuer"}

    done = home.run("send", "asa@example.com", "-s", "Hej", stdin="Hej Åsa!\n")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = home.run("send", "--to", "asa@example.com", "--body", "x", "--json")
    assert set(done.json["result"]) == SEND_KEYS
    assert [mail.subject for mail in sandbox.mails] == ["Test mail from smtpsetup: sending works", "Hej", ""]
    assert sandbox.mails[1].text == "Hej Åsa!"


def test_a_refused_login_saves_nothing(home: Home, facts: SandboxFacts) -> None:
    done = home.configure(facts, "--json", password="wrong")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.bad-credentials")
    assert not home.config.exists()


def test_a_change_that_fails_leaves_the_account_as_it_was(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    before = home.config.read_bytes()
    done = home.run("configure", "info@example.com", "--port", str(facts.starttls_port), "--security", "tls", "--json")
    assert (done.code, done.json["error"]["code"]) == (69, "tls.not-spoken")
    assert home.config.read_bytes() == before
    done = home.run("configure", "info@example.com", "--port", str(facts.starttls_port), "--security", "starttls", "--json")
    assert done.code == 0
    assert done.json["result"]["port"] == facts.starttls_port
    assert done.json["result"]["secret_store"] == "file"


def test_no_verify_saves_without_a_login_and_test_proves_it_later(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts, "--no-verify", "--json").json["result"]["verified"] is False
    assert home.run("test", "--login-only", "--json").json["result"]["message_id"] is None
    assert home.run("accounts", "show", "--json").json["result"]["verified"] is True


def test_a_test_that_goes_well_is_a_success_also_where_nothing_can_be_written(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts, "--no-verify")
    done = replace(home, disk_is_full=True).run("test", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    assert "could not be saved" in done.err


def test_a_login_that_moves_nothing_replaces_the_password_where_it_is(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    (home.path / "password").write_text("old\n")
    done = home.run("login", "--password-stdin", "--json", stdin=PASSWORD)
    assert done.json["result"]["secret_store"] == "file"
    assert (home.path / "password").read_text() == PASSWORD + "\n"


def test_a_password_command_is_run_as_cron_will_run_it(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("elsewhere/mail-password", PASSWORD)
    done = replace(home, path=home.path / "elsewhere").run("login", "--password-command", "cat mail-password", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.command-failed")
    assert home.run("login", "--password-command", f"cat {home.path}/elsewhere/mail-password").code == 0


def test_a_terminal_that_lacks_letters_gets_their_numbers(home: Home) -> None:
    done = home.run("identify", "namn@gmail.com", PYTHONIOENCODING="ascii", SMTPSETUP_LANG="sv")
    assert done.code == 0
    document = home.run("identify", "n@mindomän.example", "--json", PYTHONIOENCODING="ascii").json
    assert "mindomän" in document["error"]["message"]


def test_a_slip_in_a_commands_name_gets_the_one_that_is_meant(home: Home) -> None:
    assert "send" in home.run("sned", "a@b.se").err


def test_a_systemd_credential_can_be_set_up_outside_its_unit_and_works_inside(home: Home, facts: SandboxFacts) -> None:
    arguments = ("configure", "a@example.com", "--host", "localhost", "--port", str(facts.tls_port), "--security", "tls", "--ca-file", facts.ca_file)
    done = home.run(*arguments, "--systemd-credential", "mail", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert any("--no-verify" in hint for hint in done.json["error"]["hints"])
    assert home.run(*arguments, "--systemd-credential", "mail", "--no-verify").code == 0
    home.file("credentials/mail", PASSWORD)
    assert home.run("test", "--json", CREDENTIALS_DIRECTORY=str(home.path / "credentials")).json["ok"] is True


def test_where_only_oauth2_works_configure_says_so_before_it_asks_for_a_password(home: Home) -> None:
    done = home.run("configure", "namn@live.se", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")


def test_without_a_password_and_nobody_to_ask_configure_says_what_to_do(home: Home) -> None:
    done = home.run("configure", "namn@one.com", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert "--password-stdin" in done.json["error"]["hints"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("configure",),
        ("configure", "a@one.com", "--port", "0"),
        ("configure", "a@one.com", "--port", "70000"),
        ("configure", "a@one.com", "--port", "abc"),
        ("configure", "a@one.com", "--host", "smtp://send.one.com"),
        ("configure", "a@one.com", "--host", "send one.com"),
        ("configure", "a@one.com", "--host", "send..com"),
        ("configure", "a@one.com", "--security", "pop3"),
        ("configure", "a@one.com", "--host", "send.one.com", "--security", "none"),
        ("configure", "a@one.com", "--provider", "nobody"),
        ("configure", "a@one.com", "--ca-file", "/dev/null"),
        ("configure", "a@one.com", "--tls-fingerprint", "abc"),
        ("configure", "a@one.com", "--password-env", "A", "--password-file", "B"),
        ("configure", "a@bahnhof.se", "--password-env", "HOME"),
        ("send",),
        ("nonsense",),
        ("--nonsense",),
    ],
)
def test_wrong_use_is_exit_2_with_a_sentence_and_no_traceback(home: Home, arguments: tuple[str, ...]) -> None:
    home.file(".config/smtpsetup/config.toml", '[accounts.a]\naddress = "a@x.se"\nhost = "x.se"\nport = 465\nsecurity = "tls"\n')
    done = home.run(*arguments)
    assert done.code == 2, done.err
    assert "Error:" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    document = home.run(*arguments, "--json").json
    assert (document["ok"], document["error"]["code"]) == (False, "config.invalid")
    assert set(document["error"]) == ERROR_KEYS


@pytest.mark.parametrize("content", ["[accounts", "version = 9\n", "accounts = 3\n"])
def test_a_broken_configuration_is_78_and_stays_as_it_is(home: Home, content: str) -> None:
    path = home.file(".config/smtpsetup/config.toml", content)
    for arguments in (("accounts", "list"), ("test",), ("send", "a@x.se", "--body", "x"), ("configure", "a@one.com", "--password-env", "HOME")):
        done = home.run(*arguments, "--json")
        assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert path.read_text() == content


def test_a_configuration_open_to_others_is_refused(home: Home) -> None:
    home.file(".config/smtpsetup/config.toml", "", mode=0o644)
    done = home.run("accounts", "list", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.permissions")


def test_another_configuration_can_be_named(home: Home, facts: SandboxFacts) -> None:
    other = home.path / "other" / "my.toml"
    password = home.file("password", PASSWORD)
    arguments = (
        "--host",
        "localhost",
        "--port",
        str(facts.tls_port),
        "--ca-file",
        facts.ca_file,
        "--password-file",
        str(password),
        "--security",
        "tls",
    )
    assert home.run("--config", str(other), "configure", "info@example.com", *arguments).code == 0
    assert tomllib.loads(other.read_text())["default"] == "info@example.com"
    assert home.run("accounts", "list", "--json", SMTPSETUP_CONFIG=str(other)).json["result"][0]["account"] == "info@example.com"
    assert home.run("accounts", "list", "--json").json["result"] == []


def test_a_disk_that_is_full_loses_nothing(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.configure(facts, "--account", "second")
    before = home.config.read_bytes()
    for arguments in (("accounts", "default", "second"), ("accounts", "remove", "second"), ("configure", "info@example.com", "--from-name", "X")):
        done = replace(home, disk_is_full=True).run(*arguments, "--json")
        assert done.code == 74, done.err
        assert home.config.read_bytes() == before
        assert [path.name for path in home.config.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/"])
def test_a_configuration_that_is_no_file_is_refused(home: Home, path: str) -> None:
    done = home.run("--config", path, "accounts", "list", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")


# accounts, login, logout


def test_accounts_are_listed_shown_made_default_and_removed(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.configure(facts, "--account", "second")
    assert [row["account"] for row in home.run("accounts", "list", "--json").json["result"]] == ["info@example.com", "second"]
    assert home.run("accounts", "show", "second", "--json").json["result"]["default"] is False
    assert home.run("accounts", "default", "second", "--json").json["result"]["default"] is True
    assert home.run("accounts", "show", "--json").json["result"]["account"] == "second"
    done = home.run("accounts", "remove", "second", "--json")
    assert done.json["result"] == {"account": "second", "secret_removed": False}
    assert "second" not in home.config.read_text()
    assert (home.path / "password").exists()
    done = home.run("accounts", "show", "second", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.no-account")


def test_login_moves_the_password_to_another_place_once_it_works(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("login", "--password-env", "MAIL", "--json", MAIL="wrong")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.bad-credentials")
    assert home.run("accounts", "show", "--json").json["result"]["secret_store"] == "file"
    done = home.run("login", "--password-env", "MAIL", "--json", MAIL=PASSWORD)
    assert done.json["result"]["secret_store"] == "env"
    assert home.run("test", "--login-only", MAIL=PASSWORD).code == 0
    assert home.run("test", "--login-only").code == 78
    done = home.run("login")
    assert done.code == 2
    assert "--password-file" in done.err
    done = home.run("test", "--json", MAIL="wrong")
    assert "environment variable MAIL" in done.json["error"]["hints"][0]
    assert home.run("logout", "--json").json["error"]["code"] == "secret.missing"


# send


def test_send_takes_its_text_from_argument_file_or_standard_input(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("text.txt", "från fil\n")
    home.file("page.html", "<p>från html</p>")
    assert home.run("send", "a@example.com", "--body", "från argument").code == 0
    assert home.run("send", "a@example.com", "--body-file", "text.txt").code == 0
    assert home.run("send", "a@example.com", stdin="från standard in").code == 0
    assert home.run("send", "a@example.com", "--body-file", "-", stdin="från -").code == 0
    assert home.run("send", "a@example.com", "--html", "page.html").code == 0
    assert home.run("send", "a@example.com").code == 0
    assert [mail.text for mail in sandbox.mails] == ["från argument", "från fil", "från standard in", "från -", "från html", ""]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--body-file", "missing.txt"), 66),
        (("--body", "x", "--attach", "missing.pdf"), 66),
        (("--body", "x", "--attach", "."), 66),
        (("--html", "missing.html"), 66),
        (("--body-file", "latin1.txt"), 65),
        (("--body", "x", "-s", "a\nBcc: b@x.se"), 65),
        (("--body", "x", "-H", "X: a\r\nBcc: b@x.se"), 65),
        (("--body", "x", "-H", "Bcc: b@x.se"), 65),
        (("--body", "x", "--cc", "a@@x.se"), 65),
        (("--body", "x", "--to", "a@x.se\nRCPT TO:<b@x.se>"), 65),
        (("--body", "x", "-a", "nobody"), 78),
        (("--body", "x", "--inline", "logo"), 2),
        (("--body", "x", "--body-file", "y"), 2),
    ],
)
def test_bad_input_sends_nothing(home: Home, sandbox: Sandbox, facts: SandboxFacts, arguments: tuple[str, ...], code: int) -> None:
    home.configure(facts)
    home.file("latin1.txt", "å".encode("latin-1"))
    done = home.run("send", "a@example.com", *arguments)
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert sandbox.mails == []


def test_dry_run_prints_the_message_and_sends_nothing(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    (home.path / "password").unlink()
    done = home.run("send", "a@example.com", "--bcc", "hemlig@example.com", "--body", "hej", "--dry-run")
    assert done.code == 0
    assert "hej\n" in done.out
    assert "hemlig" not in done.out
    assert "hemlig@example.com" in done.err
    assert home.run("send", "a@example.com", "--body", "x", "--dry-run", "--json").json["result"]["account"] == "info@example.com"
    assert sandbox.mails == []


def test_a_message_beyond_a_limit_of_the_provider_is_warned_of_before_it_is_sent(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    few = [f"a{number}@example.com" for number in range(20)]
    many = [f"a{number}@example.com" for number in range(101)]
    assert "Warning" not in home.run("send", *few, "--body", "x").err
    done = home.run("send", *many, "--body", "x")
    assert done.code == 0
    assert "101 recipients, but Gmail allows 100" in done.err
    home.file("big.bin", bytes(20_000_000))
    assert "but Gmail allows 25" in home.run("send", "a@example.com", "--body", "x", "--attach", "big.bin").err


def test_a_daily_limit_is_warned_of_before_it_is_broken(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    from smtpsetup import sent

    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    directory = home.path / ".local" / "state" / "smtpsetup"
    for _ in range(499):
        sent.record(str(directory), "info@example.com", 1)
    assert "Warning" not in home.run("send", "a@example.com", "--body", "x").err
    assert sent.last_day(str(directory), "info@example.com") == (500, 500)
    done = home.run("send", "a@example.com", "--body", "x")
    assert done.code == 0
    assert "message 501 in 24 hours, but Gmail allows 500" in done.err
    assert "501 recipients in 24 hours" in done.err
    assert (directory / "sent-info@example.com").stat().st_mode & 0o077 == 0


def test_what_was_sent_is_forgotten_after_a_day_and_never_stops_a_mail(tmp_path: Path) -> None:
    from smtpsetup import sent

    long_ago = "1000000000 1\n" * 6000
    (tmp_path / "sent-a%2fb").write_text(long_ago + "nonsense\n")
    assert sent.last_day(str(tmp_path), "a/b") == (0, 0)
    sent.record(str(tmp_path), "a/b", 3)
    assert sent.last_day(str(tmp_path), "a/b") == (1, 3)
    assert len((tmp_path / "sent-a%2fb").read_text().splitlines()) == 1
    sent.record("/dev/null/nowhere", "a", 1)
    assert sent.last_day("/dev/null/nowhere", "a") == (0, 0)


def test_what_is_queued_always_is_kept_and_not_sent(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("send", "a@example.com", "--body", "x", "--queue", "always", "--json")
    assert done.code == 0
    assert done.json["result"]["queued"] is True
    assert sandbox.mails == []


def test_a_server_that_is_down_is_temporary(home: Home, facts: SandboxFacts) -> None:
    from tests.servers import closed_port

    home.configure(facts)
    with closed_port() as port:
        home.config.write_text(home.config.read_text().replace(f"port = {facts.tls_port}", f"port = {port}"))
        done = home.run("send", "a@example.com", "--body", "x", "--queue", "never", "--json")
    assert (done.code, done.json["error"]["code"], done.json["error"]["retry"]) == (75, "connect.refused", True)


def test_verbose_shows_the_conversation_without_the_password(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("send", "a@example.com", "--body", "x", "-v")
    assert "> AUTH PLAIN ***" in done.err
    assert "< 235" in done.err


# the whole


@pytest.mark.parametrize("command", ["identify", "configure", "test", "send", "accounts", "login", "logout", "sandbox"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(home: Home, command: str, flag: str) -> None:
    done = home.run(command, flag)
    assert done.code == 0
    assert done.out.startswith(f"Usage: smtpsetup {command}")


def test_commands_end_at_once_when_nobody_can_be_asked(home: Home) -> None:
    started = time.monotonic()
    for arguments in (("configure",), ("configure", "info@mittforetag.example"), ("identify", "a@gmial.com"), ("login",), ("test",)):
        assert home.run(*arguments).code in {2, 68, 78}
    assert time.monotonic() - started < 20


def test_a_bug_is_told_as_one_without_a_traceback_or_what_the_exception_says(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from smtpsetup.cli.main import run

    def broken(*_arguments: object) -> None:
        raise RuntimeError("may hold a secret")

    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setattr("smtpsetup.cli.identify.identify", broken)
    assert run(["identify", "namn@live.se", "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["code"] == "internal.bug"
    assert "RuntimeError at " in printed.err
    assert "Traceback" not in printed.err
    assert "secret" not in printed.err


def test_the_sandbox_prints_what_it_caught_and_stops_after_as_many(home: Home) -> None:
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", "sandbox", "--count", "1", "--keep", "mails", "--json"],
        env=home.env,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    ready: dict[str, Any] = json.loads(process.stdout.readline())["result"]
    password = home.file("password", ready["password"])
    arguments = ("--host", "localhost", "--port", str(ready["starttls_port"]), "--ca-file", str(home.path / ready["ca_file"]))
    assert home.run("configure", "a@example.com", *arguments, "--security", "starttls", "--password-file", str(password)).code == 0
    assert home.run("send", "b@example.com", "-s", "Hej", "--body", "åäö").code == 0
    caught = json.loads(process.stdout.readline())["result"]
    assert process.wait(20) == 0
    process.stdout.close()
    assert (caught["sender"], caught["recipients"], caught["subject"]) == ("a@example.com", ["b@example.com"], "Hej")
    saved = home.path / caught["file"]
    assert b"Subject: Hej" in saved.read_bytes()
    assert saved.stat().st_mode & 0o077 == 0


def test_the_sandboxs_own_words_are_not_masked_when_its_usual_password_is_used(home: Home, tmp_path: Path) -> None:
    from smtpsetup.sandbox.server import PASSWORD as USUAL
    from smtpsetup.sandbox.server import Sandbox

    with Sandbox(tmp_path, password=USUAL) as facts:
        assert home.configure(facts, password=USUAL).code == 0
        shown = home.run("test", "--login-only").out
    assert "220 localhost smtpsetup test server" in shown
    assert "***" not in shown


def test_a_name_that_is_not_found_is_told_in_words_in_the_table_of_stages(home: Home) -> None:
    done = home.run("configure", "a@example.com", "--host", "nowhere.invalid", "--no-verify", "--auth", "none", "--from-name", "x")
    assert done.code == 0, done.err
    done = home.run("test")
    assert done.code == 68
    assert "no such name" in done.out
    assert "Errno" not in done.out


@pytest.mark.parametrize("arguments", [("outbox", "show", "x"), ("send", "--connections", "x", "a@example.com"), ("configure", "--port", "x")])
def test_what_is_no_number_is_told_in_words(home: Home, arguments: tuple[str, ...]) -> None:
    done = home.run(*arguments)
    assert done.code == 2
    assert "'x' is not a whole number." in done.err


def test_every_hint_that_is_an_address_on_the_web_says_so(home: Home) -> None:
    done = home.run("configure", "namn@live.se", "--no-input", "--auth", "oauth2")
    assert done.code == 77
    for line in done.err.splitlines():
        assert not line.strip().startswith("https://"), done.err

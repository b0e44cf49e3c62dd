"""Whole commands: exit codes, the exact JSON, and no question without a terminal."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests import answers
from tests.conftest import PASSWORD, server_options

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

ACCOUNT_KEYS = {
    "account",
    "address",
    "from_name",
    "provider",
    "host",
    "port",
    "security",
    "auth",
    "username",
    "secret_store",
    "default",
    "verified",
    "transport",
    "endpoint",
    "proxy",
    "fallback",
}
TEST_KEYS = {"account", "server", "stages", "capabilities", "tls", "message_id", "to", "working_alternative"}
SEND_KEYS = {"account", "message_id", "accepted", "refused", "queued", "outbox_id", "reply"}
ERROR_KEYS = {"code", "stage", "message", "causes", "hints", "url", "retry", "reply"}


# configure, test, send


def test_configure_test_and_send_work_together(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    done = home.configure(facts, "--from-name", "Mitt Företag AB", "--json")
    assert done.code == 0, done.err
    assert set(done.json["result"]) == ACCOUNT_KEYS
    assert [done.json["result"][key] for key in ("verified", "default", "secret_store")] == [True, True, "file"]
    assert home.config.stat().st_mode & 0o777 == 0o600

    done = home.run("test", "--json")
    assert done.code == 0
    assert set(done.json["result"]) == TEST_KEYS
    stages = "dns connect tls greeting ehlo auth mail rcpt data quit"
    assert " ".join(stage["stage"] for stage in done.json["result"]["stages"]) == stages
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
    done = home.run(
        "configure", "info@example.com", "--port", str(facts.starttls_port), "--security", "starttls", "--json"
    )
    assert done.code == 0
    assert done.json["result"]["port"] == facts.starttls_port
    assert done.json["result"]["secret_store"] == "file"


def test_no_verify_saves_without_a_login_and_test_proves_it_later(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts, "--no-verify", "--json").json["result"]["verified"] is False
    assert home.run("test", "--login-only", "--json").json["result"]["message_id"] is None
    assert home.run("accounts", "show", "--json").json["result"]["verified"] is True


def test_a_successful_test_exits_0_although_its_result_cannot_be_saved(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts, "--no-verify")
    done = replace(home, disk_is_full=True).run("test", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    assert "could not be saved" in done.err


def test_login_without_a_store_replaces_the_password_in_its_store(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    (home.path / "password").write_text("old\n")
    done = home.run("login", "--password-stdin", "--json", stdin=PASSWORD)
    assert done.json["result"]["secret_store"] == "file"
    assert (home.path / "password").read_text() == PASSWORD + "\n"


def test_a_password_on_standard_input_is_saved_in_the_named_file(home: Home, facts: SandboxFacts) -> None:
    file = home.path / "mail-password"
    options = ("--password-stdin", "--password-file", "mail-password", "--json")
    refused = home.run("configure", "info@example.com", *server_options(facts), *options, stdin="wrong\n")
    assert (refused.code, file.exists()) == (77, False)
    done = home.run("configure", "info@example.com", *server_options(facts), *options, stdin=PASSWORD + "\n")
    assert done.json["result"]["secret_store"] == "file"
    assert (file.read_text(), file.stat().st_mode & 0o777) == (PASSWORD + "\n", 0o600)
    assert home.run("test").code == 0

    another = home.path / "another"
    assert home.run("login", "--password-stdin", "--password-file", str(another), stdin=PASSWORD).code == 0
    assert another.read_text() == PASSWORD + "\n"
    assert str(another) in home.config.read_text()


def test_a_file_that_cannot_be_written_is_told_before_the_login(home: Home, facts: SandboxFacts) -> None:
    home.file("open", "x\n", mode=0o644)
    for name, code in (("missing/file", "config.permissions"), ("open", "secret.file-permissions")):
        options = ("--password-stdin", "--password-file", name, "--json")
        done = home.run("configure", "info@example.com", *server_options(facts), *options, stdin=PASSWORD)
        assert done.json["error"]["code"] == code
    assert (home.path / "open").read_text() == "x\n"


def test_a_password_command_runs_in_the_home_directory(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("elsewhere/mail-password", PASSWORD)
    done = replace(home, path=home.path / "elsewhere").run("login", "--password-command", "cat mail-password", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.command-failed")
    assert home.run("login", "--password-command", f"cat {home.path}/elsewhere/mail-password").code == 0


def test_letters_that_the_terminal_cannot_encode_are_escaped(home: Home) -> None:
    done = home.run("identify", "namn@gmail.com", PYTHONIOENCODING="ascii", SMTPSETUP_LANG="sv")
    assert done.code == 0
    document = home.run("identify", "n@mindomän.example", "--json", PYTHONIOENCODING="ascii").json
    assert "mindomän" in document["error"]["message"]


def test_a_misspelt_command_is_answered_with_a_suggestion(home: Home) -> None:
    assert "send" in home.run("sned", "a@b.se").err


def test_a_systemd_credential_can_be_set_up_outside_its_unit_and_works_inside(home: Home, facts: SandboxFacts) -> None:
    arguments = ("configure", "a@example.com", *server_options(facts))
    done = home.run(*arguments, "--systemd-credential", "mail", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert any("--no-verify" in hint for hint in done.json["error"]["hints"])
    assert home.run(*arguments, "--systemd-credential", "mail", "--no-verify").code == 0
    home.file("credentials/mail", PASSWORD)
    assert home.run("test", "--json", CREDENTIALS_DIRECTORY=str(home.path / "credentials")).json["ok"] is True


def test_configure_reports_oauth2_only_before_asking_for_a_password(home: Home) -> None:
    done = home.run("configure", "namn@live.se", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")


def test_configure_without_a_password_or_a_terminal_hints_at_the_options(home: Home) -> None:
    done = home.run("configure", "namn@one.com", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert "--password-stdin" in done.json["error"]["hints"][0]


@pytest.mark.sampled
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
def test_a_usage_error_is_exit_2_with_a_message_and_no_traceback(home: Home, arguments: tuple[str, ...]) -> None:
    home.file(
        ".config/smtpsetup/config.toml",
        '[accounts.a]\naddress = "a@x.se"\nhost = "x.se"\nport = 465\nsecurity = "tls"\n',
    )
    done = home.run(*arguments)
    assert done.code == 2, done.err
    assert "Error:" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    document = home.run(*arguments, "--json").json
    assert (document["ok"], document["error"]["code"]) == (False, "config.invalid")
    assert set(document["error"]) == ERROR_KEYS


@pytest.mark.parametrize("content", ["[accounts", "version = 9\n", "accounts = 3\n"])
def test_an_invalid_configuration_is_exit_78_and_stays_unchanged(home: Home, content: str) -> None:
    path = home.file(".config/smtpsetup/config.toml", content)
    for arguments in (
        ("accounts", "list"),
        ("test",),
        ("send", "a@x.se", "--body", "x"),
        ("configure", "a@one.com", "--password-env", "HOME"),
    ):
        done = home.run(*arguments, "--json")
        assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert path.read_text() == content


def test_accounts_alone_lists(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    assert home.run("accounts").out == home.run("accounts", "list").out
    assert home.run("accounts", "--json").json == home.run("accounts", "list", "--json").json


def test_another_configuration_file_can_be_selected(home: Home, facts: SandboxFacts) -> None:
    other = home.path / "other" / "my.toml"
    options = (*server_options(facts), "--password-file", str(home.file("password", PASSWORD)))
    assert home.run("--config", str(other), "configure", "info@example.com", *options).code == 0
    assert tomllib.loads(other.read_text())["default"] == "info@example.com"
    assert (
        home.run("accounts", "list", "--json", SMTPSETUP_CONFIG=str(other)).json["result"][0]["account"]
        == "info@example.com"
    )
    assert home.run("accounts", "list", "--json").json["result"] == []


def test_a_full_disk_leaves_the_configuration_unchanged(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.configure(facts, "--account", "second")
    before = home.config.read_bytes()
    for arguments in (
        ("accounts", "default", "second"),
        ("accounts", "remove", "second"),
        ("configure", "info@example.com", "--from-name", "X"),
    ):
        done = replace(home, disk_is_full=True).run(*arguments, "--json")
        assert done.code == 74, done.err
        assert home.config.read_bytes() == before
        assert [path.name for path in home.config.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/"])
def test_a_configuration_that_is_not_a_regular_file_is_refused(home: Home, path: str) -> None:
    done = home.run("--config", path, "accounts", "list", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")


# accounts, login, logout


def test_accounts_are_listed_shown_made_default_and_removed(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.configure(facts, "--account", "second")
    assert [row["account"] for row in home.run("accounts", "list", "--json").json["result"]] == [
        "info@example.com",
        "second",
    ]
    assert home.run("accounts", "show", "second", "--json").json["result"]["default"] is False
    assert home.run("accounts", "default", "second", "--json").json["result"]["default"] is True
    assert home.run("accounts", "show", "--json").json["result"]["account"] == "second"
    done = home.run("accounts", "remove", "second", "--json")
    assert done.json["result"] == {"account": "second", "secret_removed": False}
    assert "second" not in home.config.read_text()
    assert (home.path / "password").exists()
    done = home.run("accounts", "show", "second", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.no-account")


def test_login_moves_the_password_to_another_store_once_it_works(home: Home, facts: SandboxFacts) -> None:
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


# all commands


@pytest.mark.parametrize("command", ["identify", "configure", "test", "send", "accounts", "login", "logout", "sandbox"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(home: Home, command: str, flag: str) -> None:
    done = home.run(command, flag)
    assert done.code == 0
    assert done.out.startswith(f"Usage: smtpsetup {command}")


def test_commands_end_at_once_without_a_terminal(home: Home) -> None:
    started = time.monotonic()
    for arguments in (
        ("configure",),
        ("configure", "info@mittforetag.example"),
        ("identify", "a@gmial.com"),
        ("login",),
        ("test",),
    ):
        assert home.run(*arguments).code in {2, 68, 78}
    assert time.monotonic() - started < 20


def test_an_internal_error_shows_neither_traceback_nor_exception_text(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from smtpsetup.cli.main import run

    def broken(*_arguments: object) -> None:
        raise RuntimeError("may hold a secret")

    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.setattr("smtpsetup.cli.identify.identify", broken)
    assert run(["identify", "namn@live.se", "--json"]) == 1
    printed = capsys.readouterr()
    assert answers.read(printed.out)["error"]["code"] == "internal.bug"
    assert "RuntimeError at " in printed.err
    assert "Traceback" not in printed.err
    assert "secret" not in printed.err


def test_the_sandbox_prints_each_mail_and_stops_after_count(home: Home) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", "sandbox", "--count", "1", "--keep", "mails", "--json"],
        env=home.env,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    ready: dict[str, Any] = answers.read(process.stdout.readline())["result"]
    password = home.file("password", ready["password"])
    server = f"--host localhost --port {ready['starttls_port']} --security starttls".split()
    files = ("--ca-file", str(home.path / ready["ca_file"]), "--password-file", str(password))
    assert home.run("configure", "a@example.com", *server, *files).code == 0
    assert home.run("send", "b@example.com", "-s", "Hej", "--body", "åäö").code == 0
    caught = answers.read(process.stdout.readline())["result"]
    assert process.wait(20) == 0
    process.stdout.close()
    assert (caught["sender"], caught["recipients"], caught["subject"]) == ("a@example.com", ["b@example.com"], "Hej")
    saved = home.path / caught["file"]
    assert b"Subject: Hej" in saved.read_bytes()
    assert saved.stat().st_mode & 0o077 == 0


def test_replies_of_the_sandbox_are_not_masked_with_its_default_password(home: Home, tmp_path: Path) -> None:
    from smtpsetup.sandbox.server import PASSWORD as USUAL
    from smtpsetup.sandbox.server import Sandbox

    with Sandbox(tmp_path, password=USUAL) as facts:
        assert home.configure(facts, password=USUAL).code == 0
        shown = home.run("test", "--login-only", "-v").out
    assert "220 localhost smtpsetup test server" in shown
    assert "***" not in shown


def test_an_unknown_host_is_reported_in_words_in_the_table_of_stages(home: Home) -> None:
    done = home.run(
        "configure", "a@example.com", "--host", "nowhere.invalid", "--no-verify", "--auth", "none", "--from-name", "x"
    )
    assert done.code == 0, done.err
    done = home.run("test")
    assert done.code == 68
    assert "no such name" in done.out
    assert "Errno" not in done.out


@pytest.mark.parametrize(
    "arguments",
    [("outbox", "show", "x"), ("send", "--connections", "x", "a@example.com"), ("configure", "--port", "x")],
)
def test_an_invalid_number_is_reported_in_words(home: Home, arguments: tuple[str, ...]) -> None:
    done = home.run(*arguments)
    assert done.code == 2
    assert "'x' is not a whole number." in done.err


def test_no_hint_is_a_bare_url(home: Home) -> None:
    done = home.run("configure", "namn@live.se", "--no-input", "--auth", "oauth2")
    assert done.code == 77
    for line in done.err.splitlines():
        assert not line.strip().startswith("https://"), done.err

"""Closed streams, odd arguments, foreign or broken files, no home: a mail is still sent, or the error is clear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Log, Secret
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.setup.test_account import run_test
from smtpsetup.state import mail_log
from tests.conftest import PASSWORD, account_at, context_of
from tests.faults.processes import MESSAGE, executed, shell
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, new_mail, password_account, plain_account, state_dir
from tests.sendmail import PROGRAM, log_lines
from tests.servers import wait_for

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_nothing(home: Home, sandbox: Sandbox, facts: SandboxFacts, closed: str) -> None:
    home.configure(facts)
    done = shell(home, f'exec "$0" -m smtpsetup send a@example.com --body x -v {closed}')
    assert (done.code, done.out) == (0, "")
    assert len(sandbox.mails) == 1


@pytest.mark.parametrize(("redirected", "code"), [("2>/dev/full", 0), ("| head -c 0", None)])
def test_unwritable_output_does_not_stop_a_mail(
    home: Home, sandbox: Sandbox, facts: SandboxFacts, redirected: str, code: int | None
) -> None:
    home.configure(facts)
    done = shell(home, f'"$0" -m smtpsetup send a@example.com --body x --json -v {redirected}')
    assert code in (None, done.code)
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    assert len(sandbox.mails) == 1


@pytest.mark.parametrize("queue", ["on-failure", "always"])
def test_exit_code_0_when_only_the_result_cannot_be_written(home: Home, queue: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        send = f'exec "$0" -m smtpsetup send kund@example.com --body x --json -v --queue {queue}'
        done = shell(home, f"{send} > /dev/full")
    assert done.code == 0, done.err
    assert "could not be written to standard output" in " ".join(done.err.split())
    assert "Exception ignored" not in done.err
    assert len(server.mails) == (queue == "on-failure")


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "a@b.se", "--body", b"caf\xe9"),
        ("configure", b"\xe9@one.com"),
        ("accounts", "show", b"caf\xe9"),
        ("test", b"\xe9"),
    ],
)
def test_arguments_that_are_not_utf_8_are_a_data_error(home: Home, arguments: tuple[str | bytes, ...]) -> None:
    done = executed(home, sys.executable, "-m", "smtpsetup", *arguments, "--json")
    assert (done.code, done.json["error"]["code"]) == (65, "config.invalid")
    assert "\ufffd" not in done.out + done.err  # all of it is UTF-8


def test_a_password_that_is_not_utf_8_is_reported(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("password", b"caf\xe9")
    assert home.run("test", "--json").json["error"]["code"] == "secret.missing"
    script = "MAIL=$(printf 'caf\\351') exec \"$0\" -m smtpsetup login --password-env MAIL --json"
    assert shell(home, script).code == 78


def test_marking_an_account_verified_keeps_concurrent_changes(home: Home, facts: SandboxFacts) -> None:
    from smtpsetup.config import accounts

    home.configure(facts, "--no-verify")
    tested = accounts.load(home.config).accounts["info@example.com"]
    home.run("configure", "info@example.com", "--from-name", "New", "--no-verify")
    before = home.config.read_text()
    accounts.mark_verified(home.config, tested)
    assert home.config.read_text() == before
    accounts.remove(home.config, "info@example.com")
    accounts.mark_verified(home.config, tested)
    assert accounts.load(home.config).accounts == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_configuration_files_of_other_users_are_refused(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    os.chown(home.config, 4711, 4711)
    assert home.run("accounts", "list", "--json").json["error"]["code"] == "config.permissions"
    os.chown(home.config, 0, 0)
    table = home.file(".config/smtpsetup/providers.toml", "", mode=0o622)
    assert home.run("identify", "namn@live.se", "--json").json["error"]["code"] == "config.permissions"
    table.chmod(0o644)
    assert home.run("identify", "namn@live.se", "--json").json["ok"] is True


@pytest.mark.parametrize(
    "text",
    [
        'notes = ["x"]',
        "limits = { note = 5 }",
        "refusals = [5]",
        'enable = { url = "", steps = 5 }',
        'servers = [{ host = "a b", port = 465, security = "tls" }]',
    ],
)
def test_any_mistake_in_a_user_table_is_a_configuration_error(home: Home, text: str) -> None:
    keys = dict(
        line.split(" = ", 1)
        for line in (
            'id = "x"',
            'name = "X"',
            "domains = []",
            "mx_suffixes = []",
            'status = "ok"',
            'servers = [{ host = "x.se", port = 465, security = "tls" }]',
            'auth = ["password"]',
            'docs_url = ""',
            'confidence = "high"',
            "sources = []",
            'username = { form = "address" }',
        )
    )
    name, _equals, value = text.partition(" = ")
    keys[name] = value
    home.file(
        ".config/smtpsetup/providers.toml",
        "[[provider]]\n" + "\n".join(f"{key} = {entry}" for key, entry in keys.items()),
    )
    done = home.run("identify", "namn@live.se", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert name.split("_")[0] in done.json["error"]["message"]


@pytest.mark.parametrize("value", ['"a\\u0000b"', '"a\\u001b[31m"'])
def test_control_characters_in_the_configuration_are_refused(home: Home, value: str) -> None:
    for key in ("ca_file", "username", "from_name"):
        password_account(home, 25, **{key: value})
        assert home.run("accounts", "list", "--json").json["error"]["code"] == "config.invalid"


def test_deep_nesting_pipes_and_missing_homes_are_configuration_errors(home: Home, tmp_path: Path) -> None:
    home.file(".config/smtpsetup/config.toml", "a = " + "[" * 5000)
    assert home.run("accounts", "list", "--json").json["error"]["code"] == "config.invalid"
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (str(tmp_path / "pipe"), "~nosuchuser/x"):
        assert home.run("--config", path, "accounts", "list", "--json").code in {0, 78}
    assert home.run("identify", "namn@live.se", "--json", HOME="relative").json["error"]["code"] == "config.invalid"


@pytest.mark.parametrize(
    "value", ["9" * 4301, "1979-05-27T07:32:00+24:00", "2020-01-01T00:00:00-24:00", "0x" + "f" * 4301]
)
@pytest.mark.parametrize("file", ["config.toml", "providers.toml"])
def test_out_of_range_numbers_and_times_are_a_configuration_error(home: Home, value: str, file: str) -> None:
    home.file(f".config/smtpsetup/{file}", f"number = {value}\n")
    run = home.run("accounts", "list") if file == "config.toml" else home.run("identify", "namn@live.se", "--offline")
    assert run.code in (78, 0) if value.startswith("0x") else run.code == 78
    assert "internal.bug" not in run.err


def test_without_a_home_mail_is_sent_and_the_working_directory_left_alone(
    home: Home, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    home.configure(facts)
    (home.path / "here").mkdir()
    away = replace(home, path=home.path / "here")
    assert away.run("--config", str(home.config), "send", "a@example.com", "--body", "x", HOME="relative").code == 0
    assert len(sandbox.mails) == 1
    assert list(away.path.iterdir()) == []


def test_an_unwritable_warning_does_not_stop_a_mail(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    home.file("big.bin", bytes(20_000_000))
    assert shell(home, '"$0" -m smtpsetup send a@example.com --body x --attach big.bin 2>/dev/full').code == 0
    assert len(sandbox.mails) == 1


def test_a_missing_ca_file_is_reported_by_its_path(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    os.unlink(facts.ca_file)
    error = home.run("test", "--json").json["error"]
    assert error["code"] == "config.invalid"
    assert facts.ca_file in error["message"]


def test_sslkeylogfile_is_ignored(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    assert home.run("test", SSLKEYLOGFILE=str(home.path / "keys")).code == 0
    assert not (home.path / "keys").exists()


def test_core_dumps_are_off_while_a_secret_is_held(home: Home) -> None:
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "AUTH":
            reached.append(turn.line)
            time.sleep(5)  # while its limits are looked at
        return None

    password = home.file("password", "hemligt\n")
    with MailServer(answer) as server:
        for program in ([PROGRAM, "-t"], [sys.executable, "-m", "smtpsetup", "send", "asa@example.com"]):
            plain_account(home, server.port, auth='"password"', secret=f'{{ store = "file", path = "{password}" }}')
            reached.clear()
            shell = ["sh", "-c", 'ulimit -c unlimited 2>/dev/null; exec "$@"', "sh", *program]
            with subprocess.Popen(
                shell, env=home.unmeasured.env, cwd=home.path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdin
                process.stdin.write(MESSAGE.encode())
                process.stdin.close()
                wait_for(lambda: reached)
                limits = Path(f"/proc/{process.pid}/limits").read_text()
                process.send_signal(signal.SIGKILL)
            (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
            assert line.split()[4] == "0"


@pytest.mark.parametrize(("log", "lines"), [("file", 1), ("none", 0), ("syslog", 0)])
def test_send_logs_where_the_configuration_says(home: Home, log: str, lines: int) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.config.write_text(f'log = "{log}"\n{home.config.read_text()}')
        assert home.run("send", "kund@example.com", "--body", "x").code == 0
    assert len(log_lines(home)) == lines


@pytest.mark.parametrize("named", ["option", "variable"])
def test_a_queued_mail_is_sent_with_the_configuration_it_was_queued_with(home: Home, named: str) -> None:
    with RecordingServer() as own, RecordingServer() as other:
        plain_account(home, own.port)
        usual = home.config.read_text()
        path = home.file("other.toml", usual.replace(str(own.port), str(other.port)))
        with SqliteOutbox(state_dir(home)) as outbox:
            outbox.add(new_mail(1))
            outbox.add(new_mail(2)._replace(config=str(path)))
        arguments, env = (("--config", str(path)), {}) if named == "option" else ((), {"SMTPSETUP_CONFIG": str(path)})
        assert home.run(*arguments, "outbox", "flush", **env).code == 0
    assert own.message_ids == ["<1@test.example>"]
    assert other.message_ids == ["<2@test.example>"]


def test_log_rotation_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads write while it is rotated again and again; each line is in one of all rotated files."""
    directory = tmp_path / "state"
    monkeypatch.setattr(mail_log, "_MAX_BYTES", 3000)
    found: set[str] = set()
    replaced = os.replace

    def replace(source: str, target: str) -> None:
        if os.path.exists(target):
            found.update(Path(target).read_text().splitlines())
        replaced(source, target)

    monkeypatch.setattr(os, "replace", replace)

    def write(number: int) -> None:
        for line in range(100):
            mail_log.append_line(Log.FILE, str(directory), {"line": f"{number}-{line}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for name in ("mail.log", "mail.log.1"):
        found.update((directory / name).read_text().splitlines())
    assert len({line.split("line=")[1] for line in found}) == 800


# the sandbox


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: x\r\nContent-Type: text/plain; charset=foo-bar\r\n\r\nhej\r\n",
        b"To: <\r\nFrom: [\r\nSubject: x\r\n\r\nhej\r\n",
        b"Content-Type: text/plain; charset=punycode\r\n\r\n\xff\xfe-\r\n",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
        b"\x1b]0;x\x07\r\n\r\n\x1b[31m\r\n",
        b"",
    ],
)
def test_the_sandbox_can_show_any_mail(content: bytes) -> None:
    from smtpsetup.sandbox.server import CaughtMail

    mail = CaughtMail(1, "u", "a@b.se", ("c@d.se",), content, None)
    shown = [mail.subject, mail.text, *mail.attachments, *(text for header in mail.shown_headers for text in header)]
    assert all(text.replace("\n", "").isprintable() for text in shown)


def test_the_sandbox_keeps_the_mail_of_earlier_runs(tmp_path: Path) -> None:
    from smtpsetup.sandbox.server import Sandbox

    (tmp_path / "0001.eml").write_text("earlier")
    with Sandbox(tmp_path, keep=True, password=PASSWORD) as facts:
        assert run_test(context_of(account_at(facts.tls_port, ca_file=facts.ca_file)), Secret(PASSWORD)).error is None
    assert (tmp_path / "0001.eml").read_text() == "earlier"
    assert (tmp_path / "0002.eml").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_in_the_background_of_a_script_can_be_terminated(home: Home, number: signal.Signals) -> None:
    """A shell without job control starts what is behind & with SIGINT ignored."""
    script = '"$0" -m smtpsetup sandbox --json & echo $!; wait $!; echo "ended $?"'
    with subprocess.Popen(
        ["sh", "-c", script, sys.executable], env=home.env, cwd=home.path, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout
        pid = int(shell.stdout.readline())
        assert "tls_port" in shell.stdout.readline()
        subprocess.run(["kill", f"-{number.name.removeprefix('SIG')}", str(pid)], check=True)
        rest = shell.stdout.read()
    assert rest.strip().splitlines()[-1] in {"ended 0", "ended 130", "ended 143"}, rest

"""What an attacker or a bad day can do: each of these once worked."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Secret, Security
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.net.masks import Masks
from smtpsetup.sending.send_one import send
from smtpsetup.setup.test_account import run_test
from tests.conftest import PASSWORD, account_at, context_of
from tests.faults.test_servers import EHLO, READY, TO_DATA, TO_DOT, TO_LOGIN, TO_RCPT, checked
from tests.servers import ScriptedServer, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home


def plain_account(home: Home, port: int, **changes: str) -> None:
    """An account at a server on this machine without TLS, its password in a file."""
    home.file("password", PASSWORD)
    row = {
        "address": '"info@example.com"',
        "host": '"localhost"',
        "port": str(port),
        "security": '"none"',
        "verified": "true",
        **changes,
    }
    row.setdefault("secret", f'{{ store = "file", path = "{home.path}/password" }}')
    home.file(
        ".config/smtpsetup/config.toml", "[accounts.a]\n" + "".join(f"{key} = {value}\n" for key, value in row.items())
    )


# what a server says


@pytest.mark.parametrize(
    "ehlo", [b"250-x\r\n250 AUTH \x1b]0;x\x07\x1b[31mX \x9b31m\r\n", b"250-x\r\n250-SIZE \xb2\r\n250 AUTH X\x1b\r\n"]
)
def test_escape_sequences_in_an_ehlo_reply_are_not_printed(home: Home, ehlo: bytes) -> None:
    with ScriptedServer((READY, None, ehlo, None)) as server:
        plain_account(home, server.port)
        done = home.run("test", "--json")
    assert done.code == 69
    assert (done.out + done.err).replace("\n", "").isprintable()


@pytest.mark.parametrize("size", ["9" * 5000, "\u00b2", "-1", "", "abc"])
def test_an_invalid_size_is_no_limit(size: str) -> None:
    ehlo = EHLO.replace(b"1000000", size.encode("latin-1"))
    assert checked((READY, None, ehlo, *TO_DOT[3:], b"250 ok\r\n", None, b"221 bye\r\n")).error is None


def test_an_unexpected_challenge_is_cancelled() -> None:
    with ScriptedServer((*TO_LOGIN, b"334 more\r\n", None, b"501 stopped\r\n", None, b"221 bye\r\n")) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret("x"))
        wait_for(lambda: server.received.count(b"*\r\n") == 1)
    assert report.error
    assert (report.error.code, report.error.causes) == ("server.protocol-error", ("What it said was: 334 more",))


HUNTER = "hunter2-sécret"


@pytest.mark.parametrize(
    "form",
    [
        HUNTER,
        HUNTER.upper(),
        "#" * 190 + HUNTER,
        base64.b64encode(f"user:{HUNTER}".encode()).decode(),
        base64.b64encode(f"\0u\0{HUNTER}".encode()).decode().rstrip("="),
        base64.b64encode(HUNTER.encode()).decode(),
        HUNTER.encode().hex(),
        "".join(f"%{byte:02X}" for byte in HUNTER.encode()),
        HUNTER.encode("cp1252").decode("utf-8", "replace"),
        repr(HUNTER),
    ],
)
def test_a_secret_repeated_by_a_server_is_masked_in_any_encoding(form: str) -> None:
    masks = Masks()
    masks.add(HUNTER)
    shown = masks.applied(f"bad password {form} for you")
    assert shown.startswith("bad password ")
    assert shown.endswith(" for you")
    for piece in ("hunter2", "HUNTER2", "cret", "aHVudGVy", "68756e74"):
        assert piece not in shown


def test_a_421_to_rcpt_is_diagnosed_by_its_text() -> None:
    report = checked((*TO_RCPT, b"421 4.7.0 Too many messages, slow down\r\n", "drop"))
    assert report.error
    assert report.error.code == "limit.rate"
    assert report.error.failure
    assert report.error.failure.reply


def test_a_refusal_in_the_middle_of_a_large_message_is_reported(home: Home) -> None:
    with ScriptedServer((*TO_DATA, b"354 go\r\n", b"552 5.3.4 Message too big for you\r\n", 0.5, "drop")) as server:
        plain_account(home, server.port)
        home.file("big.bin", os.urandom(700_000))
        done = home.run("send", "a@example.com", "--body", "x", "--attach", "big.bin", "--json")
    # the second where the reset overtook the reply
    assert done.json["error"]["code"] in {
        "data.too-large",
        "connection.lost",
    }


def test_refused_recipients_are_reported_when_data_is_refused_too() -> None:
    script = (*TO_RCPT, b"550 5.1.1 unknown\r\n", None, b"250 ok\r\n", None, b"451 later\r\n", None, b"221 bye\r\n")
    with ScriptedServer(script) as server:
        delivery = Delivery(Envelope("i@x.se", ("a@x.se", "b@x.se")), from_bytes(b"A: b\r\n\r\n"), "<1@x>")
        result = send(context_of(account_at(server.port, Security.NONE)), Secret("x"), delivery)
    assert result.error
    assert result.error.exit_code == 75
    assert [entry.address for entry in result.refused] == ["a@x.se"]


def test_exit_code_67_when_every_recipient_is_refused_permanently(home: Home) -> None:
    for reply in (b"554 5.7.1 Access denied\r\n", b"554 5.7.1 Relay access denied\r\n", b"552 5.2.2 Mailbox full\r\n"):
        with ScriptedServer((*TO_RCPT, reply, None, b"221 bye\r\n")) as server:
            plain_account(home, server.port)
            assert home.run("send", "a@example.com", "--body", "x", "--json").code == 67


def test_a_mail_that_may_have_been_delivered_is_not_to_be_retried(home: Home) -> None:
    with ScriptedServer((*TO_DOT, "drop")) as server:
        plain_account(home, server.port)
        error = home.run("send", "a@example.com", "--body", "x", "--queue", "never", "--json").json["error"]
    assert (error["code"], error["retry"]) == ("data.lost-before-reply", False)


def test_ctrl_c_after_the_whole_message_says_that_it_may_have_been_delivered(home: Home) -> None:
    with ScriptedServer((*TO_DOT, 60.0)) as server:
        plain_account(home, server.port)
        process = subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "send", "a@example.com", "--body", "x"],
            env=home.env,
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: any(b"x" in line for line in server.received[7:]))
        time.sleep(0.3)  # the reply to the dot is awaited now, and nothing shows that from outside
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "may have been delivered" in err


def test_a_refresh_token_is_not_sent_as_a_password(home: Home, facts: SandboxFacts) -> None:
    with ScriptedServer((*TO_LOGIN, b"235 ok\r\n")) as server:
        plain_account(home, server.port, auth='"oauth2"')
        done = home.run("send", "a@example.com", "--body", "x", "--json")
        assert server.received == []
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")


# what surrounds the process


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_nothing(home: Home, sandbox: Sandbox, facts: SandboxFacts, closed: str) -> None:
    home.configure(facts)
    command = f"exec {sys.executable} -m smtpsetup send a@example.com --body x -v {closed}"
    done = subprocess.run(["sh", "-c", command], env=home.env, cwd=home.path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == b""
    assert len(sandbox.mails) == 1


@pytest.mark.parametrize(("redirected", "code"), [(">/dev/full", 0), ("2>/dev/full", 0), ("| head -c 0", None)])
def test_unwritable_output_does_not_stop_a_mail(
    home: Home, sandbox: Sandbox, facts: SandboxFacts, redirected: str, code: int | None
) -> None:
    home.configure(facts)
    command = f"{sys.executable} -m smtpsetup send a@example.com --body x --json -v {redirected}"
    done = subprocess.run(
        ["sh", "-c", command], env=home.env, cwd=home.path, capture_output=True, text=True, check=False
    )
    assert code in (None, done.returncode)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(sandbox.mails) == 1


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
    command = [
        sys.executable.encode(),
        b"-m",
        b"smtpsetup",
        *(a if isinstance(a, bytes) else a.encode() for a in arguments),
        b"--json",
    ]
    done = subprocess.run(
        command, env=home.env, cwd=home.path, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 65
    assert b'"config.invalid"' in done.stdout
    assert b"\xe9" not in done.stdout + done.stderr


def test_a_password_that_is_not_utf_8_is_reported(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("password", b"caf\xe9")
    assert home.run("test", "--json").json["error"]["code"] == "secret.missing"
    script = f"MAIL=$(printf 'caf\\351') exec {sys.executable} -m smtpsetup login --password-env MAIL --json"
    done = subprocess.run(
        ["sh", "-c", script], env=home.env, cwd=home.path, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 78


def test_a_broken_user_table_does_not_hide_the_result_of_a_mail(home: Home) -> None:
    script = (
        *TO_RCPT,
        b"250 ok\r\n",
        None,
        b"550 5.1.1 unknown\r\n",
        None,
        b"354 go\r\n",
        "message",
        b"250 ok\r\n",
        None,
        b"221 bye\r\n",
    )
    with ScriptedServer(script) as server:
        plain_account(home, server.port)
        home.file(".config/smtpsetup/providers.toml", "[[provider]]\nid = 3\n")
        done = home.run("send", "a@example.com", "b@example.com", "--body", "x", "--json")
    assert done.code == 67
    assert done.json["result"]["accepted"] == ["a@example.com"]


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


def test_a_saved_password_is_not_sent_to_another_server(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    with ScriptedServer(TO_LOGIN) as other:
        done = home.run(
            "configure",
            "info@example.com",
            "--host",
            "127.0.0.1",
            "--port",
            str(other.port),
            "--security",
            "none",
            "--json",
        )
        assert other.connections == 0
    assert done.json["error"]["code"] == "secret.missing"


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
            "last_checked = 2026-11-24",
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
        plain_account(home, 25, **{key: value})
        assert home.run("accounts", "list", "--json").json["error"]["code"] == "config.invalid"


def test_deep_nesting_pipes_and_missing_homes_are_configuration_errors(home: Home, tmp_path: Path) -> None:
    home.file(".config/smtpsetup/config.toml", "a = " + "[" * 5000)
    assert home.run("accounts", "list", "--json").json["error"]["code"] == "config.invalid"
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (str(tmp_path / "pipe"), "~nosuchuser/x"):
        assert home.run("--config", path, "accounts", "list", "--json").code in {0, 78}
    assert home.run("identify", "namn@live.se", "--json", HOME="relative").json["error"]["code"] == "config.invalid"


def test_without_a_home_mail_is_sent_and_the_working_directory_left_alone(
    home: Home, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    home.configure(facts)
    (home.path / "here").mkdir()
    away = replace(home, path=home.path / "here")
    assert away.run("--config", str(home.config), "send", "a@example.com", "--body", "x", HOME="relative").code == 0
    assert len(sandbox.mails) == 1
    assert list(away.path.iterdir()) == []


@pytest.mark.slow
def test_an_unwritable_warning_does_not_stop_a_mail(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    home.file("big.bin", bytes(20_000_000))
    command = f"{sys.executable} -m smtpsetup send a@example.com --body x --attach big.bin 2>/dev/full"
    assert subprocess.run(["sh", "-c", command], env=home.env, cwd=home.path, check=False).returncode == 0
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

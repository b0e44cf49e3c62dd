"""A mail that is not accepted at once is kept or reported, with one line in the log."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.scripts import READY, TO_DATA, TO_DOT, TO_LOGIN, TO_MAIL, TO_RCPT
from tests.sendmail import PROGRAM, body_of, config_text, configured, kept, log_lines, looked_today, sendmail
from tests.servers import ScriptedServer, closed_port

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home, Run

MESSAGE = "To: asa@example.com\nSubject: Nattens rapport\n\nx\n"
Script = tuple[bytes | float | str | None, ...]


def account_at_plain_server(home: Home, port: int, *, rows: str = "", top: str = "") -> None:
    """An account at a server on this machine that has no TLS."""
    text = config_text(port, "", home.file("password", "hemligt\n"), rows=rows, top=top)
    text = text.replace('security = "tls"', 'security = "none"').replace('ca_file = ""\n', "")
    home.file(str(home.config.relative_to(home.path)), text)
    looked_today(home)


LATER: dict[str, Script] = {
    "closed at once": ("drop",),
    "busy": (b"421 4.3.2 busy\r\n", "drop"),
    "login not possible now": (*TO_LOGIN, b"454 4.7.0 later\r\n", "drop"),
    "sender not now": (*TO_MAIL, b"451 4.3.0 later\r\n", None, "drop"),
    "greylisted": (*TO_RCPT, b"450 4.7.1 greylisted\r\n", None, b"221 bye\r\n"),
    "no room": (*TO_DATA, b"452 4.3.1 full\r\n", None, "drop"),
    "content not now": (*TO_DOT, b"451 4.3.0 later\r\n", None, b"221 bye\r\n"),
    "lost after the dot": (*TO_DOT, "drop"),
}
FOR_GOOD: dict[str, tuple[Script, int]] = {
    "sender refused": ((*TO_MAIL, b"553 5.7.1 not yours\r\n", None, b"221 bye\r\n"), 77),
    "recipient refused": ((*TO_RCPT, b"550 5.1.1 unknown\r\n", None, b"221 bye\r\n"), 67),
    "content refused": ((*TO_DOT, b"554 5.7.1 spam\r\n", None, b"221 bye\r\n"), 69),
}
OF_THE_ACCOUNT: dict[str, tuple[Script, int]] = {
    "wrong password": ((*TO_LOGIN, b"535 5.7.8 no\r\n", None, b"221 bye\r\n"), 77),
    "no service": ((b"554 no\r\n",), 69),
}


@pytest.mark.parametrize("case", LATER)
def test_temporary_failures_keep_the_mail_silently(case: str, home: Home) -> None:
    with ScriptedServer((*LATER[case], "drop")) as server:
        account_at_plain_server(home, server.port)
        done = sendmail(home, "-t", stdin=MESSAGE)
    assert (done.code, done.out, done.err) == (0, "", "")
    (mail,) = kept(home)
    assert str(mail.state) == ("unknown" if case == "lost after the dot" else "waiting")
    assert (mail.recipients, mail.subject, mail.next_attempt is None) == (
        ("asa@example.com",),
        "Nattens rapport",
        False,
    )
    assert len(log_lines(home)) == 1


def sent_to(home: Home, script: Script, code: int) -> tuple[Run, Mail]:
    """The run of sendmail against this server, and the one mail that it leaves in the outbox."""
    with ScriptedServer((*script, "drop")) as server:
        account_at_plain_server(home, server.port)
        done = sendmail(home, "-t", stdin=MESSAGE)
    assert (done.code, done.out) == (code, "")
    (mail,) = kept(home)
    return done, mail


@pytest.mark.parametrize("case", FOR_GOOD)
def test_permanent_refusals_are_reported_and_the_mail_is_kept_as_failed(case: str, home: Home) -> None:
    code = FOR_GOOD[case][1]
    done, mail = sent_to(home, *FOR_GOOD[case])
    assert f"smtpsetup outbox retry {mail.id}`" in done.err
    assert (str(mail.state), mail.recipients, mail.next_attempt) == ("failed", ("asa@example.com",), None)
    (line,) = log_lines(home)
    assert f"exitcode={code}" in line


@pytest.mark.parametrize("case", OF_THE_ACCOUNT)
def test_account_errors_are_reported_and_the_mail_waits(case: str, home: Home) -> None:
    code = OF_THE_ACCOUNT[case][1]
    done, mail = sent_to(home, *OF_THE_ACCOUNT[case])
    assert f"as number {mail.id}," in done.err
    assert (str(mail.state), mail.recipients, mail.next_attempt is None) == ("waiting", ("asa@example.com",), False)
    (line,) = log_lines(home)
    assert f"exitcode={code}" in line


@pytest.mark.parametrize("spoilt", ["config", "alias", "no account"])
def test_with_an_unusable_configuration_the_mail_is_saved_to_a_file(
    spoilt: str, facts: SandboxFacts, sandbox: Sandbox, home: Home
) -> None:
    configured(home, facts)
    text = home.config.read_text()
    broken = {"config": text + "[[[", "alias": text + '\n[aliases]\nroot = "nobody"\n', "no account": ""}
    home.config.write_text(broken[spoilt])
    done = sendmail(home, "-t", "bo@example.com", stdin=MESSAGE + "åäö\n")
    assert done.code == 78
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert str(saved) in done.err
    home.config.write_text(text)
    before = len(sandbox.mails)
    assert sendmail(home, "-t", "-i", stdin=saved.read_bytes().decode()).code == 0
    (mail,) = sandbox.mails[before:]
    assert sorted(mail.recipients) == ["asa@example.com", "bo@example.com"]
    assert mail.message.get_content().splitlines() == ["x", "åäö"]


def test_a_missing_ca_file_keeps_the_mail(facts: SandboxFacts, sandbox: Sandbox, home: Home) -> None:
    configured(home, facts)
    home.config.write_text(home.config.read_text().replace('ca_file = "', 'ca_file = "/nowhere'))
    done = sendmail(home, "-t", stdin=MESSAGE)
    assert (done.code, [str(mail.state) for mail in kept(home)]) == (78, ["waiting"])
    assert "No such file" in done.err


def test_a_refused_recipient_is_kept_as_a_separate_mail(home: Home) -> None:
    replies: Script = (b"550 5.1.1 unknown\r\n", None, b"354 go\r\n", "message", b"250 ok\r\n", None, b"221 bye\r\n")
    with ScriptedServer((*TO_DATA, *replies, "drop")) as server:
        account_at_plain_server(home, server.port)
        done = sendmail(home, "asa@example.com", "bo@example.com", stdin=MESSAGE)
    assert done.code == 67
    assert "bo@example.com" in done.err
    assert [(str(mail.state), mail.recipients) for mail in kept(home)] == [("failed", ("bo@example.com",))]


def test_with_queue_never_nothing_is_kept(home: Home) -> None:
    with closed_port() as port:
        account_at_plain_server(home, port, rows='queue = "never"')
        assert sendmail(home, "-t", stdin=MESSAGE).code == 75
    assert kept(home) == []  # what waits here would be sent a second time


def test_with_queue_always_no_connection_is_made(home: Home) -> None:
    with ScriptedServer((READY,)) as server:
        account_at_plain_server(home, server.port, rows='queue = "always"')
        assert sendmail(home, "-t", stdin=MESSAGE).code == 0
        assert server.connections == 0
    assert [str(mail.state) for mail in kept(home)] == ["waiting"]
    assert len(log_lines(home)) == 1


@pytest.mark.matrix
@pytest.mark.parametrize("lines", [0, 1, 12, 16])
def test_a_caller_that_stops_reading_v_output_gets_the_mail_sent_once(
    lines: int, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    process = subprocess.Popen(
        [PROGRAM, "-v", "-t"], env=home.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stderr
    if lines == 0:
        process.stderr.close()
    process.stdin.write(MESSAGE.encode())
    process.stdin.close()
    for _ in range(lines):
        process.stderr.readline()
    process.stderr.close()
    code = process.wait(60)
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",)]
    assert kept(home) == []
    assert code == 0


def test_with_a_damaged_outbox_the_mail_is_saved_and_logged(home: Home, tmp_path: Path) -> None:
    home.file(".local/state/smtpsetup/outbox.db", b"no database" * 1000)
    with closed_port() as port:
        account_at_plain_server(home, port)
        done = sendmail(home, "-t", stdin=MESSAGE)
    assert done.code == 74
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert str(saved) in done.err
    (line,) = log_lines(home)
    assert "exitcode=74" in line


@pytest.mark.slow
def test_mails_of_concurrent_callers_are_all_kept(home: Home) -> None:
    with closed_port() as port:
        account_at_plain_server(home, port)
        running = [
            subprocess.Popen([PROGRAM, "-t"], env=home.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(12)
        ]
        for process in running:
            _out, err = process.communicate(MESSAGE.encode(), timeout=60)
            assert (process.returncode, err) == (0, b"")
    assert len(kept(home)) == len(log_lines(home)) == 12


def test_a_full_disk_is_reported(home: Home) -> None:
    with closed_port() as port:
        account_at_plain_server(home, port)
        script = 'ulimit -f 0; exec "$0" "$@"'
        done = subprocess.run(
            ["sh", "-c", script, PROGRAM, "-t"],
            env=home.unmeasured.env,
            input=MESSAGE.encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 74
    assert b"Traceback" not in done.stderr
    assert b"send it again" in done.stderr.lower()


@pytest.mark.parametrize("secret", ["missing", "empty", "command"])
def test_a_password_that_cannot_be_read_keeps_the_mail(secret: str, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    path = home.path / "password"
    if secret == "missing":
        path.unlink()
    elif secret == "empty":
        path.write_bytes(b"")
    else:
        text = home.config.read_text().replace(
            f'store = "file", path = "{path}"', 'store = "command", command = "false"'
        )
        home.config.write_text(text)
    done = sendmail(home, "-t", stdin=MESSAGE)
    assert done.code == 78
    assert [str(mail.state) for mail in kept(home)] == ["waiting"]


def test_input_is_read_from_a_slow_writer(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    process = subprocess.Popen([PROGRAM, "-t"], env=home.env, stdin=subprocess.PIPE)
    assert process.stdin
    for line in MESSAGE.splitlines(keepends=True):
        os.write(process.stdin.fileno(), line.encode())
        time.sleep(0.1)  # the writer is slow
    process.stdin.close()
    assert process.wait(60) == 0
    assert body_of(sandbox.mails[0]) == b"x\r\n"

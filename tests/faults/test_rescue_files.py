"""A mail that can be neither sent nor queued is saved whole to a file; the error names the file and how to send it."""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.message.message import Envelope
from smtpsetup.sending import rescue
from tests.faults.outboxes import NO_DATABASE, rescue_file
from tests.faults.processes import MESSAGE, executed, own_mount, shell, silent_at, started
from tests.messages import from_bytes
from tests.recording import RecordingServer, plain_account, state_dir
from tests.sendmail import sendmail
from tests.servers import closed_port, wait_for

if TYPE_CHECKING:
    from tests.conftest import Home, Run
    from tests.mail_server import Caught


BODY = "First line\n.\n.two\nlast\n"  # a lone dot ends a message for a sendmail without -i
RECIPIENTS = ("a@example.com", "Å Ä <b@exämple.com>", "c@example.com")
ENVELOPE = {"a@example.com", "b@xn--exmple-cua.com", "c@example.com", "hidden@example.com"}


def send_unqueueable(home: Home, *extra: str, **env: str) -> Run:
    home.file("report.bin", bytes(range(256)) * 400)
    arguments = [argument for name in RECIPIENTS for argument in ("--to", name)]
    more = ("--bcc", "hidden@example.com", "--attach", "report.bin", "-s", "Räkning", "--body", BODY)
    return home.run("send", *arguments, *more, *extra, **env)


def saved_file(run: Run) -> Path:
    """The file that the error names; only its owner can read it."""
    assert run.code == 74, (run.code, run.err)
    match = re.search(r"smtpsetup-sendmail [^`\n]*<\s+(\S+\.eml)", " ".join(run.err.split()))
    assert match, run.err
    path = Path(match[1])
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def assert_whole(content: bytes) -> None:
    message = message_from_bytes(content, policy=policy.default)
    text = message.get_body(("plain",))
    assert text is not None
    assert str(text.get_content()).replace("\r\n", "\n") == BODY
    assert [part.get_content() for part in message.iter_attachments()] == [bytes(range(256)) * 400]
    assert message["Subject"] == "Räkning"


def sent_from_file(home: Home, run: Run) -> Caught:
    """Run the command of the error's hint. Returns the mail that arrived."""
    hint = re.search(r"`smtpsetup-sendmail ([^`<]*)< *(\S+?)`", " ".join(run.err.split()))
    assert hint, run.err
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert sendmail(home, *hint[1].split(), stdin=Path(hint[2]).read_bytes()).code == 0
    (mail,) = server.mails
    return mail


@pytest.mark.parametrize("queue", ["always", "on-failure"])
@pytest.mark.parametrize("obstacle", ["damaged", "a file"])
def test_a_mail_that_cannot_be_queued_is_saved_to_a_file_and_sent_from_there(
    home: Home, obstacle: str, queue: str
) -> None:
    directory = Path(state_dir(home))
    directory.parent.mkdir(parents=True)
    if obstacle == "damaged":
        directory.mkdir()
        (directory / "outbox.db").write_bytes(NO_DATABASE)
    else:
        directory.write_bytes(b"")
    with closed_port() as closed:
        plain_account(home, closed)
        run = send_unqueueable(home, "--queue", queue)
    assert_whole(saved_file(run).read_bytes())
    if obstacle == "damaged":
        assert "smtpsetup outbox repair" in run.err
    else:
        directory.unlink()
    arrival = sent_from_file(home, run)
    assert set(arrival.recipients) == ENVELOPE
    assert b"hidden@example.com" not in arrival.content
    assert_whole(arrival.content)


@pytest.mark.parametrize("kilobytes", [8, 40, 100, 132])
def test_a_mail_that_a_full_disk_cannot_queue_is_saved_elsewhere(home: Home, tmp_path: Path, kilobytes: int) -> None:
    full = tmp_path / "full"
    with closed_port() as closed:
        plain_account(home, closed)
        mounted = own_mount(home, full, f"size={kilobytes}k")
        run = send_unqueueable(mounted, "--queue", "always", SMTPSETUP_STATE_DIR=str(full))
    path = saved_file(run)
    assert not path.is_relative_to(full)
    assert_whole(path.read_bytes())
    assert set(sent_from_file(home, run).recipients) == ENVELOPE


def test_a_mail_that_cannot_be_saved_anywhere_is_reported_lost(home: Home) -> None:
    plain_account(home, 1)
    run = send_unqueueable(replace(home, disk_is_full=True), "--queue", "always")
    assert run.code == 74
    assert "It is not saved anywhere else" in " ".join(run.err.split())


def test_the_hint_quotes_a_path_with_a_space(home: Home) -> None:
    odd = home.path / "my state"
    odd.mkdir()
    (odd / "outbox.db").write_bytes(NO_DATABASE)
    plain_account(home, 1)
    run = send_unqueueable(home, "--queue", "always", SMTPSETUP_STATE_DIR=str(odd))
    assert run.code == 74
    hint = re.search(r"`(smtpsetup-sendmail [^`]*)`", " ".join(run.err.split()))
    assert hint
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert shell(home, hint[1], PATH=f"{Path(sys.executable).parent}:{home.env['PATH']}").code == 0
    assert_whole(server.mails[0].content)


# of smtpsetup-sendmail


MANY = [f"person-{number}.with-a-long-name@a-rather-long-domain.example" for number in range(200)]


@pytest.mark.parametrize(
    ("arguments", "header", "recipients"),
    [
        (["new@example.com"], "Resent-To: old@example.com\nTo: older@example.com\n", ["new@example.com"]),
        (
            ["-t"],
            "Resent-To: new@example.com\nResent-To: old@example.com\nTo: older@example.com\n",
            ["new@example.com", "old@example.com"],
        ),
        (["new@example.com"], "To: older@example.com\nBcc: hidden@example.com\n", ["new@example.com"]),
        (MANY, "To: everyone@example.com\n", MANY),
    ],
    ids=["resent", "resent twice", "other recipients", "many"],
)
def test_a_saved_mail_is_sent_to_its_recipients_alone(
    home: Home, arguments: list[str], header: str, recipients: list[str]
) -> None:
    home.file(".local/state/smtpsetup/outbox.db", NO_DATABASE)
    with closed_port() as closed:
        plain_account(home, closed)
        failed = sendmail(home, *arguments, stdin=f"From: info@example.com\nSubject: x\n{header}\nThe text.\n")
    assert failed.code == 74, failed.err
    assert sorted(sent_from_file(home, failed).recipients) == sorted(recipients)


@pytest.mark.parametrize(
    ("arguments", "header", "recipients"),
    [
        (
            ("-t",),
            "Resent-To: new@example.com\nResent-From: info@example.com\nTo: older@example.com\n",
            {"new@example.com"},
        ),
        (
            ("new@example.com",),
            "Resent-To: old@example.com\nResent-Bcc: evil@example.com\nTo: older@example.com\n",
            {"new@example.com"},
        ),
        (
            ("-t", "b@example.com"),
            "To: a@example.com\nBcc: hidden@example.com\n",
            {"a@example.com", "b@example.com", "hidden@example.com"},
        ),
    ],
)
def test_a_mail_saved_without_a_configuration_is_sent_to_its_recipients_alone(
    home: Home, server: RecordingServer, arguments: tuple[str, ...], header: str, recipients: set[str]
) -> None:
    plain_account(home, server.port)
    text = home.config.read_text()
    home.config.write_text("[[[")  # broken: only the message and the arguments are known
    assert sendmail(home, *arguments, stdin=f"{header}Subject: x\n\nx\n").code == 78
    home.config.write_text(text)
    assert sendmail(home, "-t", "-i", stdin=rescue_file(home).read_bytes()).code == 0
    assert set(server.mails[0].recipients) == recipients
    assert b"X-Saved-By" not in server.mails[0].content


def test_a_recipient_that_is_not_utf_8_does_not_lose_the_mail(home: Home) -> None:
    plain_account(home, 1)
    assert sendmail(home, "-a", "nosuch", b"r\xff@example.org", stdin=MESSAGE).code == 78
    assert b"Resent-Bcc: r\xff@example.org\r\n" in rescue_file(home).read_bytes()


def test_a_recipient_with_a_line_break_adds_no_header_to_a_saved_mail(home: Home) -> None:
    plain_account(home, 1)
    assert sendmail(home, "-a", "nosuch", "r@x.se\nSubject: injected\n\nbody", stdin=MESSAGE).code == 78
    assert b"\nSubject: injected" not in rescue_file(home).read_bytes()


def test_without_an_outbox_unresolvable_recipients_are_saved(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.file(".local/state/smtpsetup/outbox.db", NO_DATABASE)
        done = sendmail(home, "nobody1", "nobody2", "good@example.com", stdin=MESSAGE)
    assert done.code in (67, 74)
    assert [arrival.recipients for arrival in server.mails] == [("good@example.com",)]
    saved = rescue_file(home)
    assert b"Resent-Bcc: nobody1, nobody2\r\n" in saved.read_bytes()
    assert str(saved) in done.err


def test_ctrl_c_without_an_outbox_leaves_the_mail_in_a_file(home: Home) -> None:
    with silent_at("RCPT") as (server, reached):
        plain_account(home, server.port)
        home.file(".local/state/smtpsetup/outbox.db", NO_DATABASE)
        process = started(home, "-t")
        wait_for(lambda: reached)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert b"asa@example.com" in rescue_file(home).read_bytes()


ROOM_FOR_ONE = """
import os, sys
from smtpsetup.sending import rescue
saved, times = rescue.saved, []
def once(message, envelope):
    times.append(1)
    return saved(message, envelope) if len(times) == 1 else None
rescue.saved = once
from smtpsetup.sendmail.main import main
main()
"""


def test_the_mail_is_saved_first_when_there_is_room_for_one_file(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        home.file(".local/state/smtpsetup/outbox.db", NO_DATABASE)
        done = executed(home, sys.executable, "-c", ROOM_FOR_ONE, "-t", stdin=MESSAGE)
    saved = rescue_file(home)
    assert (done.code, str(saved) in done.err) == (74, True)
    assert "asa@example.com" in saved.read_text()


def test_a_mail_is_saved_in_var_tmp_and_never_in_the_root_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("SMTPSETUP_STATE_DIR", "/nowhere/state")
    monkeypatch.delenv("TMPDIR", raising=False)
    before = set(os.listdir("/"))
    path = rescue.saved(from_bytes(b"Subject: x\r\n\r\nx\r\n"), Envelope("", ("a@example.com",)))
    assert path
    Path(path).unlink()
    assert path.startswith("/var/tmp/")
    assert set(os.listdir("/")) == before

"""A program that is terminated while it sends loses no mail and says what it has kept."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.mail_state import MailState
from tests import answers
from tests.faults.outboxes import fill
from tests.faults.processes import MESSAGE, executed, silent_at, started
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import PROGRAM, kept, sendmail
from tests.servers import closed_port, missing, wait_for

if TYPE_CHECKING:
    from tests.conftest import Home


ENDINGS = [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("CONNECT", MailState.WAITING),
        ("EHLO", MailState.WAITING),
        ("RCPT", MailState.WAITING),
        (".", MailState.UNKNOWN),
    ],
)
def test_a_sendmail_terminated_while_sending_loses_nothing(
    home: Home, number: signal.Signals, verb: str, state: MailState
) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "-t")
        wait_for(lambda: reached)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode != 0
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [(mail["state"], mail["recipients"], mail["subject"]) for mail in listed] == [
        (str(state), ["asa@example.com"], "Nattens rapport")
    ]
    with RecordingServer() as other:
        plain_account(home, other.port)
        assert home.run("outbox", "flush").code == 0
    assert [arrival.recipients for arrival in other.mails] == [("asa@example.com",)]


def test_sendmail_syncs_the_mail_to_disk_before_it_connects(home: Home, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        missing("needs strace: apt-get install strace")
    trace = tmp_path / "trace"
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert sendmail(home, "-t", stdin=MESSAGE).code == 0  # makes the outbox
        argv = ["strace", "-f", "-ttt", "-e", "trace=read,fsync,fdatasync,connect", "-o", str(trace), PROGRAM, "-t"]
        subprocess.run(argv, env=home.unmeasured.env, input=MESSAGE.encode(), check=True, timeout=60)
    calls = [line.split(maxsplit=2)[1:] for line in trace.read_text().splitlines()]
    names = [(float(when), call) for when, call in calls]
    connected = next(when for when, call in names if call.startswith("connect(") and f"htons({server.port})" in call)
    end_of_input = max(when for when, call in names if call.startswith("read(0,") and call.endswith("= 0"))
    synced = [
        when for when, call in names if call.startswith(("fsync(", "fdatasync(")) and end_of_input < when < connected
    ]
    assert synced
    assert server.mails


def test_unresolvable_recipients_are_kept_in_the_same_commit_as_the_rest(home: Home) -> None:
    with silent_at("CONNECT") as (server, reached):
        plain_account(home, server.port)
        process = started(home, "asa@example.com", "nobody-of-that-name")
        wait_for(lambda: reached)
        process.kill()
        process.communicate(timeout=20)
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [(mail["recipients"], mail["state"]) for mail in listed] == [
        (["asa@example.com"], "waiting"),
        (["nobody-of-that-name"], "failed"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("verb", "state"), [("CONNECT", "waiting"), ("RCPT", "waiting"), (".", "unknown")])
def test_a_terminated_send_keeps_the_mail_and_says_so(
    home: Home, number: signal.Signals, verb: str, state: str
) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "send", "asa@example.com", "-s", "x", program="smtpsetup")
        wait_for(lambda: reached)
        process.send_signal(number)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["state"], mail["recipients"]) == (state, ["asa@example.com"])
    assert f"in the outbox as number {mail['outbox_id']}" in " ".join(err.decode().split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["send", "flush", "batch"])
@pytest.mark.parametrize("verb", ["CONNECT", "."])
def test_an_interrupted_command_writes_one_document(
    home: Home, number: signal.Signals, command: str, verb: str
) -> None:
    home.file("mails.jsonl", '{"to": "asa@example.com", "subject": "x", "body": "y"}\n')
    arguments = {
        "send": ("send", "asa@example.com", "-s", "x", "--queue", "never"),
        "flush": ("outbox", "flush"),
        "batch": ("send", "--batch", str(home.path / "mails.jsonl")),
    }[command]
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        if command == "flush":
            fill(home, new_mail(1))
        process = started(home, *arguments, "--json", program="smtpsetup")
        wait_for(lambda: reached)
        process.send_signal(number)
        began = time.monotonic()
        out, _err = process.communicate(timeout=40)
        seconds = time.monotonic() - began
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    (document,) = [line for line in answers.read_all(out.decode(), arguments) if "schema" in line]
    assert document["ok"] is False
    assert document["error"]["code"] in ("connection.lost", "data.lost-before-reply")
    assert seconds < 10 or verb == "."  # nothing was under way that an answer could be awaited for


@pytest.mark.parametrize("verb", ["RCPT", "."])
def test_a_terminated_send_without_queue_says_that_nothing_is_kept(home: Home, verb: str) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "send", "asa@example.com", "-s", "x", "--queue", "never", program="smtpsetup")
        wait_for(lambda: reached)
        process.terminate()
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert kept(home) == []
    shown = " ".join(err.decode().split())
    assert "The mail is not kept" in shown
    assert ("the mail may have arrived" in shown) == (verb == ".")


def test_a_terminated_flush_waits_for_the_pending_reply(home: Home) -> None:
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            reached.append(turn.verb)
            time.sleep(0.5)  # a server takes its time to store a message
        return None

    fill(home, *(new_mail(number) for number in range(5)))
    with MailServer(answer) as server:
        plain_account(home, server.port)
        process = started(home, "outbox", "flush", program="smtpsetup")
        wait_for(lambda: reached)
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 143
        wait_for(lambda: len(server.mails) == len(reached))
    listed = home.run("outbox", "list", "--json").json["result"]
    assert len(server.mails) + len(listed) == 5
    assert {mail["state"] for mail in listed} == {"waiting"}


def refuses_one_and_is_silent_at_quit(turn: Turn) -> bytes | None:
    """A temporary refusal of one recipient, and no reply to QUIT in time."""
    if turn.verb == "QUIT":
        time.sleep(5)  # longer than the client waits
    return b"451 4.3.0 later\r\n" if "<later@" in turn.line and turn.verb == "RCPT" else None


@pytest.mark.parametrize("program", ["send", "sendmail"])
def test_an_accepted_recipient_gets_no_second_copy_after_a_kill_at_quit(home: Home, program: str) -> None:
    recipients = ("good@example.com", "later@example.com")
    with MailServer(refuses_one_and_is_silent_at_quit) as server:
        plain_account(home, server.port)
        process = started(
            home,
            *(("send",) if program == "send" else ()),
            *recipients,
            program="smtpsetup" if program == "send" else PROGRAM,
        )
        wait_for(lambda: "QUIT" in server.lines)
        process.send_signal(signal.SIGTERM if program == "send" else signal.SIGKILL)
        process.communicate(timeout=20)
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [(mail["recipients"], mail["state"]) for mail in listed] == [(["later@example.com"], "waiting")]


def test_a_queued_mail_is_not_reported_lost_after_a_signal(home: Home) -> None:
    plain_account(home, 1)
    process = started(home, "send", "kund@example.com", "--queue", "always", program="smtpsetup")
    wait_for(lambda: Path(state_dir(home), "outbox.reserve").exists())
    process.terminate()
    _out, err = process.communicate(timeout=20)
    assert (process.returncode == 0) == ("outbox as number" in " ".join(err.decode().split()))
    assert process.returncode == 0
    assert len(kept(home)) == 1


def test_a_bug_after_the_commit_reports_the_mail_as_queued(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        code = (
            "import smtpsetup.sending.send_spooled as s; s.send = None; from smtpsetup.sendmail.main import main; "
            "main()"
        )
        done = executed(home, sys.executable, "-c", code, "-t", stdin=MESSAGE)
    assert (done.code, "The mail is in the outbox" in done.err) == (70, True)
    assert not list(home.path.rglob("smtpsetup-unsent-*.eml"))
    assert len(kept(home)) == 1

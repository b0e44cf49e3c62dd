"""What a hostile reviewer of the sendmail, the outbox and its repair has found: each is a rule here."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.message.html_to_text import text_of
from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.repair import repair
from smtpsetup.outbox.store import Outbox
from smtpsetup.setup import doctor
from tests.faults.test_nothing_lost import as_version_1, fill, silent_at, started
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import PROGRAM, kept, sendmail
from tests.servers import closed_port, missing, wait_for

if TYPE_CHECKING:
    from tests.conftest import Home

MESSAGE = "To: asa@example.com\nSubject: x\n\nx\n"
GARBAGE = b"no database" * 1000


def changed(home: Home, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(f"{state_dir(home)}/outbox.db")) as db, db:
        db.execute(statement)


def test_a_recipient_that_is_not_utf_8_does_not_lose_the_mail(home: Home) -> None:
    plain_account(home, 1)
    done = sendmail(home, "-a", "nosuch", b"r\xff@example.org", stdin=MESSAGE)
    assert done.code == 78
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert b"Resent-Bcc: r\xff@example.org\r\n" in saved.read_bytes()


def test_a_recipient_with_a_line_break_adds_no_header_to_a_saved_mail(home: Home) -> None:
    plain_account(home, 1)
    assert sendmail(home, "-a", "nosuch", "r@x.se\nSubject: injected\n\nbody", stdin=MESSAGE).code == 78
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert b"\nSubject: injected" not in saved.read_bytes()


def test_without_an_outbox_unresolvable_recipients_are_saved(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.file(".local/state/smtpsetup/outbox.db", GARBAGE)
        done = sendmail(home, "nobody1", "nobody2", "good@example.com", stdin=MESSAGE)
    assert done.code in (67, 74)
    assert [arrival.recipients for arrival in server.mails] == [("good@example.com",)]
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert b"Resent-Bcc: nobody1, nobody2\r\n" in saved.read_bytes()
    assert str(saved) in done.err


def partly(turn: Turn) -> bytes | None:
    """One recipient later, the other now, and no answer to QUIT."""
    if turn.verb == "QUIT":
        time.sleep(5)  # longer than it is waited for
    return b"451 4.3.0 later\r\n" if "<later@" in turn.line and turn.verb == "RCPT" else None


@pytest.mark.parametrize("program", ["send", "sendmail"])
def test_an_accepted_recipient_gets_no_second_copy_after_a_kill_at_quit(home: Home, program: str) -> None:
    recipients = ("good@example.com", "later@example.com")
    with MailServer(partly) as server:
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


def held(home: Home, *, is_possible: bool) -> None:
    with Outbox(state_dir(home)) as box:
        mail = new_mail(1)
        number = box.add(NewMail(*mail[:5], MailState.SENDING, holds=True, lease="dead"))
        box.mark_possibly_delivered(number, is_possible=is_possible)


@pytest.mark.parametrize("is_possible", [True, False])
def test_a_held_mail_that_may_have_arrived_stays_held_through_a_repair(home: Home, *, is_possible: bool) -> None:
    held(home, is_possible=is_possible)
    repair(state_dir(home))
    (mail,) = kept(home)
    expected = (MailState.UNKNOWN, True) if is_possible else (MailState.WAITING, False)
    assert (mail.state, mail.next_attempt is None) == expected


def test_a_mail_with_a_damaged_state_is_reported_and_can_be_retried(home: Home) -> None:
    fill(home, new_mail(1), new_mail(2))
    changed(home, "UPDATE mail SET state = 'waitinf' WHERE id = 1")
    with RecordingServer() as server:
        plain_account(home, server.port)
        flushed = home.run("outbox", "flush")
        assert (flushed.code, "outbox.damaged" in flushed.err) == (74, True)
        assert len(server.mails) == 1
        assert home.run("outbox", "retry", "1").code == 0
        assert home.run("outbox", "flush").code == 0
        assert len(server.mails) == 2


def test_a_repair_saves_a_mail_with_a_damaged_state(home: Home) -> None:
    fill(home, new_mail(1))
    changed(home, "UPDATE mail SET state = 'waitinf'")
    assert repair(state_dir(home))[:2] == (1, 0)
    assert [mail.state for mail in kept(home)] == [MailState.FAILED]


def test_an_outbox_of_version_1_without_its_first_page_is_repaired(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(5)))
    as_version_1(Path(state_dir(home)))
    with Path(state_dir(home), "outbox.db").open("r+b") as file:
        file.write(b"\xa5" * 4096)
    assert repair(state_dir(home))[0] == 5
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 5


def test_ctrl_c_without_an_outbox_leaves_the_mail_in_a_file(home: Home) -> None:
    with silent_at("RCPT") as (server, reached):
        plain_account(home, server.port)
        home.file(".local/state/smtpsetup/outbox.db", GARBAGE)
        process = started(home, "-t")
        wait_for(lambda: reached)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert b"asa@example.com" in saved.read_bytes()


def test_a_mail_damaged_during_a_flush_does_not_stop_the_others(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(30)))

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and turn.accepted == 2:  # behind those that are taken already
            changed(home, "UPDATE mail SET sender = 'evil@example.com' WHERE id = 27")
        return None

    with MailServer(answer) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 74
    assert len(server.mails) == 29


def test_a_server_that_answers_every_mail_from_with_421_is_left_soon(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(40)))
    with MailServer(lambda turn: b"421 4.3.2 shutting down\r\n" if turn.verb == "MAIL" else None) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert server.connections <= 3
    assert sum(mail.attempts for mail in kept(home)) <= 3


@pytest.mark.timeout(20)
def test_an_endless_tag_name_takes_linear_time() -> None:
    text_of("<" + "a" * 1_000_000)


@pytest.mark.timeout(60)
def test_html_that_is_almost_a_path_takes_linear_time(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        row = '{"to": "a@example.com", "html": "' + "/" * 100_000 + '!"}\n'
        assert home.run("send", "--batch", "-", stdin=row).code == 0
    assert len(server.mails) == 1


def test_a_program_behind_a_symlink_of_another_user_is_not_roots(tmp_path: Path) -> None:
    if os.getuid() != 0:
        missing("needs root")
    base = Path("/usr/local/lib/smtpsetup-test-links")
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(mode=0o755)
    try:
        (base / "program").write_bytes(b"#!/home/alice/python\n")
        (tmp_path / "turned").symlink_to("/usr/bin/env")
        os.lchown(tmp_path / "turned", 65534, 65534)
        (base / "link").symlink_to(tmp_path / "turned")
        assert doctor._place_of_others(str(base / "link")) is not None
        assert doctor._place_of_others(str(base / "program")) == "/home/alice/python"
    finally:
        shutil.rmtree(base)


def test_a_comma_in_a_column_name_does_not_separate_recipients(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        table = home.file("kunder.csv", 'to;"last, first"\na@example.com;Öberg\n')
        run = home.run("send", "--merge", str(table), "--body", "x", "--to", "${last, first} <$to>")
    assert (run.code, len(server.mails)) == (0, 1), run.err


def test_an_outbox_on_a_full_disk_is_listed(home: Home) -> None:
    state = home.path / "full"
    script = (
        'cd "$0" && "$1" -m smtpsetup send kund@example.com --body x --queue always 2>/dev/null; cat /dev/zero > fill '
        "2>/dev/null;"
        ' rm -f outbox.reserve; cat /dev/zero > more 2>/dev/null; "$1" -m smtpsetup outbox list --json'
    )
    plain_account(home, 1)
    state.mkdir()
    mounted = ("unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size=3m none {state} && exec "$@"', "sh")
    argv = [*mounted, "sh", "-c", script, str(state), sys.executable]
    env = {**home.unmeasured.env, "SMTPSETUP_STATE_DIR": str(state)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, '"kund@example.com"' in done.stdout) == (0, True), done.stderr


def test_a_bug_after_the_commit_reports_the_mail_as_queued(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        code = (
            "import smtpsetup.sending.send_spooled as s; s.send = None; from smtpsetup.sendmail.main import main; "
            "main()"
        )
        argv = [sys.executable, "-c", code, "-t"]
        done = subprocess.run(
            argv, env=home.env, input=MESSAGE, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, "The mail is in the outbox" in done.stderr) == (70, True)
    assert not list(home.path.rglob("smtpsetup-unsent-*.eml"))
    assert len(kept(home)) == 1


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
        home.file(".local/state/smtpsetup/outbox.db", GARBAGE)
        argv = [sys.executable, "-c", ROOM_FOR_ONE, "-t"]
        done = subprocess.run(
            argv, env=home.env, input=MESSAGE, capture_output=True, text=True, timeout=60, check=False
        )
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert (done.returncode, str(saved) in done.stderr) == (74, True)
    assert "asa@example.com" in saved.read_text()


def test_retry_reports_a_damaged_mail_and_retries_the_others(home: Home) -> None:
    fill(home, new_mail(1), new_mail(2))
    changed(home, "UPDATE content SET body = x'00' WHERE id = 1")
    run = home.run("outbox", "retry", "--all", "--json")
    assert (run.code, run.json["error"]["code"], run.json["result"]) == (74, "outbox.damaged", {"retried": [2]})

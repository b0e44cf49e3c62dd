"""Trouble in the midst of it.

A repair that is killed, a disk that fills up during a run, a state directory that may not be written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.store import Outbox
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.servers import closed_port, missing

if TYPE_CHECKING:
    from tests.conftest import Home

MAILS = 30
PAGE = 4096
KILLED_BEFORE_STATEMENT = """
import os, signal, sqlite3, sys
from smtpsetup.outbox.repair import repair
left, connect = int(sys.argv[2]), sqlite3.connect
def count(_statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def counted(*arguments, **options):
    db = connect(*arguments, **options)
    db.set_trace_callback(count)
    return db
sqlite3.connect = counted
repair(sys.argv[1])
"""


def own_mount(home: Home, directory: Path, options: str) -> Home:
    """A home whose commands find a small file system of their own in a directory."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode
    ):
        missing("needs user and mount namespaces: apt-get install util-linux")
    directory.mkdir()
    return replace(
        home, prefix=("unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o {options} none {directory} && exec "$@"', "sh")
    )


@pytest.mark.matrix
@pytest.mark.parametrize("statements", [0, 1, 8, 16, 40, 100, 150])
def test_a_repair_that_is_killed_can_be_run_again(home: Home, statements: int) -> None:
    plain_account(home, 1)
    directory = state_dir(home)
    with Outbox(directory) as box:
        for number in range(MAILS):
            box.add(new_mail(number))
    with Path(directory, "outbox.db").open("r+b") as file:
        file.truncate(os.path.getsize(file.name) - 100)  # the last page is torn: a little is lost at most
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_STATEMENT, directory, str(statements)],
        env=home.env,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9
    assert home.run("outbox", "repair").code == 0
    left = home.run("outbox", "list", "--json")
    assert left.code == 0, left.err
    assert len(left.json["result"]) >= MAILS - 10


ADDED_DURING_REPAIR = """
import os, sys
from smtpsetup.outbox.store import Outbox
from tests.recording import new_mail
with Outbox(sys.argv[1]) as box:
    print("open", flush=True)
    sys.stdin.readline()
    box.add(new_mail(1000))
"""


@pytest.mark.slow
def test_a_mail_that_is_queued_while_the_outbox_is_repaired_is_refused_or_kept(home: Home) -> None:
    plain_account(home, 1)
    directory = state_dir(home)
    with Outbox(directory) as box:
        for number in range(10 * MAILS):
            box.add(new_mail(number))
    with Path(directory, "outbox.db").open("r+b") as file:
        file.seek(os.path.getsize(file.name) // 2 // PAGE * PAGE)
        file.write(b"\0" * PAGE)  # in the middle: who only adds does not meet it
    adder = [sys.executable, "-c", ADDED_DURING_REPAIR, directory]
    with subprocess.Popen(
        adder, env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        with subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "outbox", "repair"], env=home.env, stdout=subprocess.DEVNULL
        ) as repair:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may wait for whoever has the outbox open
                repair.wait(3)
            process.communicate(b"\n", timeout=60)
            repair.wait(60)
    listed = {mail["subject"] for mail in home.run("outbox", "list", "--json").json["result"]}
    assert process.returncode != 0 or "1000" in listed


def test_two_repairs_in_the_same_second_keep_both_damaged_files(home: Home) -> None:
    plain_account(home, 1)
    found = set()
    for _time in range(2):
        home.file(".local/state/smtpsetup/outbox.db", b"no database" * 1000)
        found.add(home.run("outbox", "repair", "--json").json["result"]["damaged_file"])
    assert len(found) == 2


@pytest.mark.parametrize("kilobytes", [8, 12, 16])
def test_a_batch_without_room_for_its_journal_stops_and_says_so(home: Home, kilobytes: int) -> None:
    rows = ({"to": "kund@example.com", "subject": str(line), "body": "x"} for line in range(400))
    batch = home.file("batch.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        run = own_mount(home, state, f"size={kilobytes}k").run(
            "send", "--batch", str(batch), SMTPSETUP_STATE_DIR=str(state)
        )
    assert run.code == 74, run.err
    told = " ".join(run.err.split())
    assert re.search("no space|disk is full", told), run.err
    assert "connection" not in told, run.err
    assert len(set(server.message_ids)) == len(server.message_ids)


@pytest.mark.parametrize("queue", ["always", "on-failure"])
def test_with_a_read_only_state_directory_a_queued_mail_is_saved_elsewhere(home: Home, queue: str) -> None:
    state = home.path / "state"
    with closed_port() as nobody:
        plain_account(home, nobody)
        run = own_mount(home, state, "ro").run(
            "send", "kund@example.com", "--body", "x", "--queue", queue, SMTPSETUP_STATE_DIR=str(state)
        )
    assert run.code == 74
    saved = re.search(r"< *(\S+\.eml)", " ".join(run.err.split()))
    assert saved, run.err
    assert b"kund@example.com" in Path(saved[1]).read_bytes()


def test_with_a_read_only_state_directory_mail_is_sent(home: Home) -> None:
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        run = own_mount(home, state, "ro").run(
            "send", "kund@example.com", "--body", "x", SMTPSETUP_STATE_DIR=str(state)
        )
    assert (run.code, run.err) == (0, "")
    assert len(server.mails) == 1


@pytest.mark.parametrize("command", ["flush", "repair"])
def test_a_read_only_state_directory_is_reported(home: Home, command: str) -> None:
    plain_account(home, 1)
    state = home.path / "state"
    run = own_mount(home, state, "ro").run("outbox", command, SMTPSETUP_STATE_DIR=str(state))
    assert run.code == 74
    assert str(state) in " ".join(run.err.split())


MANY = [f"person-{number}.with-a-long-name@a-rather-long-domain.example" for number in range(200)]


@pytest.mark.matrix
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
    sendmail = [sys.executable, "-c", "from smtpsetup.sendmail.main import main; main()"]
    home.file(".local/state/smtpsetup/outbox.db", b"no database" * 1000)
    with closed_port() as nobody:
        plain_account(home, nobody)
        message = f"From: info@example.com\nSubject: x\n{header}\nThe text.\n"
        failed = subprocess.run(
            [*sendmail, *arguments],
            env=home.env,
            cwd=home.path,
            input=message,
            capture_output=True,
            text=True,
            check=False,
        )
    assert failed.returncode == 74, failed.stderr
    hint = re.search(r"`smtpsetup-sendmail ([^`<]*)< *([^`]+?)`", failed.stderr)
    assert hint, failed.stderr
    with RecordingServer() as server, Path(hint[2]).open("rb") as file:
        plain_account(home, server.port)
        subprocess.run([*sendmail, *hint[1].split()], env=home.env, cwd=home.path, stdin=file, check=True)
    assert sorted(server.mails[0].recipients) == sorted(recipients)

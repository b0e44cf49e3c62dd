"""Many processes use one outbox: nothing is lost or sent twice, and no lock error is shown."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.servers import closed_port, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home

SENDERS, FLUSHERS = 50, 10


def started(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", *arguments],
        env=home.env,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def assert_all_succeed(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err.decode()
        assert b"locked" not in err
        assert b"Error" not in err


def two_accounts(home: Home, port: int, other_port: int) -> None:
    plain_account(home, port)
    home.config.write_text(
        home.config.read_text()
        + home.config.read_text().replace("accounts.a", "accounts.b").replace(f"{port}", f"{other_port}")
    )


def test_fifty_sends_and_ten_flushes_in_parallel_lose_and_repeat_nothing(home: Home) -> None:
    with closed_port() as closed, RecordingServer(pause=0.005) as server:
        two_accounts(home, server.port, closed)
        server.replies = {"MAIL": b"451 4.3.0 not now\r\n"}
        processes = []
        for number in range(SENDERS):
            queue = ("always", "on-failure")[number % 2]
            account = "b" if number % 5 == 0 else "a"
            processes.append(
                started(
                    home, "send", "-a", account, "kund@example.com", "-s", str(number), "--body", "x", "--queue", queue
                )
            )
            if number % (SENDERS // FLUSHERS) == 0:
                processes.append(started(home, "outbox", "flush"))
            if number == SENDERS // 2:
                wait_for(lambda: server.lines)
                server.replies = {}
        assert_all_succeed(processes)
        two_accounts(home, server.port, server.port)
        assert home.run("outbox", "retry", "--all").code == 0
        assert_all_succeed([started(home, "outbox", "flush") for _flusher in range(FLUSHERS)])
    assert Counter(server.subjects) == Counter(str(number) for number in range(SENDERS))
    with SqliteOutbox(state_dir(home)) as box:
        assert box.mails() == []


def test_ten_flushes_in_parallel_send_each_mail_once(home: Home) -> None:
    with RecordingServer(pause=0.002) as server:
        plain_account(home, server.port)
        with SqliteOutbox(state_dir(home)) as box:
            for number in range(200):
                box.add(new_mail(number))
        assert_all_succeed([started(home, "outbox", "flush") for _flusher in range(FLUSHERS)])
    assert Counter(server.message_ids) == Counter(f"<{number}@test.example>" for number in range(200))


CREATED_TOGETHER = """
import os, sys, time
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import new_mail
print("ready", flush=True)
sys.stdin.readline()
SqliteOutbox(sys.argv[1]).add(new_mail(int(sys.argv[2])))
"""


@pytest.mark.parametrize("attempt", range(6))
def test_an_outbox_can_be_created_by_many_processes_at_once(home: Home, tmp_path: Path, attempt: int) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATED_TOGETHER, str(tmp_path / "state"), str(number)],
            env={**home.env, "PYTHONWARNINGS": "default"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(12)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
    with SqliteOutbox(str(tmp_path / "state")) as box:
        assert len(box.mails()) == 12

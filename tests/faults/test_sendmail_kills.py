"""2: smtpsetup-sendmail killed a thousand times at random moments.

What was on the disk is never lost, and doubles only where the reply was out.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.recording import RecordingServer, plain_account
from tests.sendmail import PROGRAM, kept

if TYPE_CHECKING:
    from tests.conftest import Home

SEED = 20261126
KILLS = 125
CHUNKS = range(8)  # a thousand in all, each chunk on its own, so that two processors share them
SOONEST = 0.03  # seconds; no Python has started by then
PAUSE = 0.01  # seconds that the server takes over each message, so that kills land while an answer is awaited


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_killed_sendmail_loses_no_committed_mail(home: Home, chunk: int) -> None:
    source = random.Random(f"{SEED} {chunk}")
    longest, count, kills = 0.0, 0, 0
    accepted: set[str] = set()
    with RecordingServer(pause=PAUSE) as server:
        plain_account(home, server.port)
        while kills < KILLS:
            before = len(server.lines)
            started = time.monotonic()
            code = run(home, str(count), source.uniform(SOONEST, longest) if longest else None)
            longest = longest or (time.monotonic() - started) * 1.2
            kills += code is None
            if code == 0 or any(command.startswith("EHLO") for command in server.lines[before:]):
                accepted.add(str(count))  # who has connected has committed before
            assert code in (0, None), (SEED, count)
            count += 1
        left = {mail.subject for mail in kept(home)}
        arrived_before = Counter(subject_of(arrival.content) for arrival in server.mails)
        assert accepted <= left | set(arrived_before), (SEED, accepted - left - set(arrived_before))
        for _flush in range(3):
            assert home.run("outbox", "retry", "--all").code == 0
            assert home.run("outbox", "flush").code == 0
        assert kept(home) == []
    arrived = Counter(subject_of(arrival.content) for arrival in server.mails)
    assert accepted <= set(arrived)
    last = {arrival.connection: arrival for arrival in server.mails}
    for subject, times in arrived.items():
        copies = [arrival for arrival in server.mails if subject_of(arrival.content) == subject]
        assert times <= 2, (SEED, subject)
        assert len({arrival.message_id for arrival in copies}) == 1, (SEED, subject)
        for earlier in copies[:-1]:  # the reply to the first was on its way
            assert earlier.connection not in server.said_goodbye, (SEED, subject)
            assert last[earlier.connection] is earlier


def run(home: Home, subject: str, seconds: float | None) -> int | None:
    """The exit code, None where it was killed after so many seconds."""
    process = subprocess.Popen(
        [PROGRAM, "-t"],
        env=home.unmeasured.env,
        cwd=home.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _out, err = process.communicate(
            f"To: kund@example.com\nSubject: {subject}\n\nx\n".encode(), timeout=seconds or 60
        )
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    assert b"internal.bug" not in err, err.decode()
    return process.returncode


def subject_of(content: bytes) -> str:
    return content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


BEFORE_THE_COMMIT = """
import os, signal, sqlite3, sys
from smtpsetup.outbox import store
at = sys.argv.pop(1)
commit = store.Outbox._commit
def killed(self):
    if at == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
store.Outbox._commit = killed
from smtpsetup.sendmail.main import main
main()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_mail_survives_a_kill_of_sendmail_from_the_commit_on(home: Home, moment: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        argv = [sys.executable, "-c", BEFORE_THE_COMMIT, moment, "-t"]
        message = b"To: kund@example.com\nSubject: 1\n\nx\n"
        done = subprocess.run(
            argv, env=home.unmeasured.env, cwd=home.path, input=message, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == -9
        assert not server.lines
    assert [mail.subject for mail in kept(home)] == ([] if moment == "before" else ["1"])

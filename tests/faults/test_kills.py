"""Killed at any moment: no accepted mail is lost, and only mail in flight can arrive twice."""

from __future__ import annotations

import email
import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import TransportKind
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.api_accounts import ADDRESS, TOKEN, write_account
from tests.faults.processes import executed, killed_before_statement
from tests.messages import from_bytes
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import PROGRAM, kept
from tests.servers import closed_port
from tests.storms import share

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home
    from tests.graph_server import GraphServer
    from tests.mail_server import Caught


SEED = 20261124
SOONEST = 0.02  # seconds; no Python has started by then
PAUSE = 0.002  # seconds that the server takes over each message, so that kills land while an answer is awaited
MAILS = 50
LINES = 100
CHUNKS = range(share(4))  # each is run on its own, so that two processors share them


class Killer:
    """Runs commands and kills them at random moments, up to a number of kills.

    The moments are the same in every run, as far as the speed of the machine allows.
    """

    def __init__(self, home: Home, kills: int, seed: object) -> None:
        self.kills = 0
        self._home = home
        self._may = kills
        self._source = random.Random(f"{SEED} {seed}")
        self._longest = 0.0

    @property
    def is_done(self) -> bool:
        return self.kills == self._may

    def run(self, *arguments: str, **env: str) -> int | None:
        """Run a command. Returns its exit code, None if it was killed. The first run is measured and not killed."""
        # unmeasured: a process that is killed while it writes its coverage leaves an unreadable file
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", *arguments],
            env={**self._home.unmeasured.env, **env},
            cwd=self._home.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            moment = self._source.uniform(SOONEST, self._longest) if self._longest and not self.is_done else 60
            _out, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.kills += 1
            return None
        self._longest = time.monotonic() - started
        assert b"internal.bug" not in err, err.decode()
        assert b"locked" not in err, err.decode()
        return process.returncode

    def run_until_done(self, *arguments: str) -> None:
        """Run a command until it ends without being killed."""
        while (code := self.run(*arguments)) is None:
            pass
        assert code == 0, SEED


def by_subject(server: RecordingServer) -> dict[str, list[Caught]]:
    """What arrived, by subject."""
    found: dict[str, list[Caught]] = defaultdict(list)
    for arrival in list(server.mails):
        found[arrival.subject].append(arrival)
    return found


def assert_only_mail_in_flight_is_repeated(server: RecordingServer) -> None:
    """A repeated mail was the last on a broken connection, and its copies have the same Message-ID."""
    last = {arrival.connection: arrival for arrival in server.mails}
    for subject, arrivals in by_subject(server).items():
        for earlier in arrivals[:-1]:
            assert earlier.connection not in server.said_goodbye, (SEED, subject)
            assert last[earlier.connection] is earlier, (SEED, subject)
        assert len({arrival.message_id for arrival in arrivals}) == 1, (SEED, subject)


@pytest.mark.parametrize("how", ["always", "on-failure"])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_queued_mail_arrives_once_whenever_a_send_is_killed(home: Home, chunk: int, how: str) -> None:
    accepted: set[str] = set()
    count = 0
    killer = Killer(home, share(13, 5), (chunk, how))
    with closed_port() as closed, RecordingServer() as server:
        plain_account(home, closed)
        while not killer.is_done:
            subject, directory = str(count), str(count // 10)  # some kills hit a process that makes the outbox
            send = ("send", "kund@example.com", "--body", "hej", "--queue", how, "-s", subject)
            code = killer.run(*send, SMTPSETUP_STATE_DIR=directory)
            assert code in (None, 0), (SEED, subject)
            accepted |= set() if code is None else {subject}
            count += 1
        plain_account(home, server.port)
        for number in range((count + 9) // 10):
            for command in (("retry", "--all"), ("flush",)):
                assert killer.run("outbox", *command, SMTPSETUP_STATE_DIR=str(number)) == 0
    found = by_subject(server)
    assert accepted <= set(found), (SEED, accepted - set(found))
    assert all(len(arrivals) == 1 for arrivals in found.values()), SEED


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_killed_flush_loses_nothing_and_repeats_only_mail_in_flight(home: Home, chunk: int) -> None:
    count = 0
    killer = Killer(home, share(26, 5), chunk)
    with RecordingServer(pause=PAUSE) as server:
        plain_account(home, server.port)
        while not killer.is_done:
            fill(home, count)
            count += MAILS
            killer.run_until_done("outbox", "flush")
    with SqliteOutbox(state_dir(home)) as box:
        left = box.mails()
    assert all((mail.state, mail.next_attempt, mail.unknowns) == (MailState.UNKNOWN, None, 2) for mail in left), SEED
    found = by_subject(server)
    assert {str(number) for number in range(count)} == {*found, *(mail.subject for mail in left)}, SEED
    assert all(len(arrivals) <= 2 for arrivals in found.values()), SEED
    assert_only_mail_in_flight_is_repeated(server)


def fill(home: Home, first: int) -> None:
    """Queue mails with these numbers."""
    with SqliteOutbox(state_dir(home), is_durable=False) as box:
        for number in range(first, first + MAILS):
            box.add(new_mail(number))


@pytest.mark.parametrize("connections", ["1", "4"])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_killed_batch_loses_nothing_and_repeats_only_mail_in_flight(home: Home, chunk: int, connections: str) -> None:
    count = 0
    killer = Killer(home, share(13, 5), (chunk, connections))
    with RecordingServer(pause=PAUSE) as server:
        plain_account(home, server.port)
        while not killer.is_done:
            killer.run_until_done(*batch(batch_file(home, count), connections))
            count += 1
    found = by_subject(server)
    assert set(found) == {f"{number}-{line}" for number in range(count) for line in range(LINES)}, SEED
    assert len(server.mails) - len(found) <= killer.kills * int(connections), SEED
    assert_only_mail_in_flight_is_repeated(server)


@pytest.mark.parametrize("how", ["batch", "flush"])
def test_kills_over_https_lose_nothing_and_repeat_only_mail_in_flight(
    home: Home, graph_server: GraphServer, how: str
) -> None:
    connections = 4 if how == "batch" else 1
    count = 0
    killer = Killer(home, share(20, 5), ("https", how))
    graph_server.allow(TOKEN, ADDRESS)
    graph_server.pause = PAUSE
    write_account(home, graph_server, TransportKind.GRAPH)
    while not killer.is_done:
        if how == "batch":
            killer.run_until_done(*batch(batch_file(home, count), str(connections)))
        else:
            with SqliteOutbox(state_dir(home), is_durable=False) as box:
                for line in range(LINES):
                    box.add(
                        new_mail(0)._replace(
                            account=ADDRESS, message=from_bytes(b"Subject: %d-%d\r\n\r\nx\r\n" % (count, line))
                        )
                    )
            killer.run_until_done("outbox", "flush")
        count += 1
    with SqliteOutbox(state_dir(home)) as box:
        left = {
            str(email.message_from_bytes(b"".join(box.message(mail.id).chunks()))["Subject"]) for mail in box.mails()
        }
    found = Counter(str(email.message_from_bytes(mail.message)["Subject"]) for mail in graph_server.mails)
    assert {f"{number}-{line}" for number in range(count) for line in range(LINES)} == {*found, *left}, SEED
    assert len(graph_server.mails) - len(found) <= killer.kills * connections, SEED
    assert all(times <= 2 for times in found.values()) or how == "batch", SEED
    assert len(left) <= killer.kills, SEED


def test_a_killed_batch_queues_each_mail_once(home: Home) -> None:
    plain_account(home, 1)
    killer = Killer(home, share(25, 5), "queue")
    count = 0
    while not killer.is_done:
        killer.run_until_done(*batch(batch_file(home, count), "1"), "--queue", "always")
        count += 1
    with SqliteOutbox(state_dir(home)) as box:
        queued = box.mails()
    assert {mail.subject for mail in queued} == {
        f"{number}-{line}" for number in range(count) for line in range(LINES)
    }, SEED
    assert len({mail.message_id for mail in queued}) == len(queued), SEED


def batch_file(home: Home, number: int) -> Path:
    """A batch whose subjects no other batch has."""
    rows = ({"to": "kund@example.com", "subject": f"{number}-{line}", "body": "hej"} for line in range(LINES))
    return home.file(f"batch-{number}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def batch(file: Path, connections: str) -> tuple[str, ...]:
    """The command that sends it."""
    return ("send", "--batch", str(file), "--connections", connections)


def test_a_batch_that_is_killed_after_its_last_mail_is_not_sent_again(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        command = batch(batch_file(home, 0), "1")
        sender = subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", *command, "--json"],
            env=home.env,
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        with sender:
            assert sender.stdout
            for _line in range(LINES):
                sender.stdout.readline()
            directory = home.path / ".local" / "state" / "smtpsetup" / "batches"
            while sender.poll() is None and any(directory.iterdir()):
                pass
            sender.kill()
        assert home.run(*command).code == 0
    assert len(server.mails) == LINES


CREATED = "from smtpsetup.outbox.sqlite.store import SqliteOutbox\nSqliteOutbox(sys.argv[1]).mails()"


def test_a_kill_while_the_outbox_is_created_leaves_a_working_one(home: Home) -> None:
    plain_account(home, 1)
    home = home.unmeasured  # which takes half the time
    code, before = -1, 0
    while code != 0:
        directory = f"state-{before}"
        code = killed_before_statement(home, before, CREATED, directory)
        assert code in (0, -9)
        kept = home.run("send", "kund@example.com", "--body", "x", "--queue", "always", SMTPSETUP_STATE_DIR=directory)
        assert kept.code == 0, (before, kept.err)
        before += 1
    assert before > 4


# smtpsetup-sendmail


SENDMAIL_PARTS = range(share(8, 2))
SENDMAIL_KILLS = share(125, 25)  # in each part


@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunk", SENDMAIL_PARTS)
def test_a_killed_sendmail_loses_no_committed_mail(home: Home, chunk: int) -> None:
    source = random.Random(f"{SEED} {chunk}")
    longest, count, kills = 0.0, 0, 0
    accepted: set[str] = set()
    with RecordingServer(pause=0.01) as server:
        plain_account(home, server.port)
        while kills < SENDMAIL_KILLS:
            before = len(server.lines)
            started = time.monotonic()
            code = killed_sendmail(home, str(count), source.uniform(SOONEST, longest) if longest else None)
            if code == 0:  # of the whole runs the quickest counts: after one slow run hardly any would be killed
                longest = min(longest or 60.0, (time.monotonic() - started) * 1.2)
            kills += code is None
            if code == 0 or any(command.startswith("EHLO") for command in server.lines[before:]):
                accepted.add(str(count))  # it commits before it connects
            assert code in (0, None), (SEED, count)
            count += 1
        left = {mail.subject for mail in kept(home)}
        missed = accepted - left - set(server.subjects)
        assert not missed, (SEED, missed)
        for _flush in range(3):
            assert home.run("outbox", "retry", "--all").code == 0
            assert home.run("outbox", "flush").code == 0
        assert kept(home) == []
    found = by_subject(server)
    assert accepted <= set(found)
    assert all(len(arrivals) <= 2 for arrivals in found.values()), SEED
    assert_only_mail_in_flight_is_repeated(server)


def killed_sendmail(home: Home, subject: str, seconds: float | None) -> int | None:
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


KILLED_AT_THE_COMMIT = """
import os, signal, sqlite3, sys
from smtpsetup.outbox.sqlite import store
at = sys.argv.pop(1)
commit = store.SqliteOutbox._commit
def killed(self):
    if at == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
store.SqliteOutbox._commit = killed
from smtpsetup.sendmail.main import main
main()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_mail_survives_a_kill_of_sendmail_from_the_commit_on(home: Home, moment: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        message = "To: kund@example.com\nSubject: 1\n\nx\n"
        argv = (sys.executable, "-c", KILLED_AT_THE_COMMIT, moment, "-t")
        assert executed(home.unmeasured, *argv, stdin=message).code == -9
        assert not server.lines
    assert [mail.subject for mail in kept(home)] == ([] if moment == "before" else ["1"])

"""Mail that a machine kept while the shared outbox was away, handed on: each mail once, whatever ends meanwhile."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.fleet import Fleet, behind_a_proxy, keep, kept_here
from tests.servers import closed_port, wait_for

if TYPE_CHECKING:
    from tests.conftest import Home

SEED = 20261201
KILLED_WHILE_HANDING_ON = """
import os, signal, sys
from smtpsetup.outbox.postgresql.store import PostgresqlOutbox
at, left = sys.argv.pop(1), int(sys.argv.pop(1))
adopt = PostgresqlOutbox.adopt
def killed(self, *rest):
    global left
    left -= 1
    if left < 0 and at == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    adopt(self, *rest)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
PostgresqlOutbox.adopt = killed
from smtpsetup.__main__ import main
main()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_the_two_commits_of_a_handed_on_mail_moves_it_once(made: Fleet, home: Home, moment: str) -> None:
    machine = made.add_machine(home)
    keep(machine, 5)
    for left in (0, 2):
        argv = [sys.executable, "-c", KILLED_WHILE_HANDING_ON, moment, str(left), "outbox", "flush"]
        assert subprocess.run(argv, env=machine.home.unmeasured.env, check=False, timeout=60).returncode == -9
    assert kept_here(machine.home) > 0
    made.send_to_the_end()
    assert made.assert_all_is_well(range(5)).told == []


def test_a_handed_on_mail_that_was_sent_meanwhile_is_not_sent_again(made: Fleet, home: Home) -> None:
    machine, other = made.add_machine(home), made.add_machine(home)
    keep(machine, 1)
    argv = [sys.executable, "-c", KILLED_WHILE_HANDING_ON, "after", "0", "outbox", "flush"]
    assert subprocess.run(argv, env=machine.home.unmeasured.env, check=False, timeout=60).returncode == -9
    assert other.home.run("outbox", "flush").code == 0
    assert (made.accepted(), kept_here(machine.home)) == (1, 1)
    made.send_to_the_end()
    assert made.accepted() == 1


def test_flushes_that_are_killed_at_any_moment_hand_on_each_mail_once(made: Fleet, home: Home) -> None:
    source = random.Random(SEED)
    machine = made.add_machine(home)
    keep(machine, 60)
    for _kill in range(8):
        machine.worker = subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "outbox", "flush"],
            env=machine.home.unmeasured.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(source.uniform(0.3, 0.9))
        machine.worker.kill()
        machine.worker.wait()
    machine.worker = None
    made.send_to_the_end()
    made.assert_all_is_well(range(60))


@pytest.mark.parametrize("words", ["COMMIT", "smtpsetup.handed_on (origin", "INSERT INTO smtpsetup.mail"])
def test_a_connection_that_is_lost_during_the_commit_hands_on_each_mail_once(
    made: Fleet, home: Home, words: str
) -> None:
    with behind_a_proxy(made, home) as (proxy, machine):
        keep(machine, 3)
        proxy.tell(f"lose {words}")
        assert machine.home.run("outbox", "flush").code == 75
        assert kept_here(machine.home) == 3
        made.send_to_the_end()
    assert made.assert_all_is_well(range(3)).told == []


def test_a_mail_whose_commit_was_not_confirmed_is_sent_once(made: Fleet, home: Home) -> None:
    """The program has kept it here, too: the shared outbox finds that it has it already."""
    with behind_a_proxy(made, home) as (proxy, machine):
        proxy.tell("lose INSERT INTO smtpsetup.mail")
        machine.send("0")
        assert (made.in_outbox(), kept_here(machine.home)) == (1, 1)
        made.send_to_the_end()
    assert made.assert_all_is_well([0]).told == []
    assert made.accepted() == 1


def test_a_machine_keeps_mail_while_the_database_hangs_in_the_middle_of_a_handing_on(made: Fleet, home: Home) -> None:
    with behind_a_proxy(made, home) as (proxy, machine), closed_port() as closed:
        keep(machine, 1)
        proxy.tell("hold INSERT INTO smtpsetup.mail")
        machine.start()
        time.sleep(2)
        away = made.settings.url.replace(str(made.cluster.port), str(closed))
        machine.send("1", SMTPSETUP_OUTBOX=away)
        wait_for(lambda: made.accepted() == 2, 30)
        made.stop()
    assert made.assert_all_is_well(range(2)).told == []
    assert made.accepted() == 2


def test_a_batch_whose_commit_was_not_confirmed_is_loaded_once(made: Fleet, home: Home) -> None:
    with behind_a_proxy(made, home) as (proxy, machine):
        rows = ({"to": "kund@example.com", "subject": str(number), "body": "x"} for number in range(30))
        lines = machine.home.file("lines.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        proxy.tell("lose COMMIT")
        assert machine.home.run("send", "--batch", str(lines), "--queue", "always").code == 75
        assert made.in_outbox() == 30
        assert machine.home.run("send", "--batch", str(lines), "--queue", "always").code == 0
        assert made.in_outbox() == 30
        made.send_to_the_end()
    assert made.assert_all_is_well(range(30)).told == []
    assert made.accepted() == 30


def test_two_mails_with_the_same_message_id_are_both_handed_on(made: Fleet, home: Home) -> None:
    """A program may send a mail twice; only what this machine has put there itself is known."""
    machine = made.add_machine(home)
    keep(machine, 1)
    keep(machine, 1)
    assert kept_here(machine.home) == 2
    assert machine.home.run("outbox", "flush").code == 0
    assert (made.accepted(), kept_here(machine.home)) == (2, 0)

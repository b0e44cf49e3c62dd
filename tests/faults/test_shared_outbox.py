"""Several machines with one outbox, whatever ends meanwhile: no mail is lost, and none arrives twice without notice."""

from __future__ import annotations

import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.opening import opened
from smtpsetup.outbox.postgresql.connection import Connection
from tests.faults.fleet import Fleet, behind_a_proxy, fleet, kept_here, wait_until_sent
from tests.mail_server import MailServer, Turn
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home
    from tests.postgresql import Cluster

SEED = 20261201
WORKERS = 4


def disturbed(made: Fleet, mails: int, times: int, disturb: Callable[[int], None]) -> None:
    """Do something at random moments while the mails are sent, spread over them."""
    source = random.Random(SEED)
    for number in range(times):
        wait_until_sent(made, mails * number // times, 60)
        time.sleep(source.uniform(0.0, 0.2))
        disturb(number)


# workers that are killed


def test_killed_workers_lose_no_mail_and_double_none_without_notice(made: Fleet, home: Home) -> None:
    machines = [made.add_machine(home) for _number in range(WORKERS)]
    made.fill(range(400))
    for machine in machines:
        machine.start()

    def kill(number: int) -> None:
        machines[number % WORKERS].kill()
        machines[number % WORKERS].start()

    disturbed(made, 350, 8, kill)
    wait_until_sent(made, 380)
    made.stop()
    made.send_to_the_end()
    made.assert_all_is_well(range(400))


def test_what_a_killed_worker_was_sending_is_told_as_unknown_and_sent_again(home: Home, cluster: Cluster) -> None:
    is_reached = threading.Event()

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and not is_reached.is_set():
            is_reached.set()
            time.sleep(3)
        return None

    with MailServer(answer) as server, fleet(cluster, server) as made:
        first, second = made.add_machine(home), made.add_machine(home)
        made.fill([0])
        first.start()
        assert is_reached.wait(20)
        first.kill()
        second.start()
        wait_for(lambda: made.rows("SELECT id FROM smtpsetup.mail WHERE state = 'unknown' AND unknowns = 1"))
        wait_until_sent(made, 1)  # by the first one
        assert second.stop() == 0
        made.send_to_the_end()
        found = made.assert_all_is_well([0])
        assert [one.subject for one in found.told] == ["0"]


# PostgreSQL that crashes


def test_a_crash_of_the_database_loses_no_mail_that_was_accepted(made: Fleet, home: Home) -> None:
    machines = [made.add_machine(home) for _number in range(2)]
    sender = made.add_machine(home)
    made.fill(range(300))
    for machine in machines:
        machine.start()
    disturbed(made, 250, 2, lambda _number: made.cluster.crash())
    made.cluster.stop(signal.SIGQUIT)
    for number in range(300, 303):
        sender.send(str(number))
    assert kept_here(sender.home) == 3
    made.cluster.start()
    sender.start()  # hands on what it has kept
    wait_for(lambda: not kept_here(sender.home))
    wait_until_sent(made, 290)
    made.stop()
    made.send_to_the_end()
    made.assert_all_is_well(range(303))


def test_a_worker_goes_on_when_the_database_is_back(made: Fleet, home: Home) -> None:
    machine = made.add_machine(home)
    machine.start()
    made.fill([0])
    wait_until_sent(made, 1)
    wait_for(lambda: made.in_outbox() == 0)  # noted: what the server has taken and nobody has noted delays the end
    made.cluster.stop(signal.SIGQUIT)
    wait_for(lambda: "outbox" in machine.said() or "mail" in machine.said())
    made.cluster.start()
    made.fill([1])
    wait_until_sent(made, 2, 20)
    made.stop()
    made.assert_all_is_well(range(2))


def test_what_the_server_may_have_is_noted_durably_and_what_is_added_too(made: Fleet) -> None:
    made.fill(range(2))
    with opened(made.settings, "", is_durable=False) as box, box.lease() as lease:
        first, _second = box.take("a", "", lease, time.time(), 2)
        made.fill([2])
        box.mark_possibly_delivered(first.id)
        made.cluster.stop(signal.SIGQUIT)
    made.cluster.start()
    with opened(made.settings, "") as box:
        assert box.revive(time.time()) == 2
        assert [(mail.subject, mail.state) for mail in box.mails()] == [
            ("0", "unknown"),
            ("1", "waiting"),
            ("2", "waiting"),
        ]


# a network that fails


def test_connections_to_the_database_that_are_cut_lose_and_double_nothing(made: Fleet, home: Home) -> None:
    made.fill(range(300))
    with behind_a_proxy(made, home) as (proxy, cut), behind_a_proxy(made, home) as (other, also_cut):
        for machine in (cut, also_cut):
            machine.start()
        disturbed(made, 120, 6, lambda number: (proxy, other)[number % 2].tell("cut"))
        wait_until_sent(made, 200)
        made.stop()
        made.send_to_the_end()
    made.assert_all_is_well(range(300))


def test_a_way_to_the_database_that_is_frozen_doubles_nothing(made: Fleet, home: Home) -> None:
    made.fill(range(300))
    with behind_a_proxy(made, home) as (proxy, frozen):
        frozen.start()
        for number in range(3):
            wait_until_sent(made, 40 * (number + 1))
            proxy.process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            count = made.accepted()
            time.sleep(0.5)
            assert made.accepted() <= count + 1  # nothing is sent that it cannot note
            proxy.process.send_signal(signal.SIGCONT)
        wait_until_sent(made, 300)
        made.stop()
    found = made.assert_all_is_well(range(300))
    assert (found.told, made.in_outbox(), made.leased()) == ([], 0, [])


def test_a_worker_that_cannot_note_a_dot_says_why_and_sends_no_dot(made: Fleet, home: Home) -> None:
    made.fill([0])
    with behind_a_proxy(made, home) as (proxy, machine):
        proxy.tell("lose SET dotted")
        machine.start()
        wait_for(lambda: "outbox.unavailable" in machine.said())
        assert made.accepted() == 0
        made.stop()
        made.send_to_the_end()
    made.assert_all_is_well([0])
    assert made.accepted() == 1


def test_a_removal_whose_connection_is_lost_is_made_over_another_and_the_rest_is_sent_at_once(
    made: Fleet, home: Home
) -> None:
    made.fill(range(3))
    with behind_a_proxy(made, home) as (proxy, machine):
        proxy.tell("lose DELETE FROM smtpsetup.mail")
        machine.start()
        wait_until_sent(made, 3, 20)  # the others were free at once
        wait_for(lambda: not made.in_outbox())
        made.stop()
    assert made.assert_all_is_well(range(3)).told == []
    assert made.accepted() == 3


def test_a_connection_without_an_answer_is_ended(made: Fleet, home: Home) -> None:
    with behind_a_proxy(made, home) as (proxy, _machine):
        db = Connection(made.settings._replace(url=proxy.url(made.settings.url)))
        proxy.tell("hold SELECT 42")
        with pytest.raises(SharedOutboxError, match="no answer for 1 second"), db.answered_within(1.0):
            db.one("SELECT 42")
        assert db.is_broken


# workers that are told to stop


def test_workers_that_are_told_to_stop_end_within_seconds_and_leave_nothing_reserved(made: Fleet, home: Home) -> None:
    made.server._pause = 0.02
    machines = [made.add_machine(home) for _number in range(2)]
    made.fill(range(400))
    for machine in machines:
        machine.start()
    wait_until_sent(made, 40)
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 5
    assert made.leased() == []
    assert made.rows("SELECT * FROM smtpsetup.worker") == []
    assert made.accepted() + made.in_outbox() == 400
    assert made.in_outbox() > 0
    assert made.assert_all_is_well(range(0)).told == []


def test_a_worker_is_told_to_stop_while_the_database_is_away(made: Fleet, home: Home) -> None:
    machine = made.add_machine(home)
    machine.start()
    made.fill([0])
    wait_until_sent(made, 1)
    wait_for(lambda: made.in_outbox() == 0)  # noted: what the server has taken and nobody has noted delays the end
    made.cluster.stop(signal.SIGQUIT)
    try:
        time.sleep(1)
        began = time.monotonic()
        assert machine.stop() == 0
        assert time.monotonic() - began < 15
    finally:
        made.cluster.start()


# accounts that hold what is unknown


@pytest.mark.parametrize("how", ["no reply", "killed"])
def test_an_unknown_mail_that_is_held_is_sent_again_by_a_person_only(home: Home, cluster: Cluster, how: str) -> None:
    is_reached = threading.Event()

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and not is_reached.is_set():
            is_reached.set()
            if how == "killed":
                time.sleep(2)
            return b""
        return None

    with MailServer(answer) as server, fleet(cluster, server) as made:
        server.counts_as_accepted = lambda reply: reply[:1] in (b"", b"2")  # type: ignore[method-assign]  # it arrived
        first = made.add_machine(home, on_unknown='"hold"')
        second = made.add_machine(home, on_unknown='"hold"')
        first.send("0")
        first.start()
        assert is_reached.wait(20)
        if how == "killed":
            first.kill()
        second.start()
        wait_for(lambda: made.rows("SELECT id FROM smtpsetup.mail WHERE state = 'unknown' AND next_attempt IS NULL"))
        made.stop()
        assert second.home.run("outbox", "flush").code == 0
        wait_until_sent(made, 1)
        with opened(made.settings, "") as box:
            assert [mail.state for mail in box.mails()] == [MailState.UNKNOWN]
        assert made.accepted() == 1
        made.send_to_the_end()
        found = made.assert_all_is_well([0])
        assert [one.subject for one in found.told] == ["0"]

"""Everything that can end, ending often, while machines with one outbox send: nothing is lost or doubled in secret.

STORM=1 is the full size, which takes some minutes (`tests/storms.py`). With `-s` it says what it has counted.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults.fleet import Fleet, Machine, fleet, wait_until_sent
from tests.faults.tcp_proxy import Proxy
from tests.recording import RecordingServer
from tests.servers import free_port, wait_for
from tests.storms import STORM, share

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home
    from tests.postgresql import Cluster

SEED = 20261201
PAUSE = 0.002  # seconds that the mail server takes over each mail, so that what happens hits mail in flight
WORKERS = 4
FROZEN_SECONDS = 2.0
LIMIT = 60 + share(2400)  # seconds


class Plan(NamedTuple):
    """How many mails there are, how many of them one by one, and what happens meanwhile."""

    mails: int
    singles: int
    kills: int
    crashes: int
    cuts: int


class Sender:
    """A machine that adds mail: many by a batch, and some one by one, whatever happens to the database."""

    def __init__(self, machine: Machine, plan: Plan) -> None:
        self._machine = machine
        self._plan = plan
        self.broken: list[BaseException] = []
        self.batch_runs = 0
        self.threads = [threading.Thread(target=self._kept, args=(work,)) for work in (self._load, self._send)]
        for thread in self.threads:
            thread.start()

    def _kept(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  asserted on in the test's own thread
            self.broken.append(error)

    def _load(self) -> None:
        rows = (
            {"to": "kund@example.com", "subject": str(number), "body": "x"}
            for number in range(self._plan.singles, self._plan.mails)
        )
        lines = self._machine.home.file("lines.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        code = 75
        while code == 75:  # the database is away: what is loaded stays
            self.batch_runs += 1
            done = self._machine.home.run("send", "--batch", str(lines), "--queue", "always")
            code = done.code
        assert code == 0, done.err

    def _send(self) -> None:
        for number in range(self._plan.singles):
            self._machine.send(str(number))


class Storm:
    """The things that happen, in an order that is the same in every run."""

    def __init__(self, made: Fleet, plan: Plan, proxies: list[Proxy]) -> None:
        self._made = made
        self._plan = plan
        self._proxies = proxies
        self._source = random.Random(SEED)
        self._events = [
            *[self._kill] * plan.kills, *[self._crash] * plan.crashes, *[self._cut] * plan.cuts,
        ]  # fmt: skip
        self._source.shuffle(self._events)

    def run(self) -> None:
        """Let them happen, spread over the mails, at moments that depend on the speed of the machine."""
        for number, event in enumerate(self._events):
            wait_until_sent(self._made, self._plan.mails * 9 // 10 * number // len(self._events), LIMIT)
            time.sleep(self._source.uniform(0.0, 0.3))
            event()

    def _kill(self) -> None:
        machine = self._source.choice(self._made.machines[:WORKERS])
        machine.kill()
        machine.start()

    def _crash(self) -> None:
        self._made.cluster.crash()

    def _cut(self) -> None:
        """Every second cut is a network that only stands still."""
        proxy = self._source.choice(self._proxies)
        if self._source.random() < 0.5:
            proxy.tell("cut")
            return
        proxy.process.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        proxy.process.send_signal(signal.SIGCONT)


@pytest.mark.timeout(LIMIT * 2)
def test_a_storm_of_kills_crashes_and_cuts_loses_nothing_and_doubles_nothing_in_secret(
    home: Home, cluster: Cluster
) -> None:
    plan = Plan(*map(share, (20_000, 400, 100, 10, 10)))
    began = time.monotonic()
    with RecordingServer(pause=PAUSE) as server, fleet(cluster, server) as made, ExitStack() as stack:
        proxies = []
        for _number in range(WORKERS):
            proxies.append(stack.enter_context(Proxy(free_port(), cluster.port)))
            made.add_machine(home, url=proxies[-1].url(made.settings.url)).start()
        sender = Sender(made.add_machine(home), plan)
        Storm(made, plan, proxies).run()
        for thread in sender.threads:
            thread.join(LIMIT)
        assert sender.broken == []
        made.machines[-1].start()  # hands on what it has kept
        wait_for(lambda: made.accepted() > plan.mails * 0.95, LIMIT)
        if STORM >= 1:  # all by itself, but for what only a person sends a third time
            wait_for(lambda: not made.rows("SELECT id FROM smtpsetup.mail WHERE next_attempt IS NOT NULL LIMIT 1"), 200)
        left = made.in_outbox()
        made.stop()
        made.send_to_the_end()
        seconds = time.monotonic() - began
        found = made.assert_all_is_well(range(plan.mails))
        told = made.rows("SELECT count(*), count(DISTINCT message_id) FROM public.told")[0]
    assert found.arrived == plan.mails
    sys.stdout.write(
        f"{plan} {SEED}: arrived {found.arrived}, lost {len(found.lost)}, doubled in secret {len(found.doubled)}, "
        f"doubled and told {len(found.told)}, told as unknown {told[0]} times ({told[1]} mails), {left} left for the "
        f"end, {sender.batch_runs} runs of the batch, {sum(one.lives for one in made.machines)} lives of workers, "
        f"{seconds:.0f} s\n"
    )

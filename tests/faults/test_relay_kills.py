"""A relay that is killed at any moment: what was answered 250 arrives, and only what was in flight arrives twice."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.mail_server import MailServer, Turn
from tests.recording import new_mail, plain_account, state_dir
from tests.relay import Client, add_client, is_relay, plain, running_relay
from tests.servers import free_port, wait_for
from tests.storms import share

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home
    from tests.mail_server import Caught

SEED = 20261126
CLIENTS = 8
LONGEST_LIFE = 1.2  # seconds: a start, 0.4, and the time that the clients need for their part between two kills
PAUSE = 0.002  # seconds that the provider takes over each mail, so that kills land while its reply is awaited
CRON_SECONDS = 3.0  # between two commands as cron runs them
GRACE = 40.0  # seconds for the mail that comes in and then for the mail that goes out when the relay is told to stop
ENVELOPE = ("MAIL FROM:<info@example.com>", "RCPT TO:<kund@example.org>", "DATA")
MESSAGE = (
    "From: info@example.com\r\nTo: kund@example.org\r\nMessage-ID: <{0}@shop.example>\r\nSubject: {0}\r\n\r\n"
    "Number {0}.\r\n"
)


class Plan(NamedTuple):
    """How many mails the clients hand over, and how often the relay is killed meanwhile."""

    mails: int
    kills: int


class Killed:
    """A relay that is killed at random moments and started again at once, on the same port.

    The moments are the same in every run, as far as the speed of the machine allows.
    """

    def __init__(self, home: Home, plan: Plan) -> None:
        self.port = free_port()
        self.kills = 0
        self._plan = plan
        # unmeasured: a process that is killed while it writes its coverage leaves an unreadable file
        self._env, self._home = home.unmeasured.env, home
        self._err = (home.path / "relay.err").open("w")
        self._source = random.Random(SEED)
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "relay", "--port", str(self.port)],
            env=self._env,
            cwd=self._home.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._err,
        )

    def may_hand_over(self, number: int) -> bool:
        """Whether it is the turn of the mail with this number: the mails are spread over all lives of the relay."""
        return number * self._plan.kills < self._plan.mails * (self.kills + 1)

    def kill_often(self) -> None:
        """Kill the relay as often as planned."""
        while self.kills < self._plan.kills:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(self._source.uniform(0.0, LONGEST_LIFE))
                pytest.fail(f"the relay ended by itself: {code} {self.said()}")
            self._process.kill()
            self._process.wait()
            self._process = self._started()
            self.kills += 1

    def stop(self) -> int:
        """End the relay as systemd does. Returns its exit code."""
        wait_for(lambda: self._process.poll() is not None or is_relay(self.port), 30)
        self._process.terminate()
        try:
            return self._process.wait(GRACE + 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._err.close()

    def said(self) -> str:
        """What all relays together have said on standard error."""
        return (self._home.path / "relay.err").read_text()


class Clients:
    """Programs that hand mail over until they have a 250 for each, whatever happens to the relay.

    Their mails have numbers, which are the subjects. Every second program logs in, the others need not.
    """

    def __init__(self, port: int, password: str, mails: int, may_hand_over: Callable[[int], bool]) -> None:
        self.kept: list[str] = []  # what was answered 250
        self.handed_over: Counter[str] = Counter()  # how often the whole of a mail may have come to the relay
        self.odd: list[str] = []  # replies that are neither a 250 nor that the relay stops
        self._port = port
        self._password = password
        self._mails = mails
        self._may_hand_over = may_hand_over
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(me,)) for me in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def give_up(self) -> None:
        """End the threads."""
        self._is_over.set()
        for thread in self.threads:
            thread.join(60)

    def _work(self, me: int) -> None:
        left = next(self._numbers)
        while left < self._mails and not self._is_over.is_set():
            try:
                with Client("127.0.0.1", self._port) as client:
                    client.say("EHLO test")
                    if me % 2:
                        client.say(f"AUTH PLAIN {plain('shop', self._password)}")
                    while left < self._mails and self._has_its_turn(left) and self._is_kept(client, left):
                        left = next(self._numbers)
            except OSError:
                self._is_over.wait(0.01)

    def _has_its_turn(self, number: int) -> bool:
        while not self._may_hand_over(number):
            if self._is_over.wait(0.005):
                return False
        return True

    def _is_kept(self, client: Client, number: int) -> bool:
        """Hand a mail over. Returns whether there is a 250 for it; without one, it is tried on a new connection."""
        for command in (*ENVELOPE, f"{MESSAGE.format(number)}."):
            self.handed_over[str(number)] += command not in ENVELOPE
            reply = client.say(command)
            if reply[:3] not in ("250", "354"):
                self.odd += [reply] if reply[:3] not in ("421", "") else []
                return False
        self.kept.append(str(number))
        return True


def run_as_cron(home: Home, is_over: threading.Event, complaints: list[str]) -> None:
    """Flush the outbox and list it now and then."""
    for command in itertools.cycle(("flush", "list")):
        done = home.unmeasured.run("outbox", command)
        if done.code or done.err:
            complaints.append(f"{command}: {done.code} {done.err}")
        if is_over.wait(CRON_SECONDS):
            return


def sent_to_the_end(home: Home) -> None:
    """Send all that is left, also what a person has to decide on since it was unknown twice."""
    for _attempt in range(10):
        if not home.run("outbox", "list", "--json").json["result"]:
            return
        for command in (("retry", "--all"), ("flush",)):
            done = home.run("outbox", *command)
            assert done.code == 0, done.err
    pytest.fail(home.run("outbox", "list").out)


def killed_and_sent(home: Home, server: MailServer, plan: Plan) -> tuple[Clients, list[str]]:
    """Hand the mails over while the relay is killed, and send what is left. Returns also what went wrong."""
    plain_account(home, server.port)
    password = add_client(home)
    add_client(home, "printer", "--net", "127.0.0.1/32")
    relay, cron_is_over, complaints = Killed(home, plan), threading.Event(), list[str]()
    clients = Clients(relay.port, password, plan.mails, relay.may_hand_over)
    cron = threading.Thread(target=run_as_cron, args=(home, cron_is_over, complaints))
    cron.start()
    try:
        relay.kill_often()
        for thread in clients.threads:
            thread.join(60)
            assert not thread.is_alive(), relay.said()
    finally:
        clients.give_up()
        cron_is_over.set()
        cron.join()
        code = relay.stop()
    assert code == 0, relay.said()
    sent_to_the_end(home)
    said = relay.said()
    complaints += clients.odd
    complaints += [word for word in ("internal.bug", "locked", "damaged", "Traceback", "error") if word in said]
    return clients, complaints


def arrivals(server: MailServer) -> dict[str, list[Caught]]:
    """What has come to the provider, by subject."""
    found: dict[str, list[Caught]] = defaultdict(list)
    for mail in list(server.mails):
        found[mail.subject].append(mail)
    return found


def assert_only_mail_in_flight_is_repeated(server: MailServer, handed_over: Counter[str]) -> None:
    """A mail arrives as often as its client handed it over, at most, and once more for each kill while it was sent.

    The outbox calls it unknown then: it was the last mail on a connection that ended without QUIT.
    """
    last = {mail.connection: mail for mail in server.mails}
    for subject, copies in arrivals(server).items():
        in_flight = [
            mail for mail in copies if last[mail.connection] is mail and mail.connection not in server.said_goodbye
        ]
        assert len(copies) - len(in_flight) <= handed_over[subject], (SEED, subject)
        assert {mail.message_id for mail in copies} == {f"<{subject}@shop.example>"}, (SEED, subject)


@pytest.mark.timeout(420)
def test_a_killed_relay_loses_no_mail_that_it_has_taken(home: Home) -> None:
    plan = Plan(share(10_000), share(200))
    with MailServer(pause=PAUSE) as server:
        clients, complaints = killed_and_sent(home, server, plan)
    assert complaints == [], SEED
    found = arrivals(server)
    assert set(found) == {str(number) for number in range(plan.mails)}, SEED  # each got a 250 in the end
    assert_only_mail_in_flight_is_repeated(server, clients.handed_over)


# told to stop


def in_the_outbox(home: Home) -> list[str]:
    """The subjects of what is on the disk."""
    with SqliteOutbox(state_dir(home)) as box:
        return [mail.subject for mail in box.mails()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_relay_that_is_stopped_keeps_each_mail_once_and_answers_it(home: Home, number: int) -> None:
    with MailServer(pause=0.01) as server:  # so that some mail is still to be sent
        plain_account(home, server.port)
        password = add_client(home)
        add_client(home, "printer", "--net", "127.0.0.1/32")
        with running_relay(home.unmeasured) as relay:
            clients = Clients(relay.port, password, 100_000, lambda _number: True)
            wait_for(lambda: len(clients.kept) > 200)
            began = time.monotonic()
            code = relay.stop(number)
            seconds = time.monotonic() - began
            clients.give_up()
        assert (code, clients.odd) == (0, [])
        assert seconds < GRACE / 4  # nobody is slow: nothing is waited for
        said = (home.path / "relay.err").read_text().splitlines()
        assert [line for line in said if "needs no login" not in line] == []
        sent = list(server.subjects)
        left = in_the_outbox(home)
        assert Counter(sent + left) == Counter(clients.kept)
        assert left
        assert home.run("outbox", "flush").code == 0
    assert Counter(server.subjects) == Counter(clients.kept)


def test_a_stop_waits_for_no_client_that_has_gone_silent_inside_a_mail(home: Home) -> None:
    with MailServer() as server:
        plain_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            for command in ENVELOPE:
                client.say(command)
            client.sock.sendall(b"Subject: half a mail\r\n\r\nand then")
            began = time.monotonic()
            assert relay.stop() == 0
            assert time.monotonic() - began < GRACE
            assert client.reply().startswith("421 4.3.2 ")
    assert (server.mails, in_the_outbox(home)) == ([], [])


def test_a_stop_does_not_wait_forever_for_a_provider_and_the_mail_is_unknown(home: Home) -> None:
    is_reached, is_over = threading.Event(), threading.Event()

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            is_reached.set()
            is_over.wait(GRACE * 2)
        return None

    with MailServer(answer) as server:
        plain_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            assert client.hand_over().startswith("250 ")
            wait_for(is_reached.is_set)
            began = time.monotonic()
            assert relay.stop() == 0
            assert time.monotonic() - began < GRACE
        is_over.set()
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert mail["state"] == "unknown"


# several connections to the outbox in one process


OPENED_AND_CLOSED = """
import sys
from smtpsetup.outbox.sqlite.store import SqliteOutbox
with SqliteOutbox(sys.argv[1]) as box: box.mails()
"""


def test_a_connection_keeps_its_locks_when_another_thread_and_another_process_open_and_close_the_outbox(
    home: Home,
) -> None:
    """Without them the other process would delete the write-ahead log, and what is added later would be in no file."""
    plain_account(home, 1)
    directory = state_dir(home)

    def open_and_close() -> None:
        with SqliteOutbox(directory) as box:
            box.mails()

    with SqliteOutbox(directory) as first:
        first.add(new_mail(1))
        thread = threading.Thread(target=open_and_close)
        thread.start()
        thread.join()
        subprocess.run([sys.executable, "-c", OPENED_AND_CLOSED, directory], env=home.env, check=True, timeout=60)
        first.add(new_mail(2))
        listed = home.run("outbox", "list", "--json").json["result"]
        assert [mail["subject"] for mail in listed] == ["1", "2"]
    assert in_the_outbox(home) == ["1", "2"]

"""Machines that share an outbox: their homes and workers, what the mail server got, and what was told as unknown."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.outbox.opening import opened
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.faults.tcp_proxy import Proxy
from tests.recording import new_mail, state_dir
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.conftest import Home
    from tests.mail_server import MailServer
    from tests.postgresql import Cluster

# each time that a mail becomes unknown, in the same transaction: what a crash undoes was not told
_TOLD = """
CREATE TABLE public.told (message_id text NOT NULL, at double precision NOT NULL);
CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.told VALUES (NEW.message_id, extract(epoch FROM clock_timestamp()));
    RETURN NEW;
END $$;
CREATE TRIGGER added AFTER INSERT ON smtpsetup.mail FOR EACH ROW WHEN (NEW.unknowns > 0)
    EXECUTE FUNCTION public.tell();
CREATE TRIGGER changed AFTER UPDATE ON smtpsetup.mail FOR EACH ROW WHEN (NEW.unknowns > OLD.unknowns)
    EXECUTE FUNCTION public.tell();
"""
_ODD = ("internal.bug", "Traceback", "damaged", "deadlock", "LOST_MAIL", "syntax")
CLOCKS = 0.05  # seconds: the database and the mail server read the same clock, at different moments of one event


@dataclass
class Machine:
    """A home with a worker, which may run. What all its workers have said is in `worker.out` and `worker.err`."""

    home: Home
    worker: subprocess.Popen[bytes] | None = None
    lives: int = 0

    @property
    def is_alive(self) -> bool:
        return self.worker is not None and self.worker.poll() is None

    def start(self) -> None:
        """Start a worker. Not measured: one that is killed while it writes its coverage leaves an unreadable file."""
        assert not self.is_alive
        with (self.home.path / "worker.out").open("ab") as out, (self.home.path / "worker.err").open("ab") as err:
            self.worker = subprocess.Popen(
                [*self.home.prefix, sys.executable, "-m", "smtpsetup", "outbox", "work"],
                env=self.home.unmeasured.env, cwd=self.home.path, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        self.lives += 1

    def kill(self) -> None:
        """End the worker as a power cut does."""
        assert self.worker
        assert self.worker.poll() is None, (self.worker.returncode, self.said())
        self.worker.kill()
        self.worker.wait()

    def stop(self, seconds: float = 60.0) -> int:
        """End the worker as systemd does. Returns its exit code."""
        assert self.worker
        wait_for(self._listens_to_sigterm)
        self.worker.terminate()
        return self.worker.wait(seconds)

    def _listens_to_sigterm(self) -> bool:
        """Whether the worker has started so far that it ends well when it is told to."""
        assert self.worker
        status = Path(f"/proc/{self.worker.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def said(self) -> str:
        """What all its workers have said."""
        return "".join((self.home.path / name).read_text() for name in ("worker.out", "worker.err"))

    def send(self, subject: str, **env: str) -> None:
        """Add a mail as a program does, and believe it when it says that it was kept."""
        done = self.home.run("send", "kund@example.com", "-s", subject, "--body", "x", "--queue", "always", **env)
        assert done.code == 0, done.err


class Arrival(NamedTuple):
    """A mail that the server accepted more than once: when, and when it was told that it may have arrived."""

    subject: str
    accepted: tuple[float, ...]
    told: tuple[float, ...]

    @property
    def is_told(self) -> bool:
        """Whether each repetition was announced before it happened."""
        again = self.accepted[1:]
        return len(self.told) >= len(again) and all(
            told <= moment + CLOCKS for told, moment in zip(self.told, again, strict=False)
        )


class Account(NamedTuple):
    """What became of all mails: the subjects that never arrived, and those that arrived more than once."""

    arrived: int
    lost: list[str]
    doubled: list[Arrival]
    told: list[Arrival]


@dataclass
class Fleet:
    """Machines with one outbox and one mail server."""

    cluster: Cluster
    settings: OutboxSettings
    server: MailServer
    machines: list[Machine] = field(default_factory=list)

    @property
    def database(self) -> str:
        return self.settings.url.rpartition("/")[2]

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Ask the database."""
        return self.cluster.execute(statement, self.database)

    def add_machine(self, home: Home, *, url: str = "", smtp: int = 0, **changes: str) -> Machine:
        """A machine of its own; `url` and `smtp` name other ways to the database and to the mail server."""
        path = home.path.parent / f"machine{len(self.machines)}"
        path.mkdir()
        machine = Machine(replace(home, path=path, env={**home.env, "HOME": str(path)}))
        row = {
            "address": '"info@example.com"', "host": '"127.0.0.1"', "port": str(smtp or self.server.port),
            "security": '"none"', "auth": '"none"', **changes,
        }  # fmt: skip
        lines = [f"{key} = {value}" for key, value in row.items()]
        content = "\n".join((f"outbox = {json.dumps(url or self.settings.url)}", "[accounts.a]", *lines, ""))
        machine.home.file(".config/smtpsetup/config.toml", content)
        self.machines.append(machine)
        return machine

    def fill(self, subjects: Iterable[object], **changes: object) -> None:
        """Put mails into the outbox."""
        with opened(self.settings, "") as box, box.transaction():
            for subject in subjects:
                box.add(new_mail(int(str(subject)))._replace(**changes))  # type: ignore[arg-type]  # by a test's word

    def accepted(self) -> int:
        """How many mails the server has accepted."""
        return len(self.server.mails)

    def in_outbox(self) -> int:
        """How many mails are in the outbox."""
        return int(str(self.rows("SELECT count(*) FROM smtpsetup.mail")[0][0]))

    def leased(self) -> list[tuple[object, ...]]:
        """The mails that somebody is sending, or that look like it."""
        return self.rows(
            "SELECT id, state, lease, dotted FROM smtpsetup.mail WHERE lease IS NOT NULL OR state = 'sending' OR dotted"
        )

    def stop(self) -> None:
        """Stop all workers; each ends well."""
        for machine in self.machines:
            if machine.is_alive:
                assert machine.stop() == 0, machine.said()
            elif machine.worker:
                assert machine.worker.returncode in (0, -9), machine.said()

    def send_to_the_end(self, seconds: float = 60.0) -> None:
        """Send all that is left, at once, also what a person has to decide on since it was unknown twice."""
        end = time.monotonic() + seconds
        for machine in itertools.cycle(self.machines):
            for command in (("retry", "--all"), ("flush",)):
                done = machine.home.run("outbox", *command)
                assert done.code == 0, done.err
            if not self.in_outbox() and not any(kept_here(one.home) for one in self.machines):
                break
            assert time.monotonic() < end, self.rows("SELECT * FROM smtpsetup.mail LIMIT 5")
        assert self.leased() == []
        assert self.rows("SELECT * FROM smtpsetup.content WHERE mail NOT IN (SELECT id FROM smtpsetup.mail)") == []

    def account(self, subjects: Iterable[object]) -> Account:
        """What became of the mails with these subjects."""
        moments: dict[str, list[float]] = defaultdict(list)
        names: dict[str, set[str]] = defaultdict(set)
        for mail in list(self.server.mails):
            moments[mail.subject].append(mail.at)
            names[mail.subject].add(mail.message_id)
        told: dict[str, list[float]] = defaultdict(list)
        for message_id, at in self.rows("SELECT message_id, at FROM public.told ORDER BY at"):
            told[str(message_id)].append(float(str(at)))
        repeated = [
            Arrival(subject, tuple(at), tuple(told[next(iter(names[subject]))]))
            for subject, at in moments.items()
            if len(at) > 1
        ]
        assert all(len(ids) == 1 for ids in names.values())
        return Account(
            len(moments),
            [str(subject) for subject in subjects if str(subject) not in moments],
            [one for one in repeated if not one.is_told],
            [one for one in repeated if one.is_told],
        )

    def assert_all_is_well(self, subjects: Iterable[object]) -> Account:
        """No mail is lost, and none is doubled that was not told as unknown. Returns what became of the mails."""
        found = self.account(subjects)
        assert (found.lost, found.doubled) == ([], [])
        said = "".join(machine.said() for machine in self.machines if machine.worker)
        assert [word for word in _ODD if word in said] == [], said
        return found


def kept_here(home: Home) -> int:
    """How many mails a machine keeps itself while the shared outbox is away."""
    from smtpsetup.outbox.hand_on import count_here

    return count_here(state_dir(home))


@contextlib.contextmanager
def fleet(cluster: Cluster, server: MailServer) -> Iterator[Fleet]:
    """A shared outbox without machines; what runs at the end is killed."""
    settings = cluster.database()
    made = Fleet(cluster, settings, server)
    cluster.execute(_TOLD, made.database)
    try:
        yield made
    finally:
        for machine in made.machines:
            if machine.is_alive:
                machine.kill()


def wait_until_sent(made: Fleet, mails: int, seconds: float = 30.0) -> None:
    """Wait until the server has accepted so many mails."""
    wait_for(lambda: made.accepted() >= mails, seconds)


@contextlib.contextmanager
def behind_a_proxy(made: Fleet, home: Home) -> Iterator[tuple[Proxy, Machine]]:
    """A machine whose way to the database can be cut."""
    with Proxy(free_port(), made.cluster.port) as proxy:
        yield proxy, made.add_machine(home, url=proxy.url(made.settings.url))


def keep(machine: Machine, mails: int) -> None:
    """Put mails into the outbox of the machine itself, as while the shared one is away."""
    with SqliteOutbox(state_dir(machine.home)) as box:
        for number in range(mails):
            box.add(new_mail(number))

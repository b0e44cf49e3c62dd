"""The outbox of a running relay when its disk is full, and when a repair has to come in."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.outboxes import execute, fill
from tests.faults.processes import executed, own_mount
from tests.mail_server import MailServer
from tests.recording import new_mail, plain_account
from tests.relay import add_client, running_relay
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.relay import Relay

MEGABYTE = 1_000_000
FILL = "dd if=/dev/zero of={0}/filler bs=4k oflag=append conv=notrunc count={1} 2>/dev/null; true"
ADD_LATER = """
import sys, time
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import new_mail
with SqliteOutbox(sys.argv[1]) as box:
    for number in range(5):
        box.add(new_mail(number)._replace(next_attempt=time.time() + 5))
"""


@contextlib.contextmanager
def small_disk(home: Home, megabytes: int) -> Iterator[Home]:
    """A home whose commands all have their state on one small file system."""
    state = home.path / "state"
    mounted = own_mount(home.unmeasured, state, f"size={megabytes}m,mode=0700")
    holder = subprocess.Popen([*mounted.prefix, "sleep", "600"], env=home.env, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: str(state) in Path(f"/proc/{holder.pid}/mountinfo").read_text())
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials")
        env = {**mounted.env, "SMTPSETUP_STATE_DIR": str(state), "PYTHONPATH": os.getcwd()}
        yield replace(mounted, prefix=enter, env=env)
    finally:
        holder.kill()
        holder.wait()


def fill_up(home: Home, megabytes: int = 1000) -> None:
    """Write so much to the small disk, or until it is full."""
    script = FILL.format(home.env["SMTPSETUP_STATE_DIR"], megabytes * MEGABYTE // 4096)
    assert executed(home, "sh", "-c", script).code == 0


def make_room(home: Home) -> None:
    """Delete what has filled the disk."""
    assert executed(home, "rm", "-f", f"{home.env['SMTPSETUP_STATE_DIR']}/filler").code == 0


def test_a_relay_on_a_full_disk_asks_its_clients_to_try_again_until_there_is_room(home: Home) -> None:
    with MailServer() as server, small_disk(home, 80) as there:
        plain_account(there, server.port)
        password = add_client(there)
        with running_relay(there) as relay, relay.client() as client:
            client.log_in(password)
            assert client.hand_over().startswith("250 ")
            fill_up(there, 40)
            assert client.hand_over().startswith("452 4.3.1 ")
            make_room(there)
            assert client.hand_over().startswith("250 ")
            wait_for(lambda: len(server.mails) == 2, 30)


def test_a_disk_that_is_full_before_the_end_of_a_mail_costs_no_mail_that_was_taken(home: Home) -> None:
    with MailServer() as server, small_disk(home, 80) as there:
        plain_account(there, server.port)
        password = add_client(there)
        with running_relay(there) as relay, relay.client() as client:
            client.log_in(password)
            for command in ("MAIL FROM:<info@example.com>", "RCPT TO:<kund@example.org>", "DATA"):
                client.say(command)
            fill_up(there)
            reply = client.say("Subject: 1\r\n\r\nx\r\n.")
            assert reply[:4] in ("250 ", "452 ")
            make_room(there)
            assert client.hand_over().startswith("250 ")
            wait_for(lambda: len(server.mails) == 1 + reply.startswith("250 "), 30)


def is_sent_on_a_full_disk(home: Home, server: MailServer) -> bool:
    """Whether mail is sent that becomes due on a full disk. Nobody has the outbox open when the disk fills up."""
    state = home.env["SMTPSETUP_STATE_DIR"]
    assert executed(home, sys.executable, "-c", ADD_LATER, state).code == 0
    wait_for(lambda: executed(home, "test", "-e", f"{state}/outbox.db-wal").code)
    fill_up(home)
    assert not server.mails
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: len(server.mails) == 5, 25)
    return len(server.mails) == 5


def test_a_relay_on_a_full_disk_sends_what_waits(home: Home) -> None:
    with MailServer() as server, small_disk(home, 80) as there:
        plain_account(there, server.port)
        with running_relay(there):
            assert is_sent_on_a_full_disk(there, server)


# a repair


def handing_over(relay: Relay, password: str, is_over: threading.Event) -> None:
    """Hand over ten mails a second."""
    with relay.client() as client:
        client.log_in(password)
        while not is_over.wait(0.1):
            client.hand_over()


@contextlib.contextmanager
def with_damage(home: Home) -> Iterator[tuple[Relay, str]]:
    """A running relay whose outbox has a damaged mail that is not due, and the password of its client."""
    with MailServer() as server:
        plain_account(home, server.port)
        password = add_client(home)
        fill(home, new_mail(1)._replace(next_attempt=time.time() + 9999))
        execute(home, "UPDATE mail SET subject = 'changed'")
        with running_relay(home.unmeasured) as relay:
            yield relay, password


def is_repaired_within(home: Home, seconds: float) -> bool:
    """Whether a repair gets in."""
    command = [sys.executable, "-m", "smtpsetup", "outbox", "repair"]
    with subprocess.Popen(command, env=home.unmeasured.env, cwd=home.path, stderr=subprocess.PIPE) as repair:
        try:
            _out, err = repair.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            repair.kill()
            return False
    return b"The damaged file is" in err


def test_a_repair_comes_in_while_a_relay_has_nothing_to_do(home: Home) -> None:
    with with_damage(home):
        assert is_repaired_within(home, 20)


def test_a_repair_comes_in_while_a_relay_is_at_work(home: Home) -> None:
    with with_damage(home) as (relay, password):
        is_over = threading.Event()
        client = threading.Thread(target=handing_over, args=(relay, password, is_over))
        client.start()
        try:
            is_in = is_repaired_within(home, 20)
        finally:
            is_over.set()
            client.join()
        assert is_in

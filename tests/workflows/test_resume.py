"""A batch can be stopped at any moment and run again: nothing is lost, and no accepted mail is sent twice."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.mail_server import MailServer, Turn
from tests.recording import password_account
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Home, Run

COUNT = 40
EACH_ONCE = {f"m{number:02}": 1 for number in range(COUNT)}


def lines(count: int = COUNT, **more: Any) -> str:
    return "".join(
        json.dumps({"to": f"m{n:02}@example.com", "subject": f"m{n:02}", "body": "hej", **more}) + "\n"
        for n in range(count)
    )


def slow_to_answer(seconds: float) -> Callable[[Turn], bytes | None]:
    """A server that replies to each message with a delay (seconds)."""

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            time.sleep(seconds)  # the delay
        return None

    return answer


@contextlib.contextmanager
def running(home: Home, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", "send", "--batch", "mails.jsonl", *arguments],
        env=home.env,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def again(home: Home, port: int, *arguments: str) -> Run:
    password_account(home, port)
    return home.run("send", "--batch", "mails.jsonl", *arguments)


def totals(run: Run) -> dict[str, Any]:
    result: dict[str, Any] = run.lines[-1]["result"]
    return result


@pytest.mark.parametrize("connections", ["1", "8"])
@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_after_ctrl_c_the_same_command_sends_the_rest_and_nothing_twice(
    home: Home, connections: str, policy: str
) -> None:
    home.file("mails.jsonl", lines())
    options = ("--connections", connections, "--on-unknown", policy)
    with MailServer(slow_to_answer(0.1)) as server:
        password_account(home, server.port)
        with running(home, *options) as process:
            wait_for(lambda: len(server.mails) >= 5)
            time.sleep(0.05)  # the server has the next message now, and has not replied
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=30)
        time.sleep(0.3)  # until the server has accepted what it has received
        assert process.returncode == 130
        assert "Traceback" not in err
        assert "it sends the rest" in err
        assert 5 <= len(server.mails) < COUNT
        done = again(home, server.port, *options, "--json")
    assert done.code == 0
    assert Counter(server.subjects) == EACH_ONCE
    assert totals(done)["sent"] + totals(done)["sent_before"] == COUNT


@pytest.mark.parametrize("connections", ["1", "4"])
def test_after_ctrl_c_before_the_first_mail_the_next_run_sends_all(home: Home, connections: str) -> None:
    home.file("mails.jsonl", lines(3))
    waits = threading.Event()

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "EHLO" and turn.connection <= int(connections):
            waits.set()
            time.sleep(1)  # Ctrl-C comes meanwhile
        return None

    with MailServer(answer) as server:
        password_account(home, server.port)
        with running(home, "--connections", connections) as process:
            assert waits.wait(20)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert (process.returncode, server.mails) == (130, [])
        assert again(home, server.port).code == 0
    assert sorted(server.subjects) == ["m00", "m01", "m02"]


@pytest.mark.parametrize("connections", ["1", "8"])
def test_after_a_kill_only_unanswered_mails_are_repeated_with_the_same_message_id(home: Home, connections: str) -> None:
    home.file("mails.jsonl", lines())
    with MailServer(slow_to_answer(0.02)) as server:
        password_account(home, server.port)
        with running(home, "--connections", connections) as process:
            wait_for(lambda: len(server.mails) >= 10)
            process.kill()
            process.communicate(timeout=20)
        time.sleep(0.2)  # until the server has accepted what it has received
        before, ids = len(server.mails), {mail.subject: mail.message_id for mail in server.mails}
        assert again(home, server.port, "--connections", connections).code == 0
        counts = Counter(server.subjects)
    assert set(counts) == set(EACH_ONCE)
    twice = [name for name, count in counts.items() if count > 1]
    assert len(twice) <= int(connections)
    for mail in server.mails[before:]:
        if mail.subject in twice:
            assert mail.message_id == ids[mail.subject]


def test_with_hold_mails_that_may_have_arrived_are_not_sent_again(home: Home) -> None:
    home.file("mails.jsonl", lines(4))
    with MailServer(lambda turn: b"" if turn.verb == "." and turn.accepted == 1 else None) as server:
        password_account(home, server.port)
        first = home.run("send", "--batch", "mails.jsonl", "--on-unknown", "hold", "--json")
        assert first.code == 75
        assert totals(first)["unknown"] >= 1
    with MailServer() as other:
        done = again(home, other.port, "--on-unknown", "hold", "--json")
        assert done.code == 75
        assert totals(done)["unknown"] == totals(first)["unknown"]
        assert other.mails == []
        assert again(home, other.port, "--on-unknown", "resend").code == 0
        assert len(other.mails) == totals(first)["unknown"]


def dying() -> MailServer:
    """A server that goes away after ten mails."""

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "MAIL" and len(server.mails) >= 10:
            server.stop()
            return b""
        return None

    server = MailServer(answer)
    return server


@pytest.mark.parametrize("connections", ["1", "4"])
def test_after_a_server_that_dies_the_next_run_sends_the_rest(home: Home, connections: str) -> None:
    home.file("mails.jsonl", lines())
    with dying() as server:
        password_account(home, server.port)
        dead = home.run("send", "--batch", "mails.jsonl", "--queue", "never", "--connections", connections, "--json")
    assert dead.code == 75
    assert totals(dead)["sent"] == len(server.mails)
    assert totals(dead)["not_tried"] == COUNT - len(server.mails)
    assert len(dead.out.splitlines()) == len(server.mails) + 1
    with MailServer() as other:
        assert again(home, other.port, "--connections", connections).code == 0
    assert Counter(server.subjects + other.subjects) == EACH_ONCE


@pytest.mark.parametrize("connections", ["1", "4"])
def test_mails_that_a_dying_server_has_not_accepted_are_queued(home: Home, connections: str) -> None:
    home.file("mails.jsonl", lines())
    with dying() as server:
        password_account(home, server.port)
        dead = home.run("send", "--batch", "mails.jsonl", "--connections", connections, "--json")
    assert dead.code == 0, dead.err
    assert (totals(dead)["sent"], totals(dead)["queued"]) == (len(server.mails), COUNT - len(server.mails))
    assert len(dead.out.splitlines()) == COUNT + 1
    with MailServer() as other:
        assert totals(again(home, other.port, "--json"))["sent_before"] == COUNT
        assert home.run("outbox", "retry", "--all").code == 0
        assert home.run("outbox", "flush").code == 0
    assert Counter(server.subjects + other.subjects) == EACH_ONCE


def test_a_message_answered_with_421_has_not_been_delivered(home: Home) -> None:
    home.file("mails.jsonl", lines(2))

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            server.stop()
            return b"421 4.3.2 shutting down\r\n"
        return None

    with MailServer(answer) as server:
        password_account(home, server.port)
        assert home.run("send", "--batch", "mails.jsonl", "--on-unknown", "hold", "--queue", "never").code == 75
    with MailServer() as other:
        assert again(home, other.port, "--on-unknown", "hold", "--json").code == 0
    assert other.subjects == ["m00", "m01"]


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_closed_output_pipe_repeats_no_mail(home: Home, connections: str) -> None:
    home.file("mails.jsonl", lines())
    with MailServer(slow_to_answer(0.05)) as server:
        password_account(home, server.port)
        command = (
            f"{sys.executable} -m smtpsetup send --batch mails.jsonl --json --connections {connections} | head -n 1"
        )
        subprocess.run(["sh", "-c", command], env=home.env, cwd=home.path, capture_output=True, check=False, timeout=60)
        assert again(home, server.port).code == 0
    assert Counter(server.subjects) == EACH_ONCE


def test_a_temporarily_refused_mail_is_queued_and_the_batch_succeeds(home: Home) -> None:
    home.file("mails.jsonl", lines(4))
    reply = {"RCPT TO:<m01@example.com>": b"451 4.3.0 later\r\n"}
    with MailServer(lambda turn: reply.get(turn.line)) as server:
        password_account(home, server.port)
        done = home.run("send", "--batch", "mails.jsonl", "--json")
        assert (done.code, totals(done)["sent"], totals(done)["queued"], totals(done)["failed"]) == (0, 3, 1, 0)
        views = done.lines
        assert [(view["ok"], view["queued"]) for view in views[:-1]] == [
            (True, False),
            (True, True),
            (True, False),
            (True, False),
        ]
        assert home.run("outbox", "list", "--json").json["result"][0]["recipients"] == ["m01@example.com"]


def test_a_mail_whose_reply_is_lost_is_queued_as_unknown_with_its_message_id(home: Home) -> None:
    home.file("mails.jsonl", lines(3))
    lost: list[Turn] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and turn.accepted == 1 and not lost:
            lost.append(turn)
            return b""
        return None

    with MailServer(answer) as server:
        password_account(home, server.port)
        done = home.run("send", "--batch", "mails.jsonl", "--json")
    view = done.lines[1]
    (kept,) = home.run("outbox", "list", "--json").json["result"]
    assert server.subjects == ["m00", "m02"]
    assert (kept["state"], kept["message_id"], kept["outbox_id"]) == ("unknown", view["message_id"], view["outbox_id"])


def test_queue_always_sends_nothing_and_keeps_everything(home: Home) -> None:
    home.file("mails.jsonl", lines(3))
    with MailServer() as server:
        password_account(home, server.port)
        done = home.run("send", "--batch", "mails.jsonl", "--queue", "always", "--json")
        assert server.connections == 0
    assert (done.code, totals(done)["queued"]) == (0, 3)
    assert len(home.run("outbox", "list", "--json").json["result"]) == 3


def test_a_batch_is_sent_by_one_run_at_a_time(home: Home) -> None:
    home.file("mails.jsonl", lines())
    with MailServer(slow_to_answer(0.05)) as server:
        password_account(home, server.port)
        with running(home) as process:
            wait_for(lambda: server.mails)
            other = home.run("send", "--batch", str(home.path / "mails.jsonl"), "--json")
            assert (other.code, other.json["error"]["code"]) == (75, "config.invalid")
            process.communicate(timeout=60)
            assert process.returncode == 0
    assert Counter(server.subjects) == EACH_ONCE


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_deleted_attachment_fails_its_own_mail_alone(home: Home, connections: str) -> None:
    home.file("bilaga.bin", bytes(1000))
    rows = [json.loads(line) for line in lines(20).splitlines()]
    rows[15]["attach"] = "bilaga.bin"
    home.file("mails.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and turn.accepted == 1:
            (home.path / "bilaga.bin").unlink(missing_ok=True)
        return None

    with MailServer(answer) as server:
        password_account(home, server.port)
        done = home.run("send", "--batch", "mails.jsonl", "--connections", connections, "--json")
    views = {view["line"]: view for view in done.lines if "line" in view}
    assert sorted(server.subjects) == [f"m{number:02}" for number in range(20) if number != 15]
    assert done.code in (66, 74)
    assert (len(views), views[16]["ok"]) == (20, False)
    assert totals(done)["failed"] == 1

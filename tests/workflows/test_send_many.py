"""Many messages are sent within any limits of a server: each once, each with its own result."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.model import Secret, Security
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.send_many import Run, deliver
from tests.conftest import account_at, context_of
from tests.mail_server import MailServer, Turn, answer_to
from tests.messages import from_bytes
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.sending.send_one import SendResult

ONE_OR_FOUR_CONNECTIONS = pytest.mark.parametrize("connections", [1, 4])
RATE = b"450 4.7.1 Rate limit exceeded, slow down\r\n"
QUOTA = b"550 5.4.5 Daily user sending quota exceeded\r\n"


def mails(*names: str) -> list[Delivery]:
    return [
        Delivery(
            Envelope("info@example.com", (f"{name}@example.com",)),
            from_bytes(f"Subject: {name}\r\n\r\nhej\r\n".encode()),
            key=name,
        )
        for name in names
    ]


def many(count: int) -> list[Delivery]:
    return mails(*(f"m{number:02}" for number in range(count)))


@dataclass
class Report:
    """The result of each message, its time, and the error that stopped the run."""

    results: list[tuple[str, SendResult]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    error: SmtpsetupError | None = None

    @property
    def codes(self) -> dict[str, str]:
        """The error of each message, "" where there is none."""
        assert len({name for name, _result in self.results}) == len(self.results), self.results
        return {name: result.error.code if result.error else "" for name, result in self.results}


def run(server: MailServer, deliveries: list[Delivery], report: Report | None = None, **options: Any) -> Report:
    report = report or Report()

    def on_result(delivery: Delivery, result: SendResult) -> None:
        report.results.append((str(delivery.key), result))
        report.moments.append(time.monotonic())

    def source() -> Iterator[Delivery]:
        for delivery in deliveries:
            report.taken.append(str(delivery.key))
            yield delivery

    account = account_at(server.port, Security.NONE)
    report.error = deliver(Run(context_of(account), Secret("x"), on_result, **options), source())
    return report


def assert_each_once(server: MailServer, report: Report, count: int) -> None:
    names = {f"m{number:02}" for number in range(count)}
    assert report.error is None
    assert report.codes == dict.fromkeys(names, "")
    assert Counter(server.subjects) == dict.fromkeys(names, 1)


# limits of the connection


@ONE_OR_FOUR_CONNECTIONS
def test_a_connection_that_the_server_closes_with_421_is_opened_again(connections: int) -> None:
    closing = b"421 4.7.0 too many messages in this connection\r\n"
    with MailServer(lambda turn: closing if turn.verb == "MAIL" and turn.accepted >= 3 else None) as server:
        report = run(server, many(13), connections=connections)
    assert_each_once(server, report, 13)
    assert server.connections >= 5


@ONE_OR_FOUR_CONNECTIONS
@pytest.mark.parametrize("last", [1, 3])
def test_a_server_with_a_limit_per_connection_gets_the_rest_over_new_ones(connections: int, last: int) -> None:
    with MailServer(last=last) as server:
        report = run(server, many(10), connections=connections)
    assert_each_once(server, report, 10)


@ONE_OR_FOUR_CONNECTIONS
def test_a_421_after_the_dot_means_that_the_message_was_not_accepted(connections: int) -> None:
    closed: list[Turn] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and not closed:
            closed.append(turn)
            return b"421 4.3.2 shutting down\r\n"
        return None

    with MailServer(answer) as server:
        report = run(server, many(5), connections=connections)
    assert_each_once(server, report, 5)


@pytest.mark.parametrize("seconds_for_login", [0.0, 0.2])
def test_a_server_that_allows_three_connections_gets_every_message_once(seconds_for_login: float) -> None:
    """It refuses further connections at once, perhaps before the three have logged in."""

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "AUTH":
            time.sleep(seconds_for_login)  # a server with a slow password check
        return None

    with MailServer(answer, at_once=3, latency=0.005) as server:
        report = run(server, many(40), connections=8)
    assert_each_once(server, report, 40)


# limits of the account


@ONE_OR_FOUR_CONNECTIONS
@pytest.mark.parametrize(
    ("verb", "reply", "code"), [("RCPT", RATE, "limit.rate"), (".", QUOTA, "limit.quota"), ("MAIL", RATE, "limit.rate")]
)
def test_a_rate_limit_or_quota_stops_the_run(connections: int, verb: str, reply: bytes, code: str) -> None:
    with MailServer(lambda turn: reply if turn.verb == verb and turn.accepted >= 2 else None) as server:
        report = run(server, many(40), connections=connections)
    assert report.error
    assert (report.error.code, report.error.exit_code) == (code, 75)
    assert len(server.mails) + 2 * connections >= len(report.results) < 30
    assert set(report.codes.values()) <= {"", code}


def test_a_rate_limit_given_with_421_stops_the_run() -> None:
    slow = b"421 4.7.0 Too many messages, slow down\r\n"
    with MailServer(
        lambda turn: slow if turn.verb == "MAIL" and turn.line.startswith("MAIL") and len(server.mails) >= 3 else None
    ) as server:
        report = run(server, many(10))
    assert report.error
    assert report.error.code == "limit.rate"
    assert server.connections <= 3
    assert len(server.mails) == 3


@ONE_OR_FOUR_CONNECTIONS
def test_a_rate_is_held_over_all_connections(connections: int) -> None:
    started = time.monotonic()
    with MailServer() as server:
        report = run(server, many(6), connections=connections, seconds_between=0.1)
    assert_each_once(server, report, 6)
    assert max(mail.moment for mail in server.mails) - started >= 0.5
    assert not any(len(group) > 1 for groups in server.groups for group in groups)


def test_a_result_is_reported_at_once_while_another_message_waits() -> None:
    """A result enters the journal when it is reported: a kill before that would send the message again."""
    with MailServer() as server:
        report = run(server, many(3), connections=2, seconds_between=1.0)
    assert_each_once(server, report, 3)
    late = [reported - mail.moment for reported, mail in zip(report.moments, server.mails, strict=True)]
    assert max(late) < 0.5, late


# poison messages


@ONE_OR_FOUR_CONNECTIONS
@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_a_message_that_ends_every_connection_gets_its_own_result(connections: int, verb: str) -> None:
    with MailServer(answer_to("m03", verb=verb)) as server:
        report = run(server, many(12), connections=connections)
    names = {f"m{number:02}" for number in range(12)}
    assert report.codes == {**dict.fromkeys(names, ""), "m03": "connection.lost"}
    assert sorted(server.subjects) == sorted(names - {"m03"})
    assert report.error is None


@ONE_OR_FOUR_CONNECTIONS
def test_a_message_whose_answer_is_lost_is_unknown_and_not_sent_again(connections: int) -> None:
    with MailServer(answer_to("m03", verb=".")) as server:
        report = run(server, many(12), connections=connections)
    assert report.codes["m03"] == "data.lost-before-reply"
    assert sum("m03@" in line for line in server.lines) == 1
    assert sorted(server.subjects) == [f"m{number:02}" for number in range(12) if number != 3]


@ONE_OR_FOUR_CONNECTIONS
def test_refusals_concern_their_own_messages(connections: int) -> None:
    replies = {
        "RCPT TO:<m01@example.com>": b"550 5.1.1 unknown\r\n",
        "RCPT TO:<m04@example.com>": b"451 4.3.0 later\r\n",
    }
    with MailServer(lambda turn: replies.get(turn.line)) as server:
        report = run(server, many(8), connections=connections)
    assert {name: code for name, code in report.codes.items() if code} == {
        "m01": "rcpt.unknown",
        "m04": "server.temporary",
    }
    assert len(server.mails) == 6
    assert report.error is None


# servers that go away


@ONE_OR_FOUR_CONNECTIONS
def test_a_server_that_dies_leaves_the_rest_untouched(connections: int) -> None:
    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "MAIL" and len(server.mails) >= 5:
            server.stop()
            return b""
        return None

    with MailServer(answer) as server:
        report = run(server, many(30), connections=connections)
    assert report.error
    assert report.error.exit_code == 75
    assert {name for name, _result in report.results} == set(server.subjects)
    assert all(code == "" for code in report.codes.values())


@ONE_OR_FOUR_CONNECTIONS
def test_a_server_that_takes_logins_and_no_messages_is_given_up_soon(connections: int) -> None:
    with MailServer(lambda turn: b"" if turn.verb == "MAIL" else None) as server:
        report = run(server, many(50), connections=connections)
    assert report.error
    assert report.error.exit_code == 75
    assert server.connections <= 6 * connections
    assert len(report.results) <= 2 * connections


def test_a_refused_login_is_tried_once() -> None:
    with MailServer(lambda turn: b"535 5.7.8 bad\r\n" if turn.verb == "AUTH" else None) as server:
        report = run(server, many(3))
    assert report.error
    assert (report.error.code, report.results, server.connections) == ("auth.bad-credentials", [], 1)


# interruptions


@ONE_OR_FOUR_CONNECTIONS
def test_ctrl_c_waits_for_pending_replies(connections: int) -> None:
    pressed: list[Turn] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and len(server.mails) >= 3 and not pressed:
            pressed.append(turn)
            os.kill(os.getpid(), signal.SIGINT)
        if turn.verb == "." and pressed:
            time.sleep(0.3)  # every connection waits for its reply when Ctrl-C arrives
        return None

    report = Report()
    with MailServer(answer) as server, pytest.raises(KeyboardInterrupt):
        run(server, many(40), report, connections=connections)
    reported = set(report.codes)
    wait_for(lambda: len(server.mails) >= 4)
    assert reported == set(server.subjects)
    assert len(server.mails) < 20


def test_ctrl_c_waits_for_the_last_reply_of_a_thread_marked_as_ended() -> None:
    """A Thread.join that is interrupted marks a running thread as ended (CPython issue 90882)."""

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            time.sleep(0.3)  # both threads are joined by now, and one of them is idle
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)  # the reply comes after Ctrl-C
        return None

    report = Report()
    with MailServer(answer) as server, pytest.raises(KeyboardInterrupt):
        run(server, many(1), report, connections=2)
    assert report.codes == {"m00": ""}


@ONE_OR_FOUR_CONNECTIONS
def test_an_exception_of_the_caller_ends_the_run(connections: int) -> None:
    def deliveries() -> Iterator[Delivery]:
        yield from many(3)
        raise LookupError("no more")

    with MailServer() as server, pytest.raises(LookupError):
        deliver(
            Run(
                context_of(account_at(server.port, Security.NONE)),
                Secret("x"),
                lambda *_: None,
                connections=connections,
            ),
            deliveries(),
        )

"""Messages over one connection: one round trip each, and an outcome for each whatever the server does."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.errors import InterruptedAfterTheDotError
from smtpsetup.core.failure import Kind, TransportError
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.message.delivery import Delivery, Outcome
from smtpsetup.message.message import Envelope
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.smtp.session import Session
from tests.mail_server import PIPELINING, MailServer, Turn
from tests.messages import from_bytes
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY = b"220 mail.example.com ESMTP\r\n"
EHLO = b"250-mail.example.com\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"
AGREED = b"250 sender\r\n250 recipient\r\n354 go\r\n"
ENVELOPE = (None, None, None)  # MAIL, RCPT and DATA, pipelined
TO_CONTENT = (READY, None, EHLO, *ENVELOPE, AGREED)
GOODBYE = (None, b"221 bye\r\n")
OFFERS = pytest.mark.parametrize("offers", [PIPELINING, PIPELINING[1:]], ids=["pipelined", "one by one"])


def mail(subject: str, *recipients: str, body: bytes = b"hej\r\n") -> Delivery:
    envelope = Envelope("info@example.com", recipients or (f"{subject}@example.com",))
    return Delivery(
        envelope, from_bytes(f"Subject: {subject}\r\n\r\n".encode() + body), f"<{subject}@example.com>", subject
    )


@dataclass
class Sent:
    """The outcomes of messages, and the error that ended the connection before the others."""

    outcomes: list[Outcome | TransportError] = field(default_factory=list)
    lost: TransportError | None = None

    @property
    def results(self) -> list[str]:
        """ "ok", a reply code or a kind of failure for each outcome."""
        return [
            "ok" if isinstance(one, Outcome) else str(one.failure.reply.code if one.failure.reply else one.failure.kind)
            for one in self.outcomes
        ]


@contextlib.contextmanager
def opened(port: int, trace: Callable[[str], None] | None = None) -> Iterator[Session]:
    server = Server("127.0.0.1", port, Security.NONE)
    with Session(server, ehlo_name="example.com", deadline=Deadline(30), policy=tls.policy(), trace=trace) as session:
        session.connect()
        yield session


def send(port: int, *deliveries: Delivery, lockstep: bool = False, trace: Callable[[str], None] | None = None) -> Sent:
    sent = Sent()
    try:
        with opened(port, trace) as session:
            for outcome in session.deliver_all(iter(deliveries), lockstep=lockstep):
                sent.outcomes.append(outcome)
    except TransportError as error:
        sent.lost = error
    return sent


def second(verb: str, reply: bytes) -> Callable[[Turn], bytes | None]:
    """An `answer` for MailServer: this reply to a command of the second message of a connection."""
    return lambda turn: reply if turn.verb == verb and turn.accepted == 1 else None


def nth(verb: str, *replies: bytes | None) -> Callable[[Turn], bytes | None]:
    """An `answer` for MailServer: these replies to a command, one after the other; None for the usual one."""
    left = iter(replies)
    return lambda turn: next(left, None) if turn.verb == verb else None


# round trips


def test_a_message_costs_one_round_trip_where_the_server_pipelines() -> None:
    """The server replies to a message only after it has the whole envelope of the next one."""
    second = (*ENVELOPE, b"250 one\r\n" + AGREED, "message")
    third = (*ENVELOPE, b"250 two\r\n" + AGREED, "message", b"250 three\r\n")
    script = (*TO_CONTENT, "message", *second, *third, *GOODBYE)
    with ScriptedServer(script) as server:
        sent = send(server.port, mail("a"), mail("b"), mail("c"))
    assert [str(outcome.reply) for outcome in sent.outcomes if isinstance(outcome, Outcome)] == [
        "250 one",
        "250 two",
        "250 three",
    ]
    assert sent.lost is None


@pytest.mark.parametrize("lockstep", [True, False])
def test_without_pipelining_every_command_waits_for_its_reply(lockstep: bool) -> None:  # noqa: FBT001  a parameter
    with MailServer(offers=PIPELINING if lockstep else (), latency=0.005) as server:
        assert send(server.port, mail("a", "a@x.se", "b@x.se"), mail("b"), lockstep=lockstep).results == ["ok", "ok"]
    assert all(len(group) == 1 for group in server.groups[0])


@OFFERS
def test_a_session_without_messages_sends_ehlo_and_quit(offers: tuple[str, ...]) -> None:
    with MailServer(offers=offers) as server:
        assert send(server.port) == Sent()
    assert [line.split()[0] for line in server.lines] == ["EHLO", "QUIT"]


@pytest.mark.parametrize("first", [1, 120])
def test_many_recipients_go_out_in_windows_so_that_no_buffer_fills_up(first: int) -> None:
    names = tuple(f"{number}@example.com" for number in range(120))
    with MailServer() as server:
        sent = send(server.port, mail("a", *names[:first]), mail("b", *names), mail("c"))
    assert sent.results == ["ok", "ok", "ok"]
    assert server.mails[1].recipients == names
    assert max(len(group) for group in server.groups[0]) <= 51  # with the dot of the message before


@OFFERS
def test_in_lockstep_the_next_message_is_taken_after_the_outcome_of_the_last(offers: tuple[str, ...]) -> None:
    events: list[str] = []

    def deliveries() -> Iterator[Delivery]:
        for name in ("a", "b"):
            events.append(f"take {name}")
            yield mail(name)

    with MailServer(offers=offers) as server, opened(server.port) as session:
        events.extend("outcome" for _outcome in session.deliver_all(deliveries(), lockstep=True))
    assert events == ["take a", "outcome", "take b", "outcome"]


# refusals


@OFFERS
@pytest.mark.parametrize("code", ["550", "450"])
@pytest.mark.parametrize("lockstep", [True, False])
def test_a_refused_sender_affects_one_message(offers: tuple[str, ...], code: str, lockstep: bool) -> None:  # noqa: FBT001  a parameter
    with MailServer(nth("MAIL", None, f"{code} 5.7.1 not you\r\n".encode()), offers=offers) as server:
        assert send(server.port, mail("a"), mail("b", "b@x.se", "c@x.se"), mail("c"), lockstep=lockstep).results == [
            "ok",
            code,
            "ok",
        ]
    assert server.subjects == ["a", "c"]
    assert server.lines.count("RSET") <= 1


@OFFERS
def test_where_some_recipients_are_refused_the_others_get_the_message(offers: tuple[str, ...]) -> None:
    answers = {"RCPT TO:<bad@x.se>": b"550 5.1.1 unknown\r\n", "RCPT TO:<full@x.se>": b"452 4.2.2 full\r\n"}
    with MailServer(lambda turn: answers.get(turn.line), offers=offers) as server:
        sent = send(server.port, mail("a", "bad@x.se", "a@x.se", "full@x.se", "b@x.se"), mail("b"))
    outcome = sent.outcomes[0]
    assert isinstance(outcome, Outcome)
    assert outcome.accepted == ("a@x.se", "b@x.se")
    assert [(entry.address, entry.failure.reply and entry.failure.reply.code) for entry in outcome.refused] == [
        ("bad@x.se", 550),
        ("full@x.se", 452),
    ]
    assert server.mails[0].recipients == ("a@x.se", "b@x.se")
    assert "RSET" not in server.lines


@OFFERS
@pytest.mark.parametrize(
    ("codes", "reported"),
    [(("550", "550"), 550), (("450", "450"), 450), (("550", "450"), 450), (("450", "550"), 450)],
    ids=str,
)
@pytest.mark.parametrize("data", [None, b"354 go on\r\n", b"451 later\r\n"], ids=["503", "354", "451"])
def test_all_recipients_refused_affects_one_message(
    offers: tuple[str, ...], codes: tuple[str, str], reported: int, data: bytes | None
) -> None:
    """If one refusal is temporary, that one is reported, since a retry makes sense; no content is sent after a 354."""
    replies = {f"RCPT TO:<bad{number}@x.se>": f"{code} 5.1.1 no\r\n".encode() for number, code in enumerate(codes)}

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "DATA":
            return data if server.lines[-2] in replies else None
        return replies.get(turn.line)

    with MailServer(answer, offers=offers) as server:
        sent = send(server.port, mail("a"), mail("b", "bad0@x.se", "bad1@x.se"), mail("c"))
    assert sent.results == ["ok", str(reported), "ok"]
    error = sent.outcomes[1]
    assert isinstance(error, TransportError)
    assert error.failure.stage is Stage.RCPT
    assert [entry.address for entry in error.refused] == ["bad0@x.se", "bad1@x.se"]
    assert server.subjects == ["a", "c"]
    assert server.torn == []


@OFFERS
@pytest.mark.parametrize("code", ["554", "451"])
def test_a_refused_data_command_affects_one_message(offers: tuple[str, ...], code: str) -> None:
    with MailServer(nth("DATA", None, f"{code} 5.7.1 no\r\n".encode()), offers=offers) as server:
        sent = send(server.port, mail("a"), mail("b"), mail("c"))
    assert sent.results == ["ok", code, "ok"]
    assert server.subjects == ["a", "c"]
    assert server.lines.count("RSET") == 1


@OFFERS
def test_a_refused_content_affects_one_message(offers: tuple[str, ...]) -> None:
    with MailServer(nth(".", None, b"554 5.7.1 spam\r\n"), offers=offers) as server:
        sent = send(server.port, mail("a"), mail("b"), mail("c"))
    assert (sent.results, server.subjects) == (["ok", "554", "ok"], ["a", "c"])
    assert "RSET" not in server.lines


@OFFERS
def test_a_message_that_the_server_cannot_accept_is_not_sent(offers: tuple[str, ...]) -> None:
    large = mail("large", body=b"x\r\n" * 400_000)
    local = mail("local", "åsa@example.com")
    long = Delivery(
        Envelope("info@example.com", ("l@example.com",)),
        from_bytes(b"Subject: long\r\nX: " + b"x" * 1000 + b"\r\n\r\n"),
    )
    with MailServer(offers=offers) as server:
        sent = send(server.port, large, mail("a"), local, mail("b"), long, large, mail("c"), local)
    kinds = [str(kind) for kind in (Kind.TOO_LARGE, Kind.SMTPUTF8_NOT_OFFERED, Kind.LINE_TOO_LONG)]
    assert sent.results == [kinds[0], "ok", kinds[1], "ok", kinds[2], kinds[0], "ok", kinds[1]]
    assert server.subjects == ["a", "b", "c"]
    assert not any(name in line for line in server.lines for name in ("large@", "sa@", "l@"))


def test_mail_parameters_are_sent_only_where_needed_and_offered() -> None:
    with MailServer(offers=("PIPELINING", "SMTPUTF8", "8BITMIME", "SIZE")) as server:
        sent = send(
            server.port,
            mail("a"),
            mail("b", "åsa@example.com"),
            Delivery(Envelope("i@x.se", ("c@x.se",)), from_bytes("A: b\r\n\r\nå\r\n".encode())),
        )
    assert sent.results == ["ok"] * 3
    parameters = [line.partition("> ")[2].split() for line in server.lines if line.startswith("MAIL")]
    assert [[word for word in words if not word.startswith("SIZE=")] for words in parameters] == [
        [],
        ["SMTPUTF8"],
        ["BODY=8BITMIME"],
    ]


# replies that come early, late, or in pieces


def test_replies_may_arrive_together_or_byte_by_byte() -> None:
    pieces = [step for byte in AGREED for step in (bytes([byte]), 0.002)]
    first = (READY, None, EHLO, *ENVELOPE, *pieces, "message")
    second = (*ENVELOPE, b"250 one\r\n" + AGREED, "message", b"250-two\r\n", b"250 more\r\n")
    script = (*first, *second, *GOODBYE)
    with ScriptedServer(script) as server:
        assert send(server.port, mail("a"), mail("b")).results == ["ok", "ok"]


def test_early_replies_are_matched_to_commands_in_order() -> None:
    early = (None, b"250 s\r\n250 r\r\n354 go\r\n", None, None)
    script = (READY, None, EHLO, *early, "message", b"250 one\r\n", *GOODBYE)
    with ScriptedServer(script) as server:
        assert send(server.port, mail("a")).results == ["ok"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("early", "result"), [(b"554 5.7.1 spam already\r\n", "554"), (b"250 ok already\r\n", "protocol-error")]
)
def test_a_reply_before_the_dot_is_no_acceptance_and_ends_the_connection(early: bytes, result: str) -> None:
    """With a server that is one reply ahead, each reply would be matched to the wrong command."""
    with ScriptedServer((READY, None, EHLO, *ENVELOPE, AGREED + early, "message", b"554 5.7.1 spam\r\n")) as server:
        sent = send(server.port, mail("a"), mail("b"))
    assert sent.outcomes == []
    assert sent.lost
    failure = sent.lost.failure
    assert result == (str(failure.reply.code) if failure.reply else failure.kind)


@pytest.mark.parametrize("reply", [b"200 ok\r\n", b"252 2.0.0 taken\r\n", b"260 2.6.0 queued\r\n"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "."])
def test_any_2xx_reply_is_an_acceptance(verb: str, reply: bytes) -> None:
    """RFC 5321 section 4.3.2: a client goes by the first digit where it does not know the code."""
    with MailServer(lambda turn: reply if turn.verb == verb else None) as server:
        assert send(server.port, mail("a"), mail("b")).results == ["ok", "ok"]


# interruptions


def test_ctrl_c_while_waiting_for_the_reply_to_the_dot_has_its_own_error() -> None:
    def answer(turn: Turn) -> bytes | None:
        if turn.verb != ".":
            return None
        os.kill(os.getpid(), signal.SIGINT)
        return b""

    with MailServer(answer) as server, pytest.raises(InterruptedAfterTheDotError):
        send(server.port, mail("a"), mail("b"))


def test_before_dot_is_called_before_the_server_can_accept() -> None:
    seen: list[int] = []
    deliveries = [
        Delivery(one.envelope, one.message, before_dot=lambda: seen.append(len(server.mails)))
        for one in (mail("a"), mail("b"))
    ]
    with MailServer() as server:
        assert send(server.port, *deliveries).results == ["ok", "ok"]
    assert seen == [0, 1]


def test_a_failed_write_before_the_dot_is_not_reported_as_a_lost_connection() -> None:
    """A full disk reported as a lost connection would cause retries without end."""

    def full() -> None:
        raise OSError(28, "No space left on device", "journal")

    delivery = Delivery(mail("a").envelope, mail("a").message, before_dot=full)
    with MailServer() as server, pytest.raises(Exception, match="No space left"), opened(server.port) as session:
        list(session.deliver_all(iter([delivery, mail("b")]), lockstep=False))
    assert server.mails == []

"""A connection that ends is reported with its cause, its message, and whether that message may have arrived."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.failure import Kind, TransportError
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope, Message
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.smtp.session import Session
from smtpsetup.smtp.transaction import Channel, submit
from tests.adapters.test_submit import EHLO, ENVELOPE, OFFERS, READY, TO_CONTENT, mail, opened, second, send
from tests.mail_server import MailServer
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_quit_is_sent_however_long_the_messages_took() -> None:
    """Each message has a deadline of its own; that of the login is over by then."""
    with MailServer(lambda turn: time.sleep(0.4) if turn.verb == "." else None) as server:  # longer than the deadline
        place = Server("127.0.0.1", server.port, Security.NONE)
        with Session(place, ehlo_name="example.com", deadline=Deadline(0.3), policy=tls.policy()) as session:
            session.connect()
            assert len(list(session.deliver_all(iter([mail("a")]), lockstep=False))) == 1
    assert server.lines[-1] == "QUIT"


PLACES = {"MAIL": Stage.MAIL, "RCPT": Stage.RCPT, "DATA": Stage.DATA, ".": Stage.DATA}


@OFFERS
@pytest.mark.parametrize("verb", PLACES)
def test_a_421_is_reported_with_its_reply_and_stage(offers: tuple[str, ...], verb: str) -> None:
    with MailServer(second(verb, b"421 4.7.0 Too many messages, slow down\r\n"), offers=offers) as server:
        sent = send(server.port, mail("a"), mail("b", "b@x.se", "c@x.se"), mail("c"))
    assert sent.results == ["ok"]
    assert sent.lost
    assert sent.lost.failure.stage is PLACES[verb]
    assert str(sent.lost.failure.reply) == "421 4.7.0 Too many messages, slow down"
    assert server.subjects == ["a"]


@pytest.mark.parametrize("wait", [0.0, 0.2])
def test_a_421_between_two_messages_is_read(wait: float) -> None:
    """It is read as the reply to MAIL."""
    end = (wait, b"421 4.3.2 Going down\r\n", 0.2, "drop")
    script = (*TO_CONTENT, "message", b"250 one\r\n", *end)
    with ScriptedServer(script) as server:
        sent = send(server.port, mail("a"), mail("b"))
    assert sent.results == ["ok"]
    assert sent.lost
    assert str(sent.lost.failure.reply) == "421 4.3.2 Going down"


@OFFERS
@pytest.mark.parametrize("verb", PLACES)
def test_a_dropped_connection_is_unknown_only_after_the_dot(offers: tuple[str, ...], verb: str) -> None:
    with MailServer(second(verb, b""), offers=offers) as server:
        sent = send(server.port, mail("a"), mail("b", "b@x.se", "c@x.se"), mail("c"))
    assert sent.results == ["ok"]
    assert sent.lost
    assert (sent.lost.failure.stage, sent.lost.failure.kind) == (PLACES[verb], Kind.CLOSED)
    assert (sent.lost.failure.is_unknown) == (verb == ".")
    assert server.subjects == ["a"]


def test_a_refusal_is_reported_although_the_server_closes_after_it() -> None:
    """The recipients have been refused already; the missing reply to DATA changes nothing for them."""
    with ScriptedServer((READY, None, EHLO, *ENVELOPE, b"250 ok\r\n550 5.1.1 unknown\r\n", "drop")) as server:
        sent = send(server.port, mail("a"), mail("b"))
    failure = sent.outcomes[0] if sent.outcomes else sent.lost
    assert isinstance(failure, TransportError)
    assert str(failure.failure.reply) == "550 5.1.1 unknown"


def test_a_refusal_in_the_middle_of_a_message_ends_the_connection() -> None:
    """The server would take the next commands for the rest of that message."""
    script = (*TO_CONTENT, b"552 5.3.4 too much\r\n", 0.2, "drop")
    with ScriptedServer(script) as server:
        sent = send(
            server.port,
            Delivery(Envelope("i@x.se", ("a@x.se",)), Message(b"A: b\r\n\r\n", endless, 900_000)),
            mail("b"),
        )
    errors = [one for one in (*sent.outcomes, sent.lost) if isinstance(one, TransportError)]
    assert str(errors[0].failure.reply) == "552 5.3.4 too much" or errors[0].failure.kind is Kind.CLOSED
    assert not any(line.startswith(b"MAIL") for line in server.received[4:])


def endless() -> Iterator[bytes]:
    """More than the socket buffers hold."""
    for _number in range(1000):
        yield b"x" * 70 + b"\r\n" * 5000


@pytest.mark.slow
def test_the_reply_to_a_message_counts_although_the_next_envelope_cannot_be_written() -> None:
    """A server may close the connection after the reply to its last message."""
    mails: list[str] = []

    def trace(line: str) -> None:
        mails.extend([line] if line.startswith("> MAIL") else [])
        if len(mails) == 2:
            server.hung_up.wait(10)

    script = (*TO_CONTENT, "message", b"250 2.0.0 kept\r\n", "reset")
    with ScriptedServer(script) as server:
        sent = send(server.port, mail("a"), mail("b"), trace=trace)
    assert sent.results == ["ok"]


@pytest.mark.slow
def test_silence_after_the_dot_is_an_unknown_outcome_at_the_deadline() -> None:
    script = (*TO_CONTENT, "message")
    with ScriptedServer(script) as server, opened(server.port) as session, pytest.raises(TransportError) as caught:
        list(
            submit(
                Channel(session.wire, session.server, lambda *_: None),
                iter([mail("a"), mail("b")]),
                deadline_for=lambda _message: Deadline(0.3),
            )
        )
    assert caught.value.failure.is_unknown

"""Answers of an API as no well-made server gives them, over TLS."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, TransportKind
from smtpsetup.diagnosis.diagnose import error_code
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.transports.graph import GraphTransport
from tests.api_accounts import TOKEN, api_account, mail
from tests.certificates import server_context, write_ca

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("api_state")
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answerer(NamedTuple):
    """A server that answers every request with the same bytes."""

    origin: str
    ca_file: str


class Answers:
    """Starts servers, and closes them at the end."""

    def __init__(self, directory: Path) -> None:
        self._ca_file = write_ca(directory / "ca.pem")
        self._sockets: list[socket.socket] = []

    def start(self, answer: bytes, times: int = 1) -> Answerer:
        listener = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(listener)
        threading.Thread(target=self._serve, args=(listener, answer, times), daemon=True).start()
        return Answerer(f"https://localhost:{listener.getsockname()[1]}", self._ca_file)

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()

    def _serve(self, listener: socket.socket, answer: bytes, times: int) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            try:
                with server_context().wrap_socket(connection, server_side=True) as tls, tls.makefile("rb") as stream:
                    size = 0
                    for line in iter(stream.readline, b"\r\n"):
                        name, _colon, value = line.partition(b":")
                        size = int(value) if name.lower() == b"content-length" else size
                    stream.read(size)
                    for _time in range(times):
                        tls.sendall(answer)
            except OSError:
                continue


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    servers = Answers(tmp_path)
    yield servers
    servers.close()


def delivered(server: Answerer) -> None:
    """Send a mail to the server. Raises TransportError."""
    with GraphTransport().session(api_account(server, TransportKind.GRAPH), Conditions(30)) as session:
        session.open(Secret(TOKEN))
        session.deliver(mail())


@pytest.mark.parametrize("early", [b"103 Early Hints\r\nLink: </x>", b"102 Processing", b"100 Continue"])
def test_what_comes_before_the_answer_is_none(answers: Answers, early: bytes) -> None:
    delivered(answers.start(b"HTTP/1.1 " + early + b"\r\n\r\n" + ACCEPTED))


@pytest.mark.parametrize("size", [b"-5", b"zz", b"-1", b"0x", b"-FFFFFFFFFFFFFFFFFFFF"])
def test_a_chunk_of_no_size_leaves_the_mail_unknown(answers: Answers, size: bytes) -> None:
    with pytest.raises(TransportError) as failed:
        delivered(answers.start(CHUNKED + size + b"\r\nabc\r\n"))
    assert failed.value.failure.is_unknown


def test_an_answer_without_an_end_is_not_read_whole(answers: Answers) -> None:
    with pytest.raises(TransportError) as failed:
        delivered(answers.start(CHUNKED + b"-1\r\n" + b"x" * 100_000, times=500))
    assert failed.value.failure.is_unknown


@pytest.mark.parametrize(
    ("given", "pause"),
    [
        (b"Fri, 31 Dec 2027 23:59:59 +9999999999999999", 10.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        (b"999999", 86_400.0),
        (b"-5", 10.0),
        (b"soon", 10.0),
        (b"1800", 1800.0),
    ],
)
def test_a_pause_that_cannot_be_meant_is_a_usual_one(answers: Answers, given: bytes, pause: float) -> None:
    server = answers.start(b"HTTP/1.1 429 X\r\nContent-Length: 0\r\nRetry-After: " + given + b"\r\n\r\n")
    account = api_account(server, TransportKind.GRAPH)
    with GraphTransport().session(account, Conditions(30, on_stage=lambda _result: None)) as session:
        session.open(Secret(TOKEN))
        with pytest.raises(TransportError) as failed:
            session.deliver(mail())
    assert (error_code(failed.value.failure), failed.value.failure.retry_after) == ("limit.rate", pause)

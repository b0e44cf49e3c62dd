"""Whatever a server says, at whatever stage.

There is an answer, in bounded time, and nothing of it reaches the terminal unescaped.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpsetup.core.error_codes import ERROR_CODES
from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, Security, Server
from smtpsetup.diagnosis.diagnose import diagnose
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.setup.test_account import run_test
from smtpsetup.smtp.session import Session
from tests.conftest import account_at, context_of
from tests.faults.test_servers import READY, TO_DATA, TO_DOT, TO_LOGIN, TO_MAIL, TO_RCPT
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.core.errors import SmtpsetupError

SECRET = "hemligt-lösenord"
STAGES: dict[str, tuple[bytes | float | str | None, ...]] = {
    "greeting": (),
    "ehlo": (READY, None),
    "auth": TO_LOGIN,
    "mail": TO_MAIL,
    "rcpt": TO_RCPT,
    "data": TO_DATA,
    "dot": TO_DOT,
}
FAULTS: dict[str, tuple[bytes | float | str | None, ...]] = {
    "drop": ("drop",),
    "temporary": (b"451 4.3.0 not now\r\n",),
    "permanent": (b"554 5.3.0 no\r\n",),
    "closing": (b"421 4.3.2 closing\r\n", "drop"),
    "garbage": (b"\x00\xff\xfe\x1b]0;pwn\x07 what?\r\n",),
    "endless line": (b"250 " + b"x" * 100_000,),
    "endless reply": (b"250-more\r\n" * 20_000,),
    "half a reply": (b"25", "drop"),
    "code out of range": (b"799 odd\r\n",),
    "escapes": (b"550 5.7.1 \x1b[31mred\x1b]0;t\x07 \xc2\x9b31m \xe2\x80\xae moc\r\n",),
}


def assert_sound(error: SmtpsetupError) -> None:
    assert error.code in ERROR_CODES
    assert error.hints
    reply = error.failure.reply if error.failure else None
    for text in (error.message, *error.causes, *error.hints, *(reply.lines if reply else ())):
        assert text.isprintable(), text
        assert SECRET not in text


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_any_fault_at_any_stage_ends_soon_with_an_error_code(
    stage: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtpsetup.setup.second_look.SECONDS", 0.5)
    with ScriptedServer((*STAGES[stage], *FAULTS[fault], "drop")) as server:
        started = time.monotonic()
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret(SECRET))
        assert time.monotonic() - started < 10
    assert report.error
    assert_sound(report.error)
    if fault in ("drop", "half a reply") and stage == "dot":
        assert report.error.code == "data.lost-before-reply"
    if fault == "temporary":
        assert report.error.exit_code == 75


@contextlib.contextmanager
def one_answer(stage: str, data: bytes) -> Iterator[int]:
    """A port whose server is in order until the stage, and then sends those bytes and is gone."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _peer = listener.accept()
            with client:
                lines = client.makefile("rb")
                for step in STAGES[stage]:
                    if isinstance(step, bytes):
                        client.sendall(step)
                    elif step is None:
                        lines.readline()
                    elif step == "message":
                        while lines.readline() not in (b".\r\n", b""):
                            pass
                client.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


REPLIES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda code, rest: f"{code} {rest}\r\n".encode("utf-8", "surrogatepass"),
        st.integers(0, 999),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=120),
    ),
    st.lists(
        st.from_regex(rb"[2-5][0-9][0-9][ -][245]\.[0-9]\.[0-9]{1,3} [ -~]{0,60}\r\n", fullmatch=True),
        min_size=1,
        max_size=4,
    ).map(b"".join),
)


@pytest.mark.matrix
@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=REPLIES)
def test_any_bytes_at_any_stage_lead_to_a_diagnosis(stage: str, data: bytes) -> None:
    with one_answer(stage, data) as port:
        server = Server("127.0.0.1", port, Security.NONE)
        session = Session(server, ehlo_name="example.com", deadline=Deadline(5), policy=tls.policy())
        try:
            with session:
                session.connect()
                session.log_in("info@example.com", Secret(SECRET))
                session.deliver(
                    Delivery(
                        Envelope("info@example.com", ("info@example.com",)), from_bytes(b"Subject: x\r\n\r\nx\r\n")
                    )
                )
        except TransportError as failed:
            assert_sound(diagnose(failed.failure, account_at(port, Security.NONE)))

"""Whatever a server sends at whatever stage leads to an error code within a deadline, and is shown escaped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, Security, Server
from smtpsetup.diagnosis.diagnose import diagnose
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.setup.test_account import run_test
from smtpsetup.smtp.session import Session
from tests.conftest import account_at, context_of
from tests.faults.scripts import READY, SECRET, TO_DATA, TO_DOT, TO_LOGIN, TO_MAIL, TO_RCPT, Script
from tests.messages import from_bytes
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from smtpsetup.core.errors import SmtpsetupError

STAGES: dict[str, Script] = {
    "greeting": (),
    "ehlo": (READY, None),
    "auth": TO_LOGIN,
    "mail": TO_MAIL,
    "rcpt": TO_RCPT,
    "data": TO_DATA,
    "dot": TO_DOT,
}
FAULTS: dict[str, Script] = {
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


def assert_explained(error: SmtpsetupError) -> None:
    assert error.code in EXIT_CODES
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
    assert_explained(report.error)
    if fault in ("drop", "half a reply") and stage == "dot":
        assert report.error.code == "data.lost-before-reply"
    if fault == "temporary":
        assert report.error.exit_code == 75


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


@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=REPLIES)
def test_any_bytes_at_any_stage_lead_to_a_diagnosis(stage: str, data: bytes) -> None:
    with ScriptedServer((*STAGES[stage], data, "drop")) as scripted:
        server = Server("127.0.0.1", scripted.port, Security.NONE)
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
            assert_explained(diagnose(failed.failure, account_at(scripted.port, Security.NONE)))

"""Both transports report the same of the same server; smtplib is used only where the test command asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Auth, Secret, Security, Stage, StageStatus
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sandbox.server import Sandbox
from smtpsetup.sending.transports.python_smtplib import SmtplibTransport
from smtpsetup.sending.transports.smtp import SmtpTransport
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.mail_server import MailServer
from tests.messages import from_bytes
from tests.servers import ScriptedServer, closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpsetup.sandbox.server import SandboxFacts
    from smtpsetup.sending.transport import Transport
    from tests.conftest import Home

PASSWORD = "plain-ascii-1234"
BOTH = pytest.mark.parametrize("transport", [SmtpTransport(), SmtplibTransport()], ids=["smtp", "smtplib"])


@pytest.fixture
def _sandbox(tmp_path: Path) -> Iterator[tuple[Sandbox, SandboxFacts]]:
    """A sandbox with a password that smtplib can send."""
    (tmp_path / "sandbox").mkdir()
    running = Sandbox(tmp_path / "sandbox", password=PASSWORD)
    with running as facts:
        yield running, facts


def mail(subject: str, *recipients: str) -> Delivery:
    content = f"Subject: {subject}\r\n\r\n.a line with a dot\r\n".encode()
    return Delivery(
        Envelope("info@example.com", recipients or ("kund@example.com",)), from_bytes(content), subject=subject
    )


@BOTH
@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
def test_a_test_mail_arrives_and_its_stages_are_reported(
    facts: SandboxFacts, sandbox: Sandbox, transport: Transport, security: Security
) -> None:
    port = facts.tls_port if security is Security.TLS else facts.starttls_port
    account = account_at(port, security, ca_file=facts.ca_file)
    report = run_test(context_of(account, transport=transport), Secret(PASSWORD))
    assert report.error is None
    assert [result.stage for result in report.stages] == list(transport.planned_stages(account, login_only=False))
    assert {result.status for result in report.stages} == {StageStatus.OK}
    assert {"AUTH", "SIZE"} <= set(report.capabilities)
    assert report.tls is not None
    assert report.tls.version.startswith("TLSv1.")
    (caught,) = sandbox.mails
    assert caught.recipients == ("info@example.com",)


@BOTH
def test_the_same_refusal_is_the_same_error(transport: Transport) -> None:
    for verb, reply, code in (
        ("AUTH", b"535 5.7.8 no\r\n", "auth.bad-credentials"),
        ("MAIL", b"550 5.7.60 not allowed to send as this sender\r\n", "mail.sender-not-allowed"),
        ("RCPT", b"550 5.1.1 no such user\r\n", "rcpt.unknown"),
        (".", b"554 5.7.1 looks like spam\r\n", "data.content-rejected"),
        (".", b"", "data.lost-before-reply"),
    ):
        with MailServer(lambda turn, verb=verb, reply=reply: reply if turn.verb == verb else None) as server:  # type: ignore[misc]
            account = account_at(server.port, Security.NONE)
            report = run_test(context_of(account, transport=transport), Secret(PASSWORD))
        assert report.error is not None
        assert report.error.code == code, verb
        assert report.stages[-1].stage is Stage.QUIT


@BOTH
def test_a_failed_connection_is_reported_at_its_stage(transport: Transport) -> None:
    with closed_port() as port:
        report = run_test(context_of(account_at(port, Security.NONE), transport=transport), Secret(PASSWORD))
    assert report.error is not None
    assert (report.error.code, report.error.stage) == ("connect.refused", Stage.CONNECT)
    with ScriptedServer([b"554 5.3.2 go away\r\n", "drop"]) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE), transport=transport), Secret(PASSWORD))
    assert report.error is not None
    assert report.error.stage == Stage.GREETING


@BOTH
def test_what_is_no_mail_server_is_shown_as_it_answers(transport: Transport) -> None:
    with ScriptedServer((b"HTTP/1.1 400 Bad Request\r\n\r\n", "drop")) as server:
        account = account_at(server.port, Security.NONE)
        report = run_test(context_of(account, transport=transport), Secret(PASSWORD))
    assert report.error
    assert report.error.failure
    assert (report.error.code, report.error.exit_code) == ("greeting.not-smtp", 76)
    assert report.error.failure.detail == "HTTP/1.1 400 Bad Request"


@BOTH
def test_many_mails_use_one_session_and_a_refusal_affects_one_mail(transport: Transport) -> None:
    with MailServer(lambda turn: b"550 5.1.1 unknown\r\n" if "bad@" in turn.line else None) as server:
        account = account_at(server.port, Security.NONE, auth=Auth.NONE)
        with context_of(account, transport=transport).session(10) as session:
            session.open(None)
            mails = iter([mail("a"), mail("b", "bad@x.se"), mail("c", "bad@x.se", "good@x.se"), mail("d")])
            a, b, c, d = session.deliver_all(mails, lockstep=True)
        assert isinstance(b, TransportError)
        assert not isinstance(a, TransportError)
        assert not isinstance(d, TransportError)
        assert not isinstance(c, TransportError)
        assert (c.accepted, [entry.address for entry in c.refused]) == (("good@x.se",), ["bad@x.se"])
    assert server.subjects == ["a", "c", "d"]
    assert server.connections == 1
    assert all(b"\r\n.a line with a dot\r\n" in one.content for one in server.mails)


@BOTH
def test_no_password_is_sent_over_an_unencrypted_connection(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.getpeername", lambda _self: ("192.0.2.1", 25))
    with MailServer() as server:
        report = run_test(context_of(account_at(server.port, Security.NONE), transport=transport), Secret(PASSWORD))
        assert not [line for line in server.lines if line.startswith("AUTH")]
    assert report.error is not None
    assert report.error.stage == Stage.AUTH


def test_smtplib_logs_in_once_whatever_the_server_offers() -> None:
    with MailServer(lambda turn: b"535 5.7.8 no\r\n" if turn.verb == "AUTH" else None) as server:
        run_test(context_of(account_at(server.port, Security.NONE), transport=SmtplibTransport()), Secret(PASSWORD))
        assert len([line for line in server.lines if line.startswith("AUTH")]) == 1


def test_smtplib_is_used_only_by_the_test_command_with_its_option(
    home: Home, facts: SandboxFacts, sandbox: Sandbox
) -> None:
    assert home.configure(facts, password=PASSWORD).code == 0
    shown = home.run("test", "--transport", "smtplib", "-v")
    assert shown.code == 0, shown.err
    assert "connect" in shown.out.lower()
    document = home.run("test", "--transport", "smtplib", "--json").json
    stages = " ".join(stage["stage"] for stage in document["result"]["stages"])
    assert stages == "connect ehlo auth mail rcpt data quit"
    assert len(sandbox.mails) == 2
    verbose = home.run("test", "--transport", "smtplib", "-v").err
    assert "> ehlo" in verbose
    assert PASSWORD not in verbose
    assert home.run("send", "a@example.com", "--body", "x", "--transport", "smtplib").code == 2


def test_a_password_that_smtplib_cannot_send_is_an_error() -> None:
    with MailServer() as server, pytest.raises(SmtpsetupError) as caught:
        run_test(context_of(account_at(server.port, Security.NONE), transport=SmtplibTransport()), Secret("lösen-€"))
    assert caught.value.code == "config.invalid"
    assert "ASCII" in caught.value.message
    assert not [line for line in server.lines if line.startswith("AUTH")]

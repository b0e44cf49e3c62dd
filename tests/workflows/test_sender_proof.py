"""A login that works proves nothing of the sender: `configure` and `test --login-only` ask the server for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Secret, Security, Stage, StageStatus
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.mail_server import MailServer
from tests.workflows.conftest import plaintext_at

if TYPE_CHECKING:
    from smtpsetup.setup.test_account import AccountTestReport
    from tests.conftest import Home
    from tests.postfix import Postfix


def proved(verb: str, reply: bytes) -> tuple[AccountTestReport, list[str]]:
    """The report of a login at a server that answers a command so, and the commands that it got."""
    with MailServer(lambda turn: reply if turn.verb == verb else None) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret("lösen"), login_only=True)
        return report, [line.split(" ")[0].upper() for line in server.lines]


def test_mail_rcpt_and_rset_are_asked_and_no_mail_is_sent() -> None:
    report, verbs = proved("", b"")
    assert report.error is None
    assert verbs[-4:] == ["MAIL", "RCPT", "RSET", "QUIT"]
    assert [result.stage for result in report.stages][-3:] == [Stage.MAIL, Stage.RCPT, Stage.QUIT]


@pytest.mark.parametrize(
    ("verb", "reply", "code"),
    [
        ("MAIL", b"550 5.7.60 not allowed to send as this sender\r\n", "mail.sender-not-allowed"),
        ("MAIL", b"553 5.7.1 Sender address rejected: not owned by user\r\n", "mail.sender-not-allowed"),
        (
            "RCPT",
            b"553 5.7.1 Sender address rejected: not owned by user\r\n",
            "mail.sender-not-allowed",
        ),
        ("MAIL", b"550 5.7.1 Sender domain is not verified\r\n", "mail.sender-unverified"),
        ("MAIL", b"530 5.7.0 Authentication required\r\n", "auth.required"),
        ("RCPT", b"554 5.7.1 Relay access denied\r\n", "rcpt.relay-denied"),
    ],
)
def test_a_sender_that_is_refused_is_found_before_the_first_mail(verb: str, reply: bytes, code: str) -> None:
    report, verbs = proved(verb, reply)
    assert report.error
    assert report.error.code == code
    assert "DATA" not in verbs


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("RCPT", b"550 5.1.1 no such user here\r\n"),
        ("RCPT", b"450 4.7.1 Greylisted\r\n"),
        ("RCPT", b"452 4.2.2 The mailbox is full\r\n"),
        ("MAIL", b"451 4.3.0 try again later\r\n"),
    ],
)
def test_what_is_no_fault_of_the_sender_is_a_warning(verb: str, reply: bytes) -> None:
    report, _verbs = proved(verb, reply)
    assert report.error is None
    stage = Stage.MAIL if verb == "MAIL" else Stage.RCPT
    assert [result.status for result in report.stages if result.stage is stage] == [StageStatus.WARNING]


def test_configure_saves_nothing_that_cannot_send(home: Home) -> None:
    def answer(turn: object) -> bytes | None:
        return b"553 5.7.1 Sender address rejected\r\n" if getattr(turn, "verb", "") == "MAIL" else None

    with MailServer(answer) as server:
        options = (*plaintext_at(server.port), "--auth", "none")
        done = home.run("configure", "info@example.com", *options, "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "mail.sender-not-allowed")
    assert not home.config.exists()


def test_a_real_server_refuses_a_sender_that_the_login_does_not_own(home: Home, postfix: Postfix) -> None:
    from tests.postfix import POSTFIX_PASSWORD

    password = home.file("password", POSTFIX_PASSWORD + "\n")
    common = (
        "--host", "localhost", "--port", str(postfix.tls_port), "--security", "tls", "--ca-file", postfix.ca_file,
        "--password-file", str(password), "--from-name", "", "--username", "info@example.test", "--json",
    )  # fmt: skip
    done = home.run("configure", "someone@example.test", *common)
    assert (done.code, done.json["error"]["code"]) == (77, "mail.sender-not-allowed")
    assert home.run("configure", "info@example.test", *common).code == 0

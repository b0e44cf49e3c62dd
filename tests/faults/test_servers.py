"""Servers that misbehave: each ends in its own code, in bounded time, its words escaped."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from smtpsetup.core.model import Secret, Security
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.servers import ScriptedServer, closed_port

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.setup.test_account import AccountTestReport

READY = b"220 mail.example.com ESMTP\r\n"
EHLO = b"250-mail.example.com\r\n250-SIZE 1000000\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
SECRET = "hemligt-lösenord"
TO_LOGIN = (READY, None, EHLO, None)
TO_MAIL = (*TO_LOGIN, b"235 2.7.0 ok\r\n", None)
TO_RCPT = (*TO_MAIL, b"250 ok\r\n", None)
TO_DATA = (*TO_RCPT, b"250 ok\r\n", None)
TO_DOT = (*TO_DATA, b"354 go\r\n", "message")


def checked(script: tuple[bytes | float | str | None, ...], security: Security = Security.NONE) -> AccountTestReport:
    """A check of a server on loopback, where a connection without TLS is allowed."""
    with ScriptedServer(script) as server:
        started = time.monotonic()
        report = run_test(context_of(account_at(server.port, security)), Secret(SECRET))
        assert time.monotonic() - started < 60
    for result in report.stages:
        assert SECRET not in result.detail + str(result.reply)
        assert str(result.reply).replace("\n", "").isprintable()
        assert result.detail.isprintable()
    return report


@pytest.mark.parametrize(
    ("script", "code", "exit_code"),
    [
        ((b"554 no service\r\n",), "greeting.rejected", 69),
        ((b"421 busy\r\n",), "server.temporary", 75),
        (("drop",), "connection.lost", 75),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "drop"), "greeting.not-smtp", 76),
        ((b"SSH-2.0-OpenSSH_9.9\r\n",), "greeting.not-smtp", 76),
        ((b"* OK IMAP4rev1 ready\r\n",), "greeting.not-smtp", 76),
        ((b"220-half a gree", "drop"), "greeting.not-smtp", 76),
        ((b"\x00\xff\xfe\x80" * 100 + b"\n",), "greeting.not-smtp", 76),
        ((b"x" * 100_000,), "greeting.not-smtp", 76),
        ((b"220-" + b"y" * 100 + b"\r\n") and (b"220-more\r\n" * 20_000,), "greeting.not-smtp", 76),
        ((b"\x15\x03\x01\x00\x02\x02\x46", "drop"), "tls.expected", 69),
        ((b"999 odd\r\n",), "greeting.not-smtp", 76),
        ((b"99 odd\r\n",), "greeting.not-smtp", 76),
        ((READY, None, b"504 5.5.2 need fully-qualified hostname\r\n"), "ehlo.name-rejected", 69),
        ((READY, None, "drop"), "connection.lost", 75),
        ((READY, None, b"250-x\r\n" * 20_000), "server.protocol-error", 76),
        ((READY, None, b"250 mail.example.com\r\n"), "auth.not-offered", 69),
        ((READY, None, b"250-x\r\n250 AUTH GSSAPI NTLM\r\n"), "auth.no-common-mechanism", 69),
        ((*TO_LOGIN, b"535 5.7.8 bad\r\n"), "auth.bad-credentials", 77),
        ((*TO_LOGIN, b"535 5.7.8 bad hemligt-l\xc3\xb6senord\r\n"), "auth.bad-credentials", 77),
        ((*TO_LOGIN, b"454 4.7.0 later\r\n"), "auth.temporary", 75),
        ((*TO_LOGIN, b"334 \r\n"), "server.protocol-error", 76),
        ((*TO_LOGIN, b"nonsense\r\n"), "server.protocol-error", 76),
        ((*TO_LOGIN, "drop"), "connection.lost", 75),
        (
            (READY, None, b"250-x\r\n250 AUTH LOGIN\r\n", None, b"334 VXNlcm5hbWU6\r\n", None, b"535 no such user\r\n"),
            "auth.bad-credentials",
            77,
        ),
        ((READY, None, b"250-x\r\n250 AUTH CRAM-MD5\r\n", None, b"334 not base64!\r\n"), "server.protocol-error", 76),
        ((*TO_MAIL, b"550 5.7.60 not allowed to send as this sender\r\n"), "mail.sender-not-allowed", 77),
        ((*TO_MAIL, b"451 4.3.0 later\r\n"), "server.temporary", 75),
        ((*TO_RCPT, b"550 5.1.1 unknown\r\n"), "rcpt.unknown", 67),
        ((*TO_RCPT, b"450 4.7.1 greylisted\r\n"), "rcpt.greylisted", 75),
        ((*TO_RCPT, "drop"), "connection.lost", 75),
        ((*TO_DATA, b"554 5.7.1 spam\r\n"), "data.content-rejected", 69),
        ((*TO_DOT, b"554 5.7.1 spam\r\n"), "data.content-rejected", 69),
        ((*TO_DOT, b"552 5.3.4 too big\r\n"), "data.too-large", 69),
        ((*TO_DOT, "drop"), "data.lost-before-reply", 75),
        ((*TO_DOT, b"25"), "data.lost-before-reply", 75),
    ],
)
def test_each_fault_has_its_own_error_code(
    script: tuple[bytes | float | str | None, ...], code: str, exit_code: int
) -> None:
    report = checked((*script, "drop"))
    assert report.error
    assert (report.error.code, report.error.exit_code) == (code, exit_code)


@pytest.mark.parametrize("end", [(b"221 bye\r\n",), ("drop",), (b"500 what\r\n",), (b"\xff\xff\n",)])
def test_a_failed_quit_after_acceptance_is_a_success(end: tuple[bytes | str, ...]) -> None:
    report = checked((*TO_DOT, b"250 2.0.0 queued\r\n", None, *end))
    assert report.error is None
    assert report.message_id


@pytest.mark.slow
def test_the_password_is_sent_once_and_masked_where_the_server_repeats_it() -> None:
    lines: list[str] = []
    with ScriptedServer(
        (*TO_LOGIN, b"535 your password hemligt-l\xc3\xb6senord is wrong \x1b[31m\x07\r\n", None)
    ) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE), trace=lines.append), Secret(SECRET))
        sent = [line for line in server.received if line.startswith(b"AUTH")]
    assert len(sent) == 1
    assert report.error
    assert report.error.failure
    assert report.error.failure.reply
    assert report.error.failure.reply.text == "your password *** is wrong \\x1b[31m\\x07"
    assert not any(SECRET in line or "\x1b" in line for line in lines)
    assert "> AUTH PLAIN ***" in lines


@pytest.mark.slow
def test_a_dripping_server_cannot_extend_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.setup.test_account.DEADLINE_SECONDS", 3.0)
    drip: list[bytes | float | str | None] = [READY, None]
    for _ in range(100):
        drip += [b"2", 0.2]
    started = time.monotonic()
    report = checked(tuple(drip))
    assert report.error
    assert report.error.code == "connection.lost"
    assert time.monotonic() - started < 6


@pytest.mark.slow
def test_no_login_after_a_missing_refused_or_injected_starttls() -> None:
    offered = b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
    for script, code in (
        ((READY, None, b"250-x\r\n250 AUTH PLAIN\r\n", None), "starttls.not-offered"),
        ((READY, None, offered, None, b"454 TLS not available\r\n", None), "starttls.refused"),
        ((READY, None, offered, None, b"220 go\r\n250 injected\r\n", None), "starttls.injection"),
        ((READY, None, offered, None, b"220 go\r\n", "drop"), "tls.handshake-failed"),
    ):
        with ScriptedServer(script) as server:
            report = run_test(context_of(account_at(server.port, Security.STARTTLS)), Secret(SECRET))
            received = b"".join(server.received)
        assert report.error
        assert report.error.code == code
        assert b"AUTH" not in received
        assert b"MAIL" not in received


@pytest.mark.slow
def test_a_port_with_implicit_tls_is_distinguished_from_a_silent_one() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedServer((READY,), context) as server:
        report = run_test(context_of(account_at(server.port, Security.STARTTLS)), Secret(SECRET))
    assert report.error
    assert report.error.code == "tls.expected"
    assert "--security tls" in report.error.hints[0]


@pytest.mark.slow
def test_a_silent_server_is_a_greeting_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.setup.test_account.DEADLINE_SECONDS", 6.0)
    monkeypatch.setattr("smtpsetup.smtp.session._SILENCE_SECONDS", 1.0)
    report = checked((60.0,), Security.STARTTLS)
    assert report.error
    assert (report.error.code, report.error.exit_code) == ("greeting.timeout", 75)


@pytest.mark.slow
def test_a_server_that_greets_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.smtp.session._SILENCE_SECONDS", 0.5)
    report = checked((1.5, *TO_DOT, b"250 ok\r\n", None, b"221 bye\r\n"))
    assert report.error is None


@pytest.mark.slow
def test_a_plaintext_port_is_distinguished_from_one_with_implicit_tls() -> None:
    with ScriptedServer((READY, 1.0)) as server:
        report = run_test(context_of(account_at(server.port, Security.TLS)), Secret(SECRET))
    assert report.error
    assert report.error.code == "tls.not-spoken"
    assert "--security starttls" in report.error.hints[0]


def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with closed_port() as port:
        report = run_test(context_of(account_at(port)), Secret(SECRET))
    assert report.error
    assert (report.error.code, report.error.exit_code) == ("connect.refused", 75)


def test_a_nonexistent_host_is_reported() -> None:
    account = account_at(465)
    from smtpsetup.core.model import Server

    report = run_test(
        context_of(account._replace(server=Server("no-such-host.invalid", 465, Security.TLS))), Secret(SECRET)
    )
    assert report.error
    assert report.error.code in {"dns.not-found", "dns.temporary"}  # a machine without any network cannot know


def test_a_message_larger_than_the_server_takes_is_not_sent(tmp_path: Path) -> None:
    small = EHLO.replace(b"1000000", b"10")
    with ScriptedServer((READY, None, small, None, b"235 ok\r\n", None, b"221 bye\r\n")) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret(SECRET))
        received = b"".join(server.received)
    assert report.error
    assert report.error.code == "data.too-large"
    assert b"MAIL" not in received

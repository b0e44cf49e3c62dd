"""Servers that misbehave: each fault has its own error code, within a deadline, and replies are shown escaped."""

from __future__ import annotations

import datetime
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smtpsetup.core.model import Secret, Security
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.send_one import send
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.faults.scripts import EHLO, READY, SECRET, TO_DATA, TO_DOT, TO_LOGIN, TO_MAIL, TO_RCPT, Script, checked
from tests.messages import from_bytes
from tests.recording import plain_account
from tests.servers import ScriptedServer, closed_port, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home


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
        ((b"220-more\r\n" * 20_000,), "greeting.not-smtp", 76),
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
def test_each_fault_has_its_own_error_code(script: Script, code: str, exit_code: int) -> None:
    report = checked((*script, "drop"))
    assert report.error
    assert (report.error.code, report.error.exit_code) == (code, exit_code)


@pytest.mark.parametrize("end", [(b"221 bye\r\n",), ("drop",), (b"500 what\r\n",), (b"\xff\xff\n",)])
def test_a_failed_quit_after_acceptance_is_a_success(end: tuple[bytes | str, ...]) -> None:
    report = checked((*TO_DOT, b"250 2.0.0 queued\r\n", None, *end))
    assert report.error is None
    assert report.message_id
    assert "Error" not in report.stages[-1].detail  # a sentence, not the name of an exception


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


def test_a_port_with_implicit_tls_is_distinguished_from_a_silent_one() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedServer((READY,), context) as server:
        report = run_test(context_of(account_at(server.port, Security.STARTTLS)), Secret(SECRET))
    assert report.error
    assert report.error.code == "tls.expected"
    assert "--security tls" in report.error.hints[0]


def test_a_silent_server_is_a_greeting_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.setup.test_account.DEADLINE_SECONDS", 6.0)
    monkeypatch.setattr("smtpsetup.smtp.session._SILENCE_SECONDS", 1.0)
    report = checked((60.0,), Security.STARTTLS)
    assert report.error
    assert (report.error.code, report.error.exit_code) == ("greeting.timeout", 75)


def test_a_server_that_greets_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.smtp.session._SILENCE_SECONDS", 0.5)
    report = checked((1.5, *TO_DOT, b"250 ok\r\n", None, b"221 bye\r\n"))
    assert report.error is None


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


@pytest.mark.parametrize("size", ["9" * 5000, "\u00b2", "-1", "", "abc"])
def test_an_invalid_size_is_no_limit(size: str) -> None:
    ehlo = EHLO.replace(b"1000000", size.encode("latin-1"))
    assert checked((READY, None, ehlo, *TO_DOT[3:], b"250 ok\r\n", None, b"221 bye\r\n")).error is None


def test_an_unexpected_challenge_is_cancelled() -> None:
    with ScriptedServer((*TO_LOGIN, b"334 more\r\n", None, b"501 stopped\r\n", None, b"221 bye\r\n")) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret("x"))
        wait_for(lambda: server.received.count(b"*\r\n") == 1)
    assert report.error
    assert (report.error.code, report.error.causes) == ("server.protocol-error", ("What it said was: 334 more",))


def test_a_421_to_rcpt_is_diagnosed_by_its_text() -> None:
    report = checked((*TO_RCPT, b"421 4.7.0 Too many messages, slow down\r\n", "drop"))
    assert report.error
    assert report.error.code == "limit.rate"
    assert report.error.failure
    assert report.error.failure.reply


def test_refused_recipients_are_reported_when_data_is_refused_too() -> None:
    script = (*TO_RCPT, b"550 5.1.1 unknown\r\n", None, b"250 ok\r\n", None, b"451 later\r\n", None, b"221 bye\r\n")
    with ScriptedServer(script) as server:
        delivery = Delivery(Envelope("i@x.se", ("a@x.se", "b@x.se")), from_bytes(b"A: b\r\n\r\n"), "<1@x>")
        result = send(context_of(account_at(server.port, Security.NONE)), Secret("x"), delivery)
    assert result.error
    assert result.error.exit_code == 75
    assert [entry.address for entry in result.refused] == ["a@x.se"]


def certificate_with_a_common_name_only(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_with_its_name_in_the_common_name_alone_is_refused(home: Home, tmp_path: Path) -> None:
    file = certificate_with_a_common_name_only(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with ScriptedServer((READY,), context) as server:
        plain_account(home, server.port, host='"localhost"', security='"tls"', ca_file=f'"{file}"')
        run = home.run("send", "kund@example.com", "--body", "x", "--json")
    assert run.json["error"]["code"] == "tls.hostname-mismatch"

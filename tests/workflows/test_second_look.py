"""After a failure the second look finds the cause without a second login, and offers a port that works."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.failure import CertificateFacts, Evidence, Failure, Kind
from smtpsetup.core.model import Secret, Security, Server, Stage
from smtpsetup.diagnosis.diagnose import diagnose
from smtpsetup.diagnosis.rehearsal import Act, Certificate, Fault
from smtpsetup.sandbox.fault_server import FaultServer
from smtpsetup.sandbox.faults import FAULTS
from smtpsetup.setup.second_look import clock_offset
from smtpsetup.setup.test_account import run_test
from tests.conftest import PASSWORD, account_at, context_of
from tests.person import Person, ended, saved
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import SandboxFacts
    from smtpsetup.setup.test_account import AccountTestReport
    from tests.conftest import Home

ROW = """
[[provider]]
id = "testmail"
name = "Testmail"
domains = ["example.com"]
mx_suffixes = []
status = "ok"
auth = ["password"]
docs_url = "https://example.com/help"
confidence = "high"
sources = [{{ at = "https://example.com/help", date = 2026-11-24 }}]
username = {{ form = "address" }}

[[provider.servers]]
host = "localhost"
port = {facts.tls_port}
security = "tls"

[[provider.servers]]
host = "localhost"
port = {facts.starttls_port}
security = "starttls"
"""
TLS_PORT_REFUSES = Fault(Stage.CONNECT, Act.REFUSE_CONNECTIONS, only_tls_port=True)


def options_at(home: Home, facts: SandboxFacts) -> tuple[str, ...]:
    """The arguments of `configure` for an account of a provider that has both ports of this server."""
    home.file(".config/smtpsetup/providers.toml", ROW.format(facts=facts))
    password = home.file("password", PASSWORD)
    return (
        "configure",
        "info@example.com",
        "--ca-file",
        facts.ca_file,
        "--password-file",
        str(password),
        "--from-name",
        "",
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net.connection._CONNECT_SECONDS", "smtp.session._GREETING_SECONDS", "smtp.session._SILENCE_SECONDS"):
        monkeypatch.setattr(f"smtpsetup.{name}", 1.0)


def report_of(fault: Fault, directory: Path, ports: tuple[int, int]) -> AccountTestReport:
    with FaultServer(directory, fault, ports=ports) as facts:
        return run_test(context_of(account_at(facts.tls_port, ca_file=facts.ca_file)), Secret("lösen"))


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (Act.REFUSE_CONNECTIONS, "connect.refused"),
        (Act.CLOG, "connect.port-blocked"),
        (Act.BREAK_HANDSHAKE, "tls.handshake-failed"),
    ],
)
def test_another_port_that_works_is_found_and_offered_with_its_command(
    act: Act, code: str, tmp_path: Path, usual_ports: tuple[int, int]
) -> None:
    report = report_of(Fault(Stage.CONNECT, act, only_tls_port=True), tmp_path, usual_ports)
    assert report.error
    assert report.error.code == code
    assert report.alternative == Server("localhost", usual_ports[1], Security.STARTTLS)
    assert f"--host localhost --port {usual_ports[1]} --security starttls" in report.error.hints[0]


def test_a_plaintext_port_is_offered_with_starttls(tmp_path: Path, usual_ports: tuple[int, int]) -> None:
    report = report_of(FAULTS["tls.not-spoken"], tmp_path, usual_ports)
    assert report.alternative == Server("localhost", usual_ports[0], Security.STARTTLS)


def test_nothing_is_offered_where_nothing_works(tmp_path: Path, usual_ports: tuple[int, int]) -> None:
    report = report_of(Fault(Stage.CONNECT, Act.REFUSE_CONNECTIONS), tmp_path, usual_ports)
    assert report.alternative is None


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (Certificate.SELF_SIGNED, "signed its certificate itself"),
        (Certificate.OWN_CHAIN, "Somebody Else: an antivirus program"),
        (Certificate.UNKNOWN_AUTHORITY, "Somebody Else: the server leaves out"),
        (Certificate.OTHER_NAME, "made out to server7.web-host.example"),
        (Certificate.EXPIRED, "The certificate expired on"),
    ],
)
def test_a_refused_certificate_is_explained(
    certificate: Certificate, words: str, tmp_path: Path, usual_ports: tuple[int, int]
) -> None:
    report = report_of(Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=certificate), tmp_path, usual_ports)
    assert report.error
    assert words in report.error.causes[0]


def test_a_login_is_never_tried_twice() -> None:
    script = (b"220 x\r\n", None, b"250-x\r\n250 AUTH PLAIN\r\n", None, b"535 5.7.8 no\r\n", None)
    with ScriptedServer(script) as server:
        report = run_test(context_of(account_at(server.port, Security.NONE)), Secret("lösen"))
        assert report.error
        assert server.connections == 1


def test_the_second_look_ends_in_time(
    tmp_path: Path, usual_ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtpsetup.setup.second_look.SECONDS", 1.0)
    started = time.monotonic()
    report = report_of(Fault(Stage.CONNECT, Act.CLOG), tmp_path, usual_ports)
    assert time.monotonic() - started < 5
    assert report.error


@pytest.mark.parametrize(("difference", "word"), [(5 * 3600, "fast"), (-26 * 3600, "slow"), (60, "")])
def test_a_wrong_clock_is_the_first_cause_of_an_expired_certificate(difference: float, word: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    facts = CertificateFacts(
        ("localhost",), "X", now - datetime.timedelta(days=9), now - datetime.timedelta(days=1), is_self_signed=False
    )
    failure = Failure(Stage.TLS, Kind.CERTIFICATE_EXPIRED, Server("localhost", 465, Security.TLS))
    server_time = now - datetime.timedelta(seconds=difference)
    greeting = f"mail.example.com ESMTP Exim 4.98 {server_time:%a, %d %b %Y %H:%M:%S +0000}"
    evidence = Evidence(certificate=facts, greeting=greeting, clock_ahead_seconds=clock_offset(greeting))
    cause = diagnose(failure, account_at(465), evidence=evidence).causes[0]
    assert f"hours {word}." in cause if word else "clock" not in cause


@pytest.mark.parametrize(
    "greeting", ["mail.example.com", "Tue, 99 Foo 2026 25:61:61 +9999", "Tue, 31 Feb 2026 10:00:00 +0000", ""]
)
def test_a_greeting_without_a_valid_time_is_ignored(greeting: str) -> None:
    assert clock_offset(greeting) is None


def test_an_unreachable_web_is_reported_as_perhaps_offline() -> None:
    failure = Failure(Stage.CONNECT, Kind.TIMEOUT, Server("smtp.example.com", 465, Security.TLS))
    error = diagnose(failure, account_at(465), evidence=Evidence(web_is_reachable=False))
    assert error.code == "connect.timeout"
    assert "offline" in error.causes[0]
    assert diagnose(failure, account_at(465), evidence=Evidence(web_is_reachable=True)).code == "connect.port-blocked"


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_yes_moves_the_account_to_the_working_port(answer: str, person: Person, tmp_path: Path) -> None:
    with FaultServer(tmp_path, TLS_PORT_REFUSES) as facts:
        home = person.home
        assert home.run(*options_at(home, facts), "--no-verify").code == 0
        terminal = person.types("test")
        terminal.expect(f"Use localhost:{facts.starttls_port} STARTTLS from now on")
        terminal.sendline(answer)
        ended(terminal, 75)
        port = facts.starttls_port if answer == "y" else facts.tls_port
        assert home.run("accounts", "show", "--json").json["result"]["port"] == port
        if answer == "y":
            assert home.run("test", "--json").code == 0


def test_the_working_port_is_part_of_the_json(home: Home, tmp_path: Path) -> None:
    with FaultServer(tmp_path, TLS_PORT_REFUSES) as facts:
        assert home.run(*options_at(home, facts), "--no-verify").code == 0
        run = home.run("test", "--json")
    assert run.code == 75
    assert run.json["result"]["working_alternative"] == {
        "host": "localhost",
        "port": facts.starttls_port,
        "security": "starttls",
    }


def test_configure_continues_with_the_working_port_after_a_yes(person: Person, tmp_path: Path) -> None:
    with FaultServer(tmp_path, TLS_PORT_REFUSES) as facts:
        terminal = person.types(*options_at(person.home, facts))
        terminal.expect(f"Go on with localhost:{facts.starttls_port}")
        terminal.sendline("")
        assert "Saved" in saved(terminal)
        assert person.home.run("accounts", "show", "--json").json["result"]["port"] == facts.starttls_port

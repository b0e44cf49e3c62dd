"""TLS is always verified, and each failure has its own error code."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from smtpsetup.core.model import Secret, Security
from smtpsetup.sandbox.server import Sandbox
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.setup.test_account import AccountTestReport

OK = (None, b"250 ok\r\n")
SCRIPT = (b"220 x ESMTP\r\n", None, b"250-x\r\n250 AUTH PLAIN\r\n", None, b"235 ok\r\n", *OK * 3, None, b"221 bye\r\n")
WITHOUT_LOGIN = {b"EHLO example.com", b"QUIT", b""}  # what the second look may send
AUTHORITY = trustme.CA(organization_name="A good authority")


def logged_in(context: ssl.SSLContext, **account: Any) -> tuple[AccountTestReport, bytes]:
    """The report of a login at a server with this certificate, and what the server received."""
    with ScriptedServer(SCRIPT, context) as server:
        report = run_test(context_of(account_at(server.port, **account)), Secret("hemligt"), login_only=True)
        return report, b"".join(server.received)


def context_for(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return str(path)


def fingerprint_of(certificate: trustme.LeafCert) -> str:
    pem = certificate.cert_chain_pems[0].bytes().decode()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_a_certificate_of_a_trusted_authority_is_accepted(ca_file: str) -> None:
    report, received = logged_in(context_for(AUTHORITY.issue_cert("localhost")), ca_file=ca_file)
    assert report.error is None
    assert report.tls
    assert report.tls.version.startswith("TLSv1.")
    assert report.tls.issuer == "A good authority"
    assert report.tls.not_after.endswith("Z")
    assert b"AUTH" in received


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        (AUTHORITY.issue_cert("other.example.com"), "tls.hostname-mismatch"),
        (
            AUTHORITY.issue_cert("localhost", not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
            "tls.certificate-expired",
        ),
        (
            AUTHORITY.issue_cert("localhost", not_before=datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC)),
            "tls.certificate-expired",
        ),
        (trustme.CA().issue_cert("localhost"), "tls.untrusted"),
    ],
)
def test_an_invalid_certificate_stops_the_login(ca_file: str, certificate: trustme.LeafCert, code: str) -> None:
    report, received = logged_in(context_for(certificate), ca_file=ca_file)
    assert report.error
    assert (report.error.code, report.error.exit_code) == (code, 69)
    assert set(received.split(b"\r\n")) <= WITHOUT_LOGIN


def test_without_a_ca_file_only_the_systems_authorities_are_trusted() -> None:
    report, received = logged_in(context_for(AUTHORITY.issue_cert("localhost")))
    assert report.error
    assert report.error.code == "tls.untrusted"
    assert set(received.split(b"\r\n")) <= WITHOUT_LOGIN


def test_ssl_cert_file_names_the_systems_authorities(ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    report, _heard = logged_in(context_for(AUTHORITY.issue_cert("localhost")))
    assert report.error is None


def test_a_pinned_certificate_is_accepted_whoever_signed_it() -> None:
    certificate = trustme.CA().issue_cert("other.example.com")
    report, _heard = logged_in(context_for(certificate), tls_fingerprint=fingerprint_of(certificate))
    assert report.error is None


def test_a_certificate_other_than_the_pinned_one_is_refused_even_if_valid(ca_file: str) -> None:
    other = AUTHORITY.issue_cert("localhost")
    report, received = logged_in(context_for(other), ca_file=ca_file, tls_fingerprint="0" * 64)
    assert report.error
    assert report.error.code == "tls.fingerprint-mismatch"
    assert fingerprint_of(other) in report.error.hints[0]
    assert received == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_before_1_2_is_refused(ca_file: str) -> None:
    context = context_for(AUTHORITY.issue_cert("localhost"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    report, received = logged_in(context, ca_file=ca_file)
    assert report.error
    assert report.error.code == "tls.protocol-too-old"
    assert received == b""


def test_starttls_verifies_the_same_way(ca_file: str, tmp_path: Path) -> None:
    with Sandbox(tmp_path) as facts:
        for trusted, code in ((ca_file, "tls.untrusted"), (facts.ca_file, None)):
            account = account_at(facts.starttls_port, Security.STARTTLS, ca_file=trusted)
            report = run_test(context_of(account), Secret(facts.password), login_only=True)
            assert (report.error and report.error.code) == code

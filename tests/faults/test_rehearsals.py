"""Every fault that the sandbox rehearses is diagnosed by its own error code."""

from __future__ import annotations

import datetime
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.model import Auth, Secret, Security, Stage, TransportKind
from smtpsetup.diagnosis.oauth_explanations import SIGN_IN_EXPLANATIONS
from smtpsetup.diagnosis.rehearsal import Act
from smtpsetup.providers.table import Table
from smtpsetup.sandbox.fault_server import FaultServer
from smtpsetup.sandbox.faults import FAULTS, REHEARSALS, api_fault
from smtpsetup.setup.test_account import run_test
from tests.api_accounts import api_context
from tests.conftest import account_at, context_of

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.config.account import Account
    from smtpsetup.setup.test_account import AccountTestReport

# a sign-in needs its provider; a bug and a failing disk cannot be arranged
NOT_REHEARSED = {
    *SIGN_IN_EXPLANATIONS,
    "auth.client-secret-refused",
    "auth.client-secret-expired",
    "auth.client-certificate-refused",
    "auth.delegation-missing",
    "auth.clock-wrong",
    "internal.bug",
    "outbox.unavailable",
    "outbox.damaged",
    "outbox.schema",
    "relay.exposed",
}


def rehearsed(
    code: str, directory: Path, monkeypatch: pytest.MonkeyPatch, ports: tuple[int, int], **changes: Any
) -> AccountTestReport:
    """Test an account that meets the fault. Returns the report. `ports` are those that the second look tries."""
    fault = FAULTS[code]
    for name in ("net.connection._CONNECT_SECONDS", "smtp.session._GREETING_SECONDS", "smtp.session._SILENCE_SECONDS"):
        monkeypatch.setattr(f"smtpsetup.{name}", 1.0)
    typed = dict(zip(shlex.split(fault.needs)[::2], shlex.split(fault.needs)[1::2], strict=True))
    security = Security(typed.get("--security", "tls"))
    with FaultServer(directory, fault, ports=ports if any(fault.ports) else (0, 0)) as facts:
        port = facts.tls_port if security is Security.TLS else facts.starttls_port
        account = account_at(
            port,
            security,
            ca_file=facts.ca_file,
            tls_fingerprint=typed.get("--tls-fingerprint"),
            auth=Auth(typed.get("--auth", "password")),
            provider=typed.get("--provider", ""),
        )
        if fault.api:
            return run_test(api_context(_api_account(account, fault.api.transport)), Secret("token"), **changes)
        provider = Table(datetime.date(2026, 11, 24)).by_id(account.provider) if account.provider else None
        return run_test(context_of(account), Secret("lösen"), provider=provider, to=typed.get("--to"), **changes)


def _api_account(account: Account, transport: str) -> Account:
    endpoint = f"https://localhost:{account.server.port}"
    token = SecretSource(Store.COMMAND, "echo token")
    return account._replace(auth=Auth.OAUTH2, secret=token, transport=TransportKind(transport), endpoint=endpoint)


def test_every_error_code_can_be_rehearsed() -> None:
    assert set(FAULTS) | set(REHEARSALS) == set(EXIT_CODES) - NOT_REHEARSED
    assert not set(FAULTS) & set(REHEARSALS)


@pytest.mark.parametrize("code", FAULTS)
def test_a_rehearsed_fault_is_reported_by_its_own_code(
    code: str, usual_ports: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = rehearsed(code, tmp_path, monkeypatch, usual_ports)
    assert report.error
    assert report.error.code == code
    is_temporary = FAULTS[code].reply.startswith("4")
    assert report.error.exit_code == (75 if is_temporary else EXIT_CODES[code])
    if FAULTS[code].act is Act.REPLY and FAULTS[code].stage is not Stage.GREETING:
        assert report.error.failure
        assert report.error.failure.stage is FAULTS[code].stage


API_FAULTS = [
    (code, kind)
    for kind in (TransportKind.GRAPH, TransportKind.GMAIL)
    for code in EXIT_CODES
    if api_fault(code, kind) is not None
]


@pytest.mark.parametrize(("code", "kind"), API_FAULTS)
def test_a_fault_over_https_is_reported_by_its_own_code(code: str, kind: TransportKind, tmp_path: Path) -> None:
    fault = api_fault(code, kind)
    assert fault
    with FaultServer(tmp_path, fault) as facts:
        account = _api_account(account_at(facts.tls_port, ca_file=facts.ca_file), kind)
        report = run_test(api_context(account), Secret("token"))
    assert report.error
    assert report.error.code == code

"""Scripts that take an SMTP session up to a stage, and the test of an account at a server that follows one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smtpsetup.core.model import Secret, Security
from smtpsetup.setup.test_account import run_test
from tests.conftest import account_at, context_of
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from smtpsetup.setup.test_account import AccountTestReport

Script = tuple[bytes | float | str | None, ...]

READY = b"220 mail.example.com ESMTP\r\n"
EHLO = b"250-mail.example.com\r\n250-SIZE 1000000\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
SECRET = "hemligt-lösenord"
TO_LOGIN: Script = (READY, None, EHLO, None)
TO_MAIL: Script = (*TO_LOGIN, b"235 2.7.0 ok\r\n", None)
TO_RCPT: Script = (*TO_MAIL, b"250 ok\r\n", None)
TO_DATA: Script = (*TO_RCPT, b"250 ok\r\n", None)
TO_DOT: Script = (*TO_DATA, b"354 go\r\n", "message")


def checked(script: Script, security: Security = Security.NONE) -> AccountTestReport:
    """Test an account at a server that follows the script, on loopback, where no TLS is needed. Returns the report."""
    with ScriptedServer(script) as server:
        started = time.monotonic()
        report = run_test(context_of(account_at(server.port, security)), Secret(SECRET))
        assert time.monotonic() - started < 60
    for result in report.stages:
        assert SECRET not in result.detail + str(result.reply)
        assert str(result.reply).replace("\n", "").isprintable()
        assert result.detail.isprintable()
    return report

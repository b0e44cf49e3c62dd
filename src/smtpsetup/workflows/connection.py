"""From an account to a session with its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup import addresses
from smtpsetup.transport.dial import Deadline
from smtpsetup.transport.session import Session
from smtpsetup.transport.tls import TlsPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.account import Account
    from smtpsetup.transport.session import StageResult


def session_for(
    account: Account,
    *,
    seconds: float,
    on_stage: Callable[[StageResult], None] | None = None,
    trace: Callable[[str], None] | None = None,
) -> Session:
    """A session that is not open yet. It greets with the sender's domain, a name that every server takes (RFC 5321 section 4.1.1.1)."""
    return Session(
        account.server,
        ehlo_name=addresses.parse(account.address).domain,
        deadline=Deadline(seconds),
        policy=TlsPolicy(account.ca_file, account.tls_fingerprint),
        on_stage=on_stage,
        trace=trace,
    )

"""What sending an account's mail depends on: built here by every face, so that none of them has rules of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpsetup.core.model import Auth, Log
from smtpsetup.oauth.access_token import secret_for
from smtpsetup.sending.transport import Conditions
from smtpsetup.sending.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.failure import StageResult
    from smtpsetup.core.model import Secret
    from smtpsetup.providers.table import Provider
    from smtpsetup.sending.transport import Session, Transport


TRANSPORTS = ("smtp", "smtplib")
"""The names of the ways to send."""


def transport_named(name: str) -> Transport:
    """The way to send of that name, one of TRANSPORTS."""
    if name == "smtplib":
        from smtpsetup.sending.transports.python_smtplib import SmtplibTransport  # 20 ms, only for a test with it

        return SmtplibTransport()
    return SmtpTransport()


def _no_provider() -> Provider | None:
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """An account, and how to get at what sending its mail takes.

    `read_secret` gives the secret or an access token, and raises SmtpsetupError. `find_provider` is asked only when
    something has failed, so that success pays nothing for it, and never raises. `log` is where each mail leaves a line;
    `trace` gets the conversation, secrets masked.
    """

    account: Account
    read_secret: Callable[[], Secret]
    find_provider: Callable[[], Provider | None] = _no_provider
    log: Log = Log.NONE
    trace: Callable[[str], None] | None = None
    transport: Transport = field(default_factory=SmtpTransport)

    def secret(self) -> Secret | None:
        """What the account logs in with, None where it needs no login. Raises SmtpsetupError."""
        return None if self.account.auth is Auth.NONE else self.read_secret()

    def session(self, seconds: float, on_stage: Callable[[StageResult], None] | None = None) -> Session:
        """A session that is not open yet.

        Raises SmtpsetupError (`config.invalid`) where the account's settings cannot be used.
        """
        return self.transport.session(self.account, Conditions(seconds, self.trace, on_stage))


def context_for(
    config: Config, account: Account, *, may_prompt: bool, trace: Callable[[str], None] | None = None
) -> Context:
    """How an account of this configuration sends.

    `may_prompt` is whether a person is there who can unlock a keyring.
    """

    def find_provider() -> Provider | None:
        from smtpsetup.config.known_providers import known_provider  # a send that works needs no table

        return known_provider(account)

    return Context(account, lambda: secret_for(account, may_prompt=may_prompt), find_provider, config.log, trace)

"""What sending an account's mail depends on, built in one place for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.model import Auth, Log, TransportKind
from smtpsetup.credentials import stores
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.transports.smtp import SmtpTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.failure import StageResult
    from smtpsetup.core.model import Secret
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.transport import Session, Transport
    from smtpsetup.state.request_limits import Limits, RequestLimits


TRANSPORTS = ("smtp", "smtplib")
"""The transports that `test --transport` can name instead of the account's own."""


def transport_named(name: str) -> Transport:
    """The way to send of that name, one of TRANSPORTS or of TransportKind."""
    # each is loaded for accounts or tests with it only
    if name == "smtplib":
        from smtpsetup.sending.transports.python_smtplib import SmtplibTransport

        return SmtplibTransport()
    if name == TransportKind.GRAPH:
        from smtpsetup.sending.transports.graph import GraphTransport

        return GraphTransport()
    if name == TransportKind.GMAIL:
        from smtpsetup.sending.transports.gmail import GmailTransport

        return GmailTransport()
    return SmtpTransport()


def _no_provider() -> Provider | None:
    return None


class Context(NamedTuple):
    """An account, and what is needed to send its mail.

    `read_secret` gives the password or an access token; it raises SmtpsetupError. `find_provider` is called only after
    a failure, so that success does not pay for the table; it never raises. `log` is where each mail leaves a line, and
    `trace` gets the lines of the conversation, secrets masked.
    `request_limits` is that of Conditions.
    """

    account: Account
    read_secret: Callable[[], Secret]
    find_provider: Callable[[], Provider | None] = _no_provider
    log: Log = Log.NONE
    trace: Callable[[str], None] | None = None
    transport: Transport = SmtpTransport()
    request_limits: Callable[[str, Limits], RequestLimits] | None = None

    def secret(self) -> Secret | None:
        """The password or access token, None where the account needs no login. Raises SmtpsetupError."""
        return None if self.account.auth is Auth.NONE else self.read_secret()

    def session(self, seconds: float, on_stage: Callable[[StageResult], None] | None = None) -> Session:
        """A session that is not open yet.

        Raises SmtpsetupError (`config.invalid`) where the account's settings cannot be used.
        """
        conditions = Conditions(seconds, self.trace, on_stage, self._renewed, self.request_limits)
        return self.transport.session(self.account, conditions)

    def _renewed(self, refused: Secret) -> Secret | None:
        from smtpsetup.oauth.access_token import renewed  # only for a refused token

        return renewed(self.account, refused) if self.account.auth is Auth.OAUTH2 else None


def context_for(
    config: Config, account: Account, *, may_prompt: bool, trace: Callable[[str], None] | None = None
) -> Context:
    """The context of an account of this configuration.

    `may_prompt` says that a person is there who can unlock a keyring.
    """

    def find_provider() -> Provider | None:
        from smtpsetup.config.known_providers import known_provider  # a send that works needs no table

        return known_provider(account)

    def read_secret() -> Secret:
        if account.auth is not Auth.OAUTH2:
            return stores.read(account, may_prompt=may_prompt)
        from smtpsetup.oauth.access_token import secret_for  # most accounts have a password

        return secret_for(account, may_prompt=may_prompt)

    return Context(account, read_secret, find_provider, config.log, trace, transport_named(account.transport))

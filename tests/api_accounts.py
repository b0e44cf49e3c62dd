"""Accounts at the fakes of the APIs, in this process and on the disk of a home."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from smtpsetup.config import endpoint
from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.model import Auth, Secret, TransportKind
from smtpsetup.core.oauth_types import TokenClient
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.context import Context, transport_named
from tests.messages import from_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api_servers import ApiServer
    from tests.conftest import Home

ADDRESS = "info@example.test"
TOKEN = "good-token-1234567890"
GRAPH_SEND = "https://graph.microsoft.com/Mail.Send"
GRAPH_WRITE = "https://graph.microsoft.com/Mail.ReadWrite"


# a provider that limits no mails a minute, as Microsoft 365 does
_ROW = """
[[provider]]
id = "testmail"
name = "Testmail"
domains = ["example.test"]
mx_suffixes = []
status = "ok"
servers = [{{ host = "smtp.example.test", port = 465, security = "tls" }}]
auth = ["oauth2"]
docs_url = "https://example.test/help"
confidence = "high"
sources = [{{ at = "https://example.test/help", date = 2026-11-24 }}]
username = {{ form = "address" }}
oauth2 = {{ client = "testmail", token_endpoint = "https://localhost/token", scopes = ["x"] }}
api = {{ transport = "{kind}", scopes = ["x"] }}
"""


class Origin(Protocol):
    """A server that can be an account's API."""

    @property
    def origin(self) -> str: ...

    @property
    def ca_file(self) -> str: ...


def api_account(server: Origin, kind: TransportKind, **changes: Any) -> Account:
    """An account whose access token a command prints."""
    address = str(server.endpoint) if hasattr(server, "endpoint") else server.origin
    account = Account(
        name=ADDRESS,
        address=ADDRESS,
        from_name="Mitt Företag AB",
        provider="",
        server=endpoint.server_of(address),
        auth=Auth.OAUTH2,
        username=ADDRESS,
        secret=SecretSource(Store.COMMAND, f"echo {TOKEN}"),
        ca_file=server.ca_file,
        transport=kind,
        endpoint=address,
    )
    return account._replace(**changes)


def signed_in_with(*scopes: str, **changes: Any) -> TokenClient:
    """The client of a sign-in that has these permissions."""
    return TokenClient("client", "https://localhost/token", scopes, **changes)


def api_context(account: Account, *tokens: str) -> Context:
    """The context of an account; `tokens` are those that it gets, one after the other."""
    given = iter(tokens or (TOKEN,))
    return Context(account, lambda: Secret(next(given)), transport=transport_named(account.transport))


@dataclass
class Noted:
    """What a delivery has noted."""

    states: list[str] = field(default_factory=list)

    def watched(self, delivery: Delivery) -> Delivery:
        """The delivery with its notes going here."""
        return delivery._replace(
            before_dot=lambda: self.states.append("dot"),
            accepted=lambda: self.states.append("accepted"),
            not_accepted=lambda: self.states.append("refused"),
        )


def mail(*recipients: str, subject: str = "Hej", to: str = "kund@example.org", body: bytes = b"Text\r\n") -> Delivery:
    """A mail from the account to `to`; the envelope has other recipients where they are given."""
    header = f"From: {ADDRESS}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.test>\r\n\r\n"
    envelope = Envelope(ADDRESS, recipients or (to,))
    return Delivery(envelope, from_bytes(header.encode() + body), f"<{subject}@example.test>", subject)


def write_account(home: Home, server: ApiServer, kind: TransportKind, **keys: Any) -> None:
    """Write a configuration with an account at the fake."""
    home.file(".config/smtpsetup/providers.toml", _ROW.format(kind=kind))
    values = {
        "address": ADDRESS,
        "provider": "testmail",
        "transport": str(kind),
        "endpoint": str(getattr(server, "endpoint", server.origin)),
        "auth": "oauth2",
        "ca_file": server.ca_file,
        **keys,
    }
    lines = [f'default = "{ADDRESS}"', f'[accounts."{ADDRESS}"]']
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    if "secret" not in keys:
        lines.append(f'secret = {{ store = "command", command = "echo {TOKEN}" }}')
    home.file(".config/smtpsetup/config.toml", "\n".join(lines) + "\n", mode=0o600)


@pytest.fixture
def api_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of its own, for sessions in this process."""
    directory = tmp_path / "state"
    monkeypatch.setenv("SMTPSETUP_STATE_DIR", str(directory))
    return directory

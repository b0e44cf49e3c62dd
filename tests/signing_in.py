"""Signing in with OAuth2 on the command line, and the tokens on disk afterwards."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.config import accounts
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.model import Auth, Security
from smtpsetup.core.oauth_types import TokenClient
from smtpsetup.oauth import token_cache
from tests.conftest import Home, Run, account_at
from tests.oauth_servers import CLIENT_ID, USER, OAuthServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROW = """
[[provider]]
id = "testmail"
name = "Testmail"
domains = ["example.test"]
mx_suffixes = []
status = "ok"
auth = ["oauth2"]
docs_url = "https://example.test/help"
confidence = "high"
sources = [{{ at = "https://example.test/help", date = 2026-11-24 }}]
username = {{ form = "address" }}

[[provider.servers]]
host = "localhost"
port = {port}
security = "{security}"

[provider.oauth2]
client = "testmail"
authorization_endpoint = "{server.authorization_endpoint}"
token_endpoint = "{token_endpoint}"
device_authorization_endpoint = "{server.device_authorization_endpoint}"
scopes = ["https://mail.test/smtp", "offline_access"]
unused_days = 90
"""
DEVICE = r"^ +([A-Z0-9]{4,}-[A-Z0-9]{4,})\s*$"
ADDRESS = r"^(https://localhost:\S+)$"


def knows(
    home: Home, server: OAuthServer, port: int | None = None, security: str = "tls", token_endpoint: str | None = None
) -> None:
    """Add the servers to the home's provider table; `port` is the submission port."""
    row = ROW.format(
        server=server,
        port=port or server.tls_port,
        security=security,
        token_endpoint=token_endpoint or server.token_endpoint,
    )
    home.file(".config/smtpsetup/providers.toml", row)
    home.env.update(server.env, SMTPSETUP_TESTMAIL_CLIENT_ID=CLIENT_ID)


@pytest.fixture
def oauth(home: Home, oauth_server: OAuthServer) -> tuple[Home, OAuthServer]:
    """A home whose table knows the servers."""
    knows(home, oauth_server)
    return home, oauth_server


def signing_up(home: Home, *options: str, address: str = USER) -> tuple[str, ...]:
    """The arguments of `configure` for an account whose refresh token is in a file."""
    token_file = str(home.path / "token")
    return ("configure", address, "--auth", "oauth2", "--password-file", token_file, "--from-name", "", *options)


@dataclass
class Attempt:
    """A command that waits for a sign-in; `shown` is the code or URL that it displays."""

    process: subprocess.Popen[str]
    shown: str
    said: str

    def end(self) -> Run:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=60)
        return Run(self.process.returncode, out, self.said + err)


@contextlib.contextmanager
def attempt(home: Home, *arguments: str, pattern: str, **env: str) -> Iterator[Attempt]:
    """Run a command until it displays the code or URL for the sign-in."""
    command = [*home.prefix, sys.executable, "-m", "smtpsetup", *arguments]
    with subprocess.Popen(
        command,
        env={**home.env, **env},
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        waiting = Attempt(process, "", "")
        try:
            for line in process.stderr:
                waiting.said += line
                if found := re.search(pattern, line):
                    waiting.shown = found[1]
                    break
            yield waiting
        finally:
            process.kill()


def signing_in(home: Home, *arguments: str, act: Callable[[str], object], pattern: str, **env: str) -> Run:
    """Run a command that signs in; `act` is called with the code or URL that it displays."""
    with attempt(home, *arguments, pattern=pattern, **env) as waiting:
        if waiting.shown:
            act(waiting.shown)
        return waiting.end()


def configured(home: Home, server: OAuthServer, *options: str) -> Run:
    """An account that is signed in by a code, its refresh token in a file."""
    return signing_in(home, *signing_up(home, *options), act=server.approve_device, pattern=DEVICE)


def signed_in(home: Home, server: OAuthServer) -> None:
    """Write what `configured` leaves on disk, without running it: the account, with new tokens."""
    row = tomllib.loads((home.path / ".config/smtpsetup/providers.toml").read_text())["provider"][0]
    place, endpoints = row["servers"][0], row["oauth2"]
    client = TokenClient(
        CLIENT_ID, endpoints["token_endpoint"], tuple(endpoints["scopes"]), unused_days=endpoints["unused_days"]
    )
    token = home.file("token", "")
    account = account_at(
        place["port"], Security(place["security"]), name=USER, address=USER, from_name="", provider=row["id"]
    )
    account = account._replace(
        auth=Auth.OAUTH2,
        username=USER,
        secret=SecretSource(Store.FILE, str(token)),
        oauth2=client,
        ca_file=None,
        verified=True,
    )
    accounts.save(str(home.config), account, make_default=True)
    answer, now = server.tokens(), time.time()
    token.write_text(f"{answer['refresh_token']}\n")
    known = token_cache.CachedTokens(
        answer["access_token"], now + answer["expires_in"], token_cache.owner_of(account, client), now, now
    )
    token_cache.save(str(home.path / ".local/state/smtpsetup"), USER, known)


@pytest.fixture
def ready(oauth: tuple[Home, OAuthServer]) -> tuple[Home, OAuthServer]:
    """An account that is signed in, its refresh token in a file."""
    home, server = oauth
    signed_in(home, server)
    return home, server


def sent(home: Home, *options: str, **env: str) -> Run:
    """Send a mail that is never queued."""
    return home.run("send", "kund@example.org", "--body", "x", "--queue", "never", *options, **env)


def state_file(home: Home) -> Path:
    """The file with the access token."""
    (path,) = (home.path / ".local/state/smtpsetup/tokens").glob("*.json")
    return path


def kept(home: Home) -> dict[str, Any]:
    """The content of the token file."""
    values: dict[str, Any] = json.loads(state_file(home).read_text())["kept"]
    return values


def change(home: Home, **values: Any) -> None:
    """Change values in the token file."""
    path = state_file(home)
    document = json.loads(path.read_text())
    document["kept"] |= values
    path.write_text(json.dumps(document))


def expire(home: Home, server: OAuthServer) -> None:
    """Expire the access token, on the server and in the token file."""
    server.expire_access_tokens()
    change(home, expires_at=time.time() - 10)


def has_nothing(home: Home) -> bool:
    """Whether no account, no refresh token and no access token was saved."""
    return (
        not (home.path / "token").exists()
        and not list(home.path.glob(".local/state/smtpsetup/tokens/*.json"))
        and home.run("accounts", "list", "--json").json["result"] == []
    )

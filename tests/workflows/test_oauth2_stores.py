"""The refresh token is kept where the account says: a real keyring, read-only stores, Windows' small keyring."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import keyring.errors
import pytest
from keyring.backend import KeyringBackend

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth, Secret
from smtpsetup.credentials import keyring_store, stores
from tests.conftest import account_at
from tests.oauth_servers import USER, OAuthServer
from tests.signing_in import expire, kept, sent, state_file

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.servers import Keyring


# a keyring


def stored(keyring_: Keyring, monkeypatch: pytest.MonkeyPatch) -> str:
    """The refresh token that is in the keyring."""
    for name, value in keyring_.env.items():
        monkeypatch.setenv(name, value)
    return stores.read(account_at(465, name=USER, secret=SecretSource(Store.KEYRING)), may_prompt=False).reveal()


def test_every_new_refresh_token_replaces_the_previous_one_in_the_keyring(
    in_keyring: tuple[Home, OAuthServer], keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = in_keyring
    seen = {stored(keyring, monkeypatch)}
    for _round in range(2):
        expire(home, server)
        assert sent(home).code == 0
        seen.add(stored(keyring, monkeypatch))
    assert len(seen) == 3
    assert kept(home)["refresh_token"] == ""
    assert len(server.mails()) == 2


def test_a_locked_keyring_is_reported_once_the_access_token_has_expired(
    in_keyring: tuple[Home, OAuthServer], keyring: Keyring
) -> None:
    home, server = in_keyring
    keyring.lock()
    assert sent(home).code == 0
    expire(home, server)
    done = sent(home, "--json")
    assert (done.code, done.json["error"]["code"]) == (75, "secret.keyring-locked")
    assert server.count("refresh_token") == 0


def test_logout_deletes_the_refresh_token_from_the_keyring(
    in_keyring: tuple[Home, OAuthServer], keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _server = in_keyring
    assert home.run("logout", USER).code == 0
    with pytest.raises(SmtpsetupError) as caught:
        stored(keyring, monkeypatch)
    assert caught.value.code == "secret.missing"
    assert list(home.path.glob(".local/state/smtpsetup/tokens/*.json")) == []
    assert sent(home, "--json").json["error"]["code"] == "secret.missing"


# stores that smtpsetup only reads


@pytest.mark.parametrize("place", ["env", "systemd", "command"])
def test_newer_refresh_tokens_of_a_read_only_store_are_kept_in_the_token_file(
    ready: tuple[Home, OAuthServer], place: str
) -> None:
    home, server = ready
    first = (home.path / "token").read_text().strip()
    source = {"env": 'variable = "MAIL_TOKEN"', "systemd": 'credential = "mail"', "command": 'command = "cat printed"'}[
        place
    ]
    before = f'secret = {{ store = "file", path = "{home.path / "token"}" }}'
    text = home.config.read_text()
    assert before in text
    home.config.write_text(text.replace(before, f'secret = {{ store = "{place}", {source} }}'))
    home.env.update(MAIL_TOKEN=first, CREDENTIALS_DIRECTORY=str(home.path / "credentials"))
    home.file("credentials/mail", first)
    home.file("printed", first)
    (home.path / "token").unlink()
    for _round in range(3):
        expire(home, server)
        done = sent(home)
        assert done.code == 0, done.err
    assert server.count("refresh_token") == 3
    assert kept(home)["refresh_token"] not in ("", first)
    assert state_file(home).stat().st_mode & 0o777 == 0o600


# Windows


class CredentialManager(KeyringBackend):
    """Windows' Credential Manager, as far as these tests use it.

    A secret has at most 2,560 bytes (CRED_MAX_CREDENTIAL_BLOB_SIZE), in UTF-16.
    """

    secrets: dict[tuple[str, str], str]

    def __init__(self) -> None:
        self.secrets = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.secrets.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if len(password.encode("utf-16-le")) > 2560:
            raise keyring.errors.PasswordSetError("The stub received bad data.")  # as Windows says it, error 1783
        self.secrets[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.secrets[service, username]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> CredentialManager:
    """Windows' keyring in place of this machine's."""
    manager = CredentialManager()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(keyring_store, "_backend", lambda: manager)
    return manager


ACCOUNT = account_at(465, auth=Auth.OAUTH2, secret=SecretSource(Store.KEYRING))


@pytest.mark.parametrize(
    "secret",
    [
        "x" * 1280,
        "x" * 1281,
        "1.A" + "x" * 5000,
        "å" * 1281,
        "\N{GRINNING FACE}" * 640,
        "\N{GRINNING FACE}" * 641,
    ],
    ids=["1280", "1281", "a long refresh token", "1281 letters", "640 pairs", "641 pairs"],
)
def test_windows_keyring_keeps_secrets_of_any_length(windows: CredentialManager, secret: str) -> None:
    assert stores.store(ACCOUNT, Secret("the first")) is None
    before = stores.store(ACCOUNT, Secret(secret))
    assert before is not None
    assert before.reveal() == "the first"
    assert stores.read(ACCOUNT, may_prompt=False).reveal() == secret
    assert stores.forget(ACCOUNT)
    assert windows.secrets == {}

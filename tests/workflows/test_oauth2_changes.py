"""An OAuth2 account is changed, signed in to again and signed out of; no secret goes to another server or user."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.oauth_types import Endpoints
from smtpsetup.oauth import token_cache
from smtpsetup.oauth.sign_in import NamedClient, client_named
from tests.oauth_servers import CLIENT_ID, USER, OAuthServer
from tests.servers import ScriptedServer
from tests.signing_in import DEVICE, change, kept, sent, signed_in, signing_in
from tests.workflows.conftest import plaintext_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home


@pytest.fixture
def ready(oauth: tuple[Home, OAuthServer]) -> tuple[Home, OAuthServer]:
    """An account that is signed in, at a provider that accepts app passwords, too."""
    home, server = oauth
    table = home.path / ".config/smtpsetup/providers.toml"
    table.write_text(table.read_text().replace('auth = ["oauth2"]', 'auth = ["app-password", "oauth2"]'))
    signed_in(home, server)
    return home, server


def test_other_settings_of_an_account_can_be_changed_without_signing_in_again(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    done = home.run("configure", USER, "--from-name", "Mitt Företag", "--json")
    assert done.code == 0, done.err
    assert (done.json["result"]["auth"], done.json["result"]["from_name"]) == ("oauth2", "Mitt Företag")
    assert {login.mechanism for login in server.logins()} == {"OAUTHBEARER"}
    assert sent(home).code == 0
    server.expire_access_tokens()
    assert sent(home).code == 0


def test_a_refresh_token_is_never_used_as_a_password(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    before = (home.path / "token").read_text()
    done = home.run("configure", USER, "--auth", "app-password", "--from-name", "", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert (home.path / "token").read_text() == before
    assert sent(home).code == 0
    assert {login.mechanism for login in server.logins()} == {"OAUTHBEARER"}


def test_configuring_oauth2_again_signs_in_with_the_same_client(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    del home.env["SMTPSETUP_TESTMAIL_CLIENT_ID"]
    before = (home.path / "token").read_text()
    done = signing_in(home, "configure", USER, "--auth", "oauth2", act=server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err
    assert (home.path / "token").read_text() != before
    assert sent(home).code == 0


def test_a_token_command_replaces_a_sign_in_and_deletes_its_tokens(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.file("current", kept(home)["access_token"])
    done = home.run("login", USER, "--token-command", "cat current", "--json")
    assert done.code == 0, done.err
    assert "[accounts" in home.config.read_text()
    assert "oauth2]" not in home.config.read_text()
    assert not (home.path / "token").exists()
    assert not list(home.path.glob(".local/state/smtpsetup/tokens/*.json"))
    assert sent(home).code == 0
    assert server.count("refresh_token") == 0


def test_the_token_of_a_command_is_never_sent_as_a_password(home: Home) -> None:
    """The server accepts passwords alone, and must not get the token as one."""
    home.file("password", "hemligt")
    with ScriptedServer(
        [b"220 ready\r\n", None, b"250-localhost\r\n250 AUTH PLAIN LOGIN\r\n", None, b"221 bye\r\n"]
    ) as server:
        options = (*plaintext_at(server.port), "--no-verify", "--password-file", str(home.path / "password"))
        assert home.run("configure", "asa@example.com", *options).code == 0
        done = home.run("login", "asa@example.com", "--token-command", "printf a-token", "--json")
    assert done.code != 0
    assert server.connections == 1
    assert b"AUTH" not in b"".join(server.received)


def with_password(home: Home) -> Path:
    """Set up an account that logs in with a password. Returns the file with the password."""
    password = home.file("password", "hemligt")
    options = ("--auth", "password", "--password-file", str(password), "--no-verify", "--from-name", "")
    assert home.run("configure", USER, *options).code == 0
    return password


def test_login_turns_a_password_account_into_an_oauth2_account(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    password = with_password(home)
    login = ("login", USER, "--auth", "oauth2", "--password-file", str(home.path / "token"))
    done = signing_in(home, *login, act=server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err
    assert sent(home).code == 0
    assert password.read_text() == "hemligt"  # it belongs to the user


def test_login_does_not_overwrite_the_users_password_file(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    password = with_password(home)
    done = home.run("login", USER, "--auth", "oauth2", "--json")
    # the next choice, which does not exist here
    assert (done.code, done.json["error"]["code"]) == (78, "secret.keyring-unavailable")
    assert password.read_text() == "hemligt"
    assert not server.requests("device")


def test_login_turns_an_oauth2_account_into_a_password_account(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    password = home.file("password", "hemligt")
    done = home.run("login", USER, "--auth", "app-password", "--password-file", str(password), "--json")
    assert done.code != 0  # the server accepts tokens alone
    assert (home.path / "token").exists()
    with ScriptedServer(
        [
            b"220 ready\r\n",
            None,
            b"250-localhost\r\n250 AUTH PLAIN\r\n",
            None,
            b"235 ok\r\n",
            *(None, b"250 ok\r\n") * 3,
            None,
            b"221 bye\r\n",
        ]
    ) as other:
        text = (
            home.config.read_text()
            .replace('security = "tls"', 'security = "none"')
            .replace(f"port = {server.tls_port}", f"port = {other.port}")
        )
        home.config.write_text(text)
        done = home.run("login", USER, "--auth", "app-password", "--password-file", str(password), "--json")
    assert (done.code, done.json["result"]["auth"]) == (0, "app-password")
    assert not (home.path / "token").exists()
    assert not list(home.path.glob(".local/state/smtpsetup/tokens/*.json"))


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("", {}, NamedClient("in-config", "config-secret")),
        ("in-config", {}, NamedClient("in-config", "config-secret")),
        ("typed", {}, NamedClient("typed", "")),
        ("typed", {"SECRET": "s"}, NamedClient("typed", "s")),
        ("typed", {"ID": "other", "SECRET": "s"}, NamedClient("typed", "")),
        ("", {"ID": "other", "SECRET": "s"}, NamedClient("other", "s")),
        ("", {"ID": "other"}, NamedClient("other", "")),
        ("", {"SECRET": "s"}, NamedClient("in-config", "s")),
        ("in-config", {"ID": "other", "SECRET": "s"}, NamedClient("in-config", "config-secret")),
    ],
)
def test_a_client_id_is_used_with_its_own_secret_alone(
    option: str, environment: dict[str, str], expected: NamedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"SMTPSETUP_LOGIN_EXAMPLE_COM_CLIENT_{name}", value)
    configured_there = {"login.example.com": {"client_id": "in-config", "client_secret": "config-secret"}}
    assert (
        client_named(Endpoints("login.example.com", "https://login.example.com/token"), option, configured_there)
        == expected
    )


def test_client_credentials_are_not_sent_to_another_server(ready: tuple[Home, OAuthServer]) -> None:
    """The client id and secret of the account belong to the server that issued them."""
    home, server = ready
    text = home.config.read_text()
    elsewhere = server.token_endpoint.replace("localhost", "127.0.0.1")
    home.config.write_text(
        text.replace(
            f'token_endpoint = "{server.token_endpoint}"', f'token_endpoint = "{elsewhere}", client_secret = "hush"'
        )
    )
    assert "hush" in home.config.read_text()
    del home.env["SMTPSETUP_TESTMAIL_CLIENT_ID"]
    done = home.run("login", USER, "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required"), done.out
    assert server.requests("device") == []


@pytest.mark.parametrize("key", ["username", "client_id", "host"])
def test_a_token_is_bound_to_its_server_user_and_client(ready: tuple[Home, OAuthServer], key: str) -> None:
    home, server = ready
    token = kept(home)["access_token"]
    value = {"username": USER, "client_id": CLIENT_ID, "host": "localhost"}[key]
    other = {"username": "other@example.test", "client_id": "another", "host": "127.0.0.1"}[key]
    text = home.config.read_text()
    assert f'{key} = "{value}"' in text
    home.config.write_text(text.replace(f'{key} = "{value}"', f'{key} = "{other}"'))
    server.unavailable()
    assert sent(home, "--json").json["error"]["code"] == "auth.temporary"
    assert server.count("refresh_token") == 1
    assert server.logins() == []
    assert kept(home)["access_token"] == token


# in parallel with a renewal


def renewing_process(home: Home) -> subprocess.Popen[bytes]:
    """A process that holds the lock of a renewal until it is killed."""
    state = home.path / ".local/state/smtpsetup"
    program = (
        "import sys, time\nfrom smtpsetup.oauth import token_cache\n"
        "with token_cache.locked(sys.argv[1], sys.argv[2], 1):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(state), USER], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.mark.parametrize(
    "command", [("logout", USER), ("accounts", "remove", USER), ("configure", USER, "--from-name", "x")]
)
def test_account_changes_wait_for_a_running_renewal(ready: tuple[Home, OAuthServer], command: tuple[str, ...]) -> None:
    """Otherwise the new refresh token would be written after the account is removed, or over another sign-in."""
    home, _server = ready
    with (
        renewing_process(home) as renewing,
        subprocess.Popen([sys.executable, "-m", "smtpsetup", *command], env=home.env, cwd=home.path) as waiting,
    ):
        config, token = home.config.read_bytes(), (home.path / "token").read_bytes()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
        assert (home.config.read_bytes(), (home.path / "token").read_bytes()) == (config, token)
        renewing.kill()
        assert waiting.wait(30) == 0


def test_a_deleted_lock_file_does_not_lock(tmp_path: Path) -> None:
    directory = str(tmp_path)
    with token_cache.locked(directory, "a", 1):
        (lock,) = (tmp_path / "tokens").glob("*.lock")
        lock.unlink()
        with token_cache.locked(directory, "a", 1):
            assert lock.exists()
            with pytest.raises(token_cache.StillLockedError), token_cache.locked(directory, "a", 0.2):
                pass
        with token_cache.locked(directory, "a", 0.2):
            pass


def test_a_waiting_process_creates_a_deleted_lock_file_again(tmp_path: Path) -> None:
    with token_cache.locked(str(tmp_path), "a", 1):
        program = (
            "import sys\nfrom smtpsetup.oauth import token_cache\n"
            "with token_cache.locked(sys.argv[1], 'a', 20):\n    print('held', flush=True)\n    sys.stdin.read()"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        waiting = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(1)  # until it waits
        (lock,) = (tmp_path / "tokens").glob("*.lock")
        lock.unlink()
    assert waiting.stdout
    assert waiting.stdout.readline() == b"held\n"
    with pytest.raises(token_cache.StillLockedError), token_cache.locked(str(tmp_path), "a", 0.2):
        pass
    waiting.communicate(timeout=10)


NAMES = ["a/b", "a_b", "a%2fb", "..", ".", "a.json.lock", "å", "ä", "a b", "A", "x" * 300, "x" * 299 + "y", "日本" * 40]


def test_every_account_has_its_own_token_file(tmp_path: Path) -> None:
    for name in NAMES:
        token_cache.save(str(tmp_path), name, token_cache.CachedTokens("token", 1.0, name, 1.0))
    files = list((tmp_path / "tokens").iterdir())
    assert len(files) == len(NAMES)
    assert all(file.parent == tmp_path / "tokens" and len(file.name) < 250 for file in files)
    for name in NAMES:
        found = token_cache.load(str(tmp_path), name)
        assert found
        assert found.owner == name


def test_retry_after_holds_for_every_process(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    change(home, expires_at=1.0)
    server.unavailable(status=429, retry_after="600")
    assert [sent(home, "--json").json["error"]["code"] for _mail in range(3)] == ["auth.temporary"] * 3
    assert server.count("refresh_token") == 1
    change(home, ask_again_at=time.time() - 1)
    assert sent(home).code == 0


@pytest.mark.parametrize("seconds", [86_400, 10 * 86_400])
def test_a_stored_pause_of_more_than_an_hour_is_ignored(ready: tuple[Home, OAuthServer], seconds: int) -> None:
    home, _server = ready
    change(home, expires_at=1.0, ask_again_at=time.time() + seconds)
    assert sent(home).code == 0


def test_a_command_that_prints_no_token_is_reported(home: Home) -> None:
    with ScriptedServer([]) as server:
        done = home.run(
            "configure",
            "asa@example.com",
            *plaintext_at(server.port),
            "--token-command",
            "echo Error: not signed in",
            "--json",
        )
    assert (done.code, done.json["error"]["code"]) == (78, "secret.command-failed")
    assert server.connections == 0
    assert json.dumps(done.json).count("not signed in") <= 1

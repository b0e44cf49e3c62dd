"""The options of a sign-in work together or are refused; the previous secret is neither lost nor left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.conftest import PASSWORD
from tests.oauth_servers import CLIENT_ID, USER, OAuthServer
from tests.person import ended
from tests.servers import ScriptedServer
from tests.signing_in import (
    ADDRESS,
    DEVICE,
    attempt,
    change,
    configured,
    kept,
    sent,
    signing_in,
    signing_up,
    state_file,
)

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import SandboxFacts
    from tests.conftest import Home
    from tests.person import Person


def test_unattended_moves_the_refresh_token_out_of_the_keyring(
    in_keyring: tuple[Home, OAuthServer], person: Person
) -> None:
    """The refresh token is moved, not the access token that has just been tested."""
    home, server = in_keyring
    terminal = person.types("configure", USER, "--unattended")
    terminal.expect("Change it")
    terminal.sendline("y")
    terminal.expect(r"Which one.*: ")
    terminal.sendline("")
    assert "crontab" in ended(terminal, 0)
    moved = home.path / ".config/smtpsetup/passwords" / USER
    assert moved.read_text().strip() != kept(home)["access_token"]
    assert moved.stat().st_mode & 0o777 == 0o600
    server.expire_access_tokens()
    assert sent(home).code == 0
    assert home.run("logout", USER).code == 0
    assert not moved.exists()


def test_a_token_command_that_cron_does_not_find_is_replaced_by_a_command_alone(
    ready: tuple[Home, OAuthServer], person: Person
) -> None:
    home, _server = ready
    home.file("bin/my-token", f"#!/bin/sh\necho {kept(home)['access_token']}\n", 0o700)
    home.env["PATH"] = f"{home.path / 'bin'}:{home.env['PATH']}"
    assert home.run("login", USER, "--token-command", "my-token").code == 0
    terminal = person.types("configure", USER, "--unattended")
    terminal.expect("Change it")
    terminal.sendline("y")
    assert terminal.expect([r"Which one \(2, 4\)", pexpect.EOF]) == 0, terminal.before
    terminal.sendline("")
    terminal.expect("Command")
    terminal.sendline(str(home.path / "bin/my-token"))
    ended(terminal, 0)
    assert sent(home).code == 0
    assert not (home.path / ".config/smtpsetup/passwords").exists()


@pytest.mark.parametrize("verify", [(), ("--no-verify",)])
def test_naming_the_provider_again_signs_in_again(ready: tuple[Home, OAuthServer], verify: tuple[str, ...]) -> None:
    home, server = ready
    before = (home.path / "token").read_text()
    again = ("configure", USER, "--provider", "testmail", "--password-file", str(home.path / "second"), *verify)
    done = signing_in(home, *again, act=server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err
    assert not (home.path / "token").exists()
    assert (home.path / "second").read_text() != before
    server.expire_access_tokens()
    assert sent(home).code == 0


def test_signing_in_without_a_test_login_saves_an_unverified_account(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    server.settings(login_reply="454 4.7.0 Temporary authentication failure")
    done = signing_in(home, *signing_up(home, "--no-verify", "--json"), act=server.approve_device, pattern=DEVICE)
    assert (done.code, done.json["result"]["verified"]) == (0, False)
    assert server.logins() == []
    server.settings(login_reply=None)
    assert home.run("test", USER, "--login-only").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--token-command", "x", "--password-stdin"),
        ("--token-command", "x", "--password-file", "f"),
        ("--token-command", "x", "--client-id", "y"),
        ("--token-command", "x", "--browser"),
        ("--password-stdin",),
        ("--auth", "password", "--browser"),
        ("--scope", "x"),
        ("--issuer", "https://localhost:1", "--tenant", "x"),
        ("--token-command", ""),
        ("--client-id", ""),
    ],
)
@pytest.mark.parametrize("command", ["configure", "login"])
def test_conflicting_options_are_a_usage_error_before_any_request(
    ready: tuple[Home, OAuthServer], command: str, options: tuple[str, ...]
) -> None:
    home, server = ready
    before = home.config.read_bytes()
    logins, devices = len(server.logins()), len(server.requests("device"))
    done = home.run(command, USER, *options, stdin="hemligt\n")
    assert done.code == 2, done.err
    assert (len(server.logins()), len(server.requests("device"))) == (logins, devices)
    assert home.config.read_bytes() == before


def test_a_hint_to_use_a_password_is_given_only_where_the_provider_takes_one(home: Home) -> None:
    for address, advice in (("namn@live.se", "leave out --password-stdin"), ("namn@gmail.com", "--auth password")):
        done = home.run("configure", address, "--client-id", "x", "--password-stdin", "--offline", stdin="hemligt\n")
        assert (done.code, advice in " ".join(done.err.split())) == (2, True), done.err


def test_the_refresh_token_file_is_not_accepted_as_a_password_file(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    for command in (("configure", "--from-name", ""), ("login",)):
        done = home.run(
            command[0], USER, "--auth", "password", "--password-file", str(home.path / "token"), *command[1:]
        )
        assert done.code == 2, done.err
    assert sent(home).code == 0
    assert {login.mechanism for login in server.logins()} == {"OAUTHBEARER"}


def test_changing_to_no_login_deletes_the_sign_in(in_keyring: tuple[Home, OAuthServer]) -> None:
    home, _server = in_keyring
    proof = [b"250 ok\r\n", None] * 3  # MAIL, RCPT, RSET
    with ScriptedServer([b"220 ready\r\n", None, b"250 localhost\r\n", None, *proof, b"221 bye\r\n"]) as other:
        options = ("--host", "127.0.0.1", "--port", str(other.port), "--security", "none", "--auth", "none")
        done = home.run("configure", USER, *options, "--json")
        assert done.code == 0, done.err
    assert not list(home.path.glob(".local/state/smtpsetup/tokens/*.json"))
    assert (
        home.run("configure", USER, "--provider", "testmail", "--auth", "app-password", "--json").json["error"]["code"]
        == "secret.missing"
    )


def test_a_sign_in_in_the_keyring_replaces_a_token_command(in_keyring: tuple[Home, OAuthServer]) -> None:
    home, server = in_keyring
    home.file("current", kept(home)["access_token"])
    assert home.run("login", USER, "--token-command", "cat current").code == 0
    done = signing_in(
        home, "login", USER, "--client-id", CLIENT_ID, "--json", act=server.approve_device, pattern=DEVICE
    )
    assert (done.code, done.json["result"]["secret_store"]) == (0, "keyring"), done.err


def test_a_token_file_may_be_written_with_a_tilde(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.config.write_text(home.config.read_text().replace(str(home.path / "token"), "~/token"))
    assert signing_in(home, "login", USER, act=server.approve_device, pattern=DEVICE).code == 0
    server.expire_access_tokens()
    assert sent(home).code == 0
    named = ("login", USER, "--password-file", str(home.path / "token"))
    assert signing_in(home, *named, act=server.approve_device, pattern=DEVICE).code == 0
    server.expire_access_tokens()
    assert sent(home).code == 0
    assert home.run("logout", USER).code == 0
    assert not (home.path / "token").exists()


def test_a_password_file_named_by_another_path_is_not_deleted(home: Home, facts: SandboxFacts) -> None:
    own = home.file(".config/smtpsetup/passwords/info@example.com", f"{PASSWORD}\n")
    assert home.configure(facts, "--from-name", "").code == 0
    home.config.write_text(
        home.config.read_text().replace(str(home.path / "password"), "~/.config/smtpsetup/passwords/info@example.com")
    )
    assert home.run("login", "info@example.com", "--password-file", str(own)).code == 0
    assert own.read_text() == f"{PASSWORD}\n"
    assert home.run("test", "--login-only").code == 0


@pytest.mark.parametrize("option", [("--browser",), ("--tenant", "x"), ("--client-id", "x")])
def test_an_oauth2_option_implies_auth_oauth2(oauth: tuple[Home, OAuthServer], option: tuple[str, ...]) -> None:
    """Also where an app password would be the first choice."""
    home, server = oauth
    table = home.path / ".config/smtpsetup/providers.toml"
    text = table.read_text().replace('auth = ["oauth2"]', 'auth = ["app-password", "oauth2"]')
    table.write_text(text.replace(server.token_endpoint, f"{server.token_endpoint}?organisation={{tenant}}"))
    pattern = ADDRESS if option == ("--browser",) else DEVICE
    options = (*option, "--password-file", str(home.path / "token"), "--from-name", "")
    with attempt(home, "configure", USER, *options, pattern=pattern) as waiting:
        assert bool(waiting.shown) is (option != ("--client-id", "x")), waiting.said
    if not waiting.shown:
        assert "auth.client-unknown" in waiting.said


@pytest.mark.parametrize("tenant", ["x y", "../common", "example.com/", "företag.se", "-x"])
def test_an_organisation_has_the_form_of_a_domain_or_an_id(home: Home, tenant: str) -> None:
    done = home.run("configure", "info@example.com", "--provider", "microsoft365", f"--tenant={tenant}", "--no-input")
    assert (done.code, "--tenant" in done.err, home.config.exists()) == (2, True, False)


@pytest.mark.parametrize("state_of_file", ["open to all", "empty", "not text"])
def test_removing_an_account_deletes_an_unusable_secret_file(
    ready: tuple[Home, OAuthServer], state_of_file: str
) -> None:
    home, _server = ready
    file = home.path / "token"
    if state_of_file == "open to all":
        file.chmod(0o644)
    else:
        file.write_bytes(b"" if state_of_file == "empty" else b"\xff\xfe\n\n")
    done = home.run("accounts", "remove", USER, "--json")
    assert (done.code, done.json["result"]["secret_removed"]) == (0, True)
    assert not file.exists()


@pytest.mark.parametrize("kind", ["link", "directory", "open to all"])
@pytest.mark.parametrize("name", ["place", f".config/smtpsetup/passwords/{USER}"])
def test_an_unwritable_token_file_is_reported_before_the_sign_in(
    oauth: tuple[Home, OAuthServer], kind: str, name: str
) -> None:
    home, server = oauth
    place = home.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "directory":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(home.path / "nowhere")
    else:
        home.file(name, "x", 0o644)
    done = home.run("configure", USER, "--auth", "oauth2", "--password-file", str(place), "--from-name", "", "--json")
    assert (done.code, done.json["error"]["code"].partition(".")[0]) == (78, "secret")
    assert server.requests("device") == []


def test_the_password_directory_is_created_when_it_is_named(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    place = home.path / ".config/smtpsetup/passwords" / USER
    options = ("configure", USER, "--auth", "oauth2", "--password-file", str(place), "--from-name", "")
    assert signing_in(home, *options, act=server.approve_device, pattern=DEVICE).code == 0
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_account_whose_secret_cannot_be_deleted_is_kept(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    (home.path / "token").unlink()
    (home.path / "token").mkdir()
    assert home.run("accounts", "remove", USER).code != 0
    assert USER in home.config.read_text()
    assert home.run("accounts", "remove", USER, "--keep-secret").code == 0


def test_a_sign_in_that_cannot_be_saved_leaves_the_old_one_unchanged(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    before = (home.config.read_bytes(), (home.path / "token").read_bytes(), kept(home))
    home.config.chmod(0o644)  # which is refused, since the file may contain secrets
    with attempt(home, "login", USER, "--password-file", str(home.path / "second"), pattern=DEVICE) as waiting:
        assert not waiting.shown
    home.config.chmod(0o600)
    with attempt(home, "login", USER, "--password-file", str(home.path / "second"), pattern=DEVICE) as waiting:
        home.config.parent.chmod(0o500)
        home.config.chmod(0o644)
        server.approve_device(waiting.shown)
        assert waiting.end().code == 78
    home.config.parent.chmod(0o700)
    home.config.chmod(0o600)
    assert (home.config.read_bytes(), (home.path / "token").read_bytes(), kept(home)) == before
    assert not (home.path / "second").exists()
    assert sent(home).code == 0


def test_a_corrected_client_secret_is_used(ready: tuple[Home, OAuthServer]) -> None:
    """The explanation advises: set it in the configuration or the environment, then sign in again."""
    home, server = ready
    home.env["SMTPSETUP_TESTMAIL_CLIENT_SECRET"] = "new"
    # this server knows the client as one without a secret
    assert home.run("login", USER, "--json").json["error"]["code"] == "auth.client-unknown"
    assert ["client_secret" in request.parameters for request in server.requests("device")] == [True]


def test_another_tenant_is_signed_in_to_with_the_same_client(
    oauth: tuple[Home, OAuthServer],
) -> None:
    home, server = oauth
    table = home.path / ".config/smtpsetup/providers.toml"
    table.write_text(
        table.read_text().replace(server.token_endpoint, f"{server.token_endpoint}?organisation={{tenant}}")
    )
    assert configured(home, server, "--tenant", "one.test").code == 0
    del home.env["SMTPSETUP_TESTMAIL_CLIENT_ID"]
    assert signing_in(home, "login", USER, "--tenant", "two.test", act=server.approve_device, pattern=DEVICE).code == 0
    assert "organisation=two.test" in home.config.read_text()


def test_a_short_lived_token_is_used(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    change(home, expires_at=1.0)
    server.expires_in(100)
    for _mail in range(3):
        assert sent(home).code == 0
    assert server.count("refresh_token") == 1


def test_removing_an_account_but_not_its_secret_keeps_its_tokens(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    path, text = state_file(home), home.config.read_text()
    assert home.run("accounts", "remove", USER, "--keep-secret").code == 0
    assert path.exists()
    assert (home.path / "token").exists()
    home.config.write_text(text)
    assert sent(home).code == 0


def test_an_access_token_that_cannot_be_deleted_is_reported_and_the_account_saved(
    ready: tuple[Home, OAuthServer],
) -> None:
    home, _server = ready
    home.file("current", kept(home)["access_token"])
    directory = state_file(home)
    directory.unlink()
    directory.mkdir()
    done = home.run("login", USER, "--token-command", "cat current")
    assert done.code == 0, done.err
    assert f"file {directory.parent}" in done.err
    assert not (home.path / "token").exists()
    assert sent(home).code == 0

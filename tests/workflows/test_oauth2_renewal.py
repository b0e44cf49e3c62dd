"""A renewal loses no refresh token, discloses no secret, is made once, and is finished once it has begun."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.oauth_types import TokenClient
from smtpsetup.oauth import token_endpoint
from smtpsetup.oauth.refusals import code_of
from smtpsetup.oauth.request import OAuthError, refresh_token_in
from tests.servers import ScriptedServer, wait_for
from tests.signing_in import change, expire, kept, sent
from tests.workflows.conftest import plaintext_at

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home
    from tests.oauth_servers import OAuthServer


@pytest.mark.parametrize(
    "change_of_answer",
    [{"token_type": "mac"}, {"scope": "offline_access"}, {"access_token": "a\r\nb"}, {"access_token": ""}],
)
def test_the_refresh_token_of_an_unusable_answer_is_kept(
    ready: tuple[Home, OAuthServer], change_of_answer: dict[str, Any]
) -> None:
    """The server revokes every refresh token after its use, and all of them where one is used twice."""
    home, server = ready
    expire(home, server)
    server.rule(set=change_of_answer)
    assert sent(home).code != 0
    for _mail in range(2):
        done = sent(home)
        assert done.code == 0, done.err
    assert server.count("refresh_token") == 2


def test_a_null_error_in_a_token_answer_is_ignored(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    expire(home, server)
    server.rule(set={"error": None, "error_description": None})
    assert sent(home).code == 0


@pytest.mark.parametrize(
    ("answer", "token"),
    [({}, ""), ({"refresh_token": ["a"]}, ""), ({"refresh_token": "a\nb"}, ""), ({"refresh_token": "a~b"}, "a~b")],
)
def test_only_a_printable_string_is_a_refresh_token(answer: dict[str, Any], token: str) -> None:
    assert refresh_token_in(answer) == token


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_renewal_loses_no_sign_in(ready: tuple[Home, OAuthServer], number: signal.Signals) -> None:
    """The request has been sent, so the refresh token is used up; the server revokes all where one is used twice."""
    home, server = ready
    expire(home, server)
    server.slow(2)
    command = [sys.executable, "-m", "smtpsetup", "send", "kund@example.org", "--body", "x", "--queue", "never"]
    with subprocess.Popen(command, env=home.unmeasured.env, cwd=home.path, stderr=subprocess.PIPE) as process:
        wait_for(lambda: server.requests("token", "refresh_token"))
        began = time.monotonic()
        process.send_signal(number)
        code = process.wait(20)
        assert time.monotonic() - began > 1
    assert code in (143, 130)
    assert kept(home)["expires_at"] > time.time()
    assert sent(home).code == 0
    assert server.count("refresh_token") == 1


def test_ctrl_c_ends_at_once_while_the_token_endpoint_is_silent(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    expire(home, server)
    with ScriptedServer([None]) as silent:  # it accepts the connection and never answers the TLS handshake
        home.config.write_text(
            home.config.read_text().replace(server.token_endpoint, f"https://localhost:{silent.port}/token")
        )
        command = [sys.executable, "-m", "smtpsetup", "send", "kund@example.org", "--body", "x", "--queue", "never"]
        with subprocess.Popen(command, env=home.env, cwd=home.path, stderr=subprocess.PIPE) as process:
            wait_for(lambda: silent.connections)
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 130


@pytest.mark.parametrize("name", ["refresh_token", "client_secret"])
def test_secrets_repeated_by_the_token_endpoint_are_masked(
    oauth_server: OAuthServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", oauth_server.ca_file)
    secret = "0.AXsAbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
    client = TokenClient(
        "id", oauth_server.token_endpoint, client_secret=secret if name == "client_secret" else "hush-hush-hush"
    )
    oauth_server.error(
        "invalid_grant", description=f"The token {secret} ({base64.b64encode(secret.encode()).decode()}) is not known."
    )
    with pytest.raises(OAuthError) as caught:
        token_endpoint.refresh_tokens(
            client, secret if name == "refresh_token" else "another-refresh-token", before_request=lambda: None
        )
    assert caught.value.error == "invalid_grant"
    assert secret not in caught.value.words
    assert base64.b64encode(secret.encode()).decode() not in caught.value.words
    assert caught.value.words.startswith("invalid_grant: The token")


@pytest.mark.parametrize("secret", ["a", "client-secret", "Pending-Secret", "invalid", "status"])
def test_masking_a_secret_of_ordinary_words_keeps_the_error_code(
    oauth_server: OAuthServer, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", oauth_server.ca_file)
    client = TokenClient("id", oauth_server.token_endpoint, client_secret=secret)
    oauth_server.error("invalid_client", description="client_secret is missing.")
    with pytest.raises(OAuthError) as caught:
        token_endpoint.refresh_tokens(client, "a-refresh-token", before_request=lambda: None)
    assert (caught.value.error, code_of(caught.value)) == ("invalid_client", "auth.client-unknown")
    oauth_server.unavailable()
    with pytest.raises(OAuthError) as caught:
        token_endpoint.refresh_tokens(client, "a-refresh-token", before_request=lambda: None)
    assert caught.value.words == "HTTP status 503"


def test_a_batch_continues_with_the_renewed_token(ready: tuple[Home, OAuthServer]) -> None:
    """Every connection after the first starts with it, though the server closes one after each mail."""
    home, server = ready
    server.expire_access_tokens()
    rows = "\n".join(json.dumps({"to": f"kund{n}@example.org", "subject": "x", "body": "x"}) for n in range(6))
    done = home.run("send", "--batch", "-", "--connections", "2", stdin=rows + "\n")
    assert done.code == 0, done.err
    assert len(server.mails()) == 6
    assert server.count("refresh_token") == 1
    refused = [login for login in server.logins() if login.problem]
    assert 1 <= len(refused) <= 2  # once a connection at most


def test_a_command_that_repeats_the_refused_token_is_not_tried_again(
    home: Home, ready: tuple[Home, OAuthServer]
) -> None:
    home, server = ready
    home.file("current", kept(home)["access_token"])
    assert (
        home.run(
            "configure", "info@example.test", "--account", "second", "--token-command", "cat current", "--from-name", ""
        ).code
        == 0
    )
    server.expire_access_tokens()
    before = len(server.logins())
    assert sent(home, "-a", "second").code == 77
    assert len(server.logins()) - before == 1


@pytest.mark.parametrize(
    "command", [("doctor",), ("configure", "info@example.test", "--unattended", "--from-name", "")]
)
def test_a_check_that_cannot_renew_the_token_keeps_the_current_one(
    ready: tuple[Home, OAuthServer], command: tuple[str, ...]
) -> None:
    home, server = ready
    before = kept(home)
    server.unavailable(20)
    assert home.run(*command).code != 0
    assert server.count("refresh_token") == 1
    assert (kept(home)["access_token"], kept(home)["expires_at"]) == (before["access_token"], before["expires_at"])
    assert sent(home).code == 0


def test_a_server_that_disconnects_after_its_challenge_has_refused_the_token(home: Home) -> None:
    said = base64.b64encode(b'{"status": "invalid_token"}')
    offers = b"250-localhost\r\n250 AUTH OAUTHBEARER\r\n"
    with ScriptedServer([b"220 ready\r\n", None, offers, None, b"334 " + said + b"\r\n", None, "drop"]) as server:
        token = ("--token-command", "printf a-token")
        done = home.run("configure", "asa@example.com", *plaintext_at(server.port), *token, "--json")
    assert (done.code, done.json["error"]["stage"]) == (77, "auth")
    assert done.json["error"]["code"] == "auth.token-revoked"


def test_a_stored_pause_in_the_past_is_ignored(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    change(home, expires_at=1.0, ask_again_at=-5.0)
    assert sent(home).code == 0


# signals in a batch, a flush or a check


def started(home: Home, *arguments: str) -> subprocess.Popen[str]:
    """A running command."""
    command = [sys.executable, "-m", "smtpsetup", *arguments]
    return subprocess.Popen(
        command, env=home.unmeasured.env, cwd=home.path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("how", ["batch", "flush"])
def test_a_signal_during_a_renewal_by_batch_or_flush_loses_no_sign_in(
    ready: tuple[Home, OAuthServer], number: signal.Signals, how: str
) -> None:
    home, server = ready
    home.file("b.jsonl", '{"to": "kund@example.org", "subject": "x", "body": "x"}\n')
    if how == "flush":
        assert home.run("send", "kund@example.org", "--body", "x", "--queue", "always").code == 0
    server.expire_access_tokens()  # only the server knows that
    server.slow(2)
    with started(home, *(("send", "--batch", "b.jsonl") if how == "batch" else ("outbox", "flush"))) as process:
        wait_for(lambda: server.requests("token", "refresh_token"))
        process.send_signal(number)
        assert process.wait(30) in (143, 130)
    assert sent(home).code == 0
    assert server.count("refresh_token") == 1


@pytest.mark.parametrize("command", [("doctor",), ("configure", "info@example.test", "--unattended")])
def test_ctrl_c_during_a_renewal_by_a_check_loses_no_sign_in(
    ready: tuple[Home, OAuthServer], command: tuple[str, ...]
) -> None:
    """The renewal runs in a process with its own session, which Ctrl-C does not reach."""
    home, server = ready
    before = kept(home)["access_token"]
    server.slow(2)
    with started(home, *command) as process:
        wait_for(lambda: server.requests("token", "refresh_token"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    wait_for(lambda: kept(home)["access_token"] != before)
    assert sent(home).code == 0
    assert server.count("refresh_token") == 1


def test_a_batch_stopped_during_a_renewal_sends_nothing_more(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.file(
        "b.jsonl",
        "".join(json.dumps({"to": f"kund{n}@example.org", "subject": "x", "body": "x"}) + "\n" for n in range(40)),
    )
    server.expire_access_tokens()
    server.slow(1.5)
    with started(home, "send", "--batch", "b.jsonl", "--connections", "3") as process:
        wait_for(lambda: server.requests("token", "refresh_token"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert len(server.mails()) < 20
    assert home.run("send", "--batch", "b.jsonl").code == 0
    assert sorted(mail.recipients[0] for mail in server.mails()) == sorted(f"kund{n}@example.org" for n in range(40))
    assert server.count("refresh_token") == 1


# an account that is changed meanwhile


OUTDATED = """
import sys
from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.oauth.access_token import renewed, secret_for
account = accounts.load(sys.argv[1]).account("info@example.test")
refused = secret_for(account, may_prompt=False)
print("ready", flush=True)
sys.stdin.readline()
try:
    renewed(account, refused)
except SmtpsetupError as error:
    print(error.code, error.exit_code)
"""


@pytest.mark.parametrize("change_of_account", ["another server", "a password", "gone"])
def test_a_process_with_an_outdated_account_does_not_send_its_new_secret(
    ready: tuple[Home, OAuthServer], change_of_account: str
) -> None:
    home, server = ready
    command = [sys.executable, "-c", OUTDATED, str(home.config)]
    with subprocess.Popen(
        command, env=home.env, cwd=home.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as older:
        assert older.stdout
        assert older.stdout.readline() == "ready\n"
        text = home.config.read_text()
        home.file("token", "a-secret-for-somebody-else\n")
        texts = {
            "another server": text.replace(server.token_endpoint, "https://elsewhere.example/token"),
            "a password": re.sub(r"oauth2 = \{.*\}\n", "", text).replace('auth = "oauth2"', 'auth = "password"'),
            "gone": "",
        }
        assert texts[change_of_account] != text
        home.config.write_text(texts[change_of_account])
        out, _err = older.communicate("\n", timeout=30)
    assert out == "auth.temporary 75\n"
    assert server.count("refresh_token") == 0


# several accounts, many mails


@pytest.mark.parametrize("trouble", ["revoked", "down"])
def test_an_account_without_a_token_does_not_hold_up_other_accounts(
    ready: tuple[Home, OAuthServer], sandbox: Sandbox, facts: SandboxFacts, trouble: str
) -> None:
    home, server = ready
    assert home.configure(facts, "--from-name", "", "--no-verify", address="zed@example.com").code == 0
    for account in ("info@example.test", "zed@example.com"):
        assert home.run("send", "-a", account, "kund@example.org", "--body", "x", "--queue", "always").code == 0
    server.expire_access_tokens()
    if trouble == "revoked":
        server.revoke()
    else:
        server.unavailable(9)
    done = home.run("outbox", "flush", "--json")
    assert done.code == (77 if trouble == "revoked" else 0)
    assert len(sandbox.mails) == 1
    (waiting,) = home.run("outbox", "list", "--json").json["result"]
    assert waiting["attempts"] == 1
    asked = server.count("refresh_token")
    home.run("outbox", "flush")
    assert server.count("refresh_token") == asked  # it is not due yet


def test_mails_of_a_batch_without_a_token_are_queued(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.file(
        "b.jsonl",
        '{"to": "kund@example.org", "subject": "x", "body": "x"}\n{"to": "b@example.org", "subject": "x", "body": '
        '"x"}\n',
    )
    server.expire_access_tokens()
    server.unavailable(9)
    done = home.run("send", "--batch", "b.jsonl", "--json")
    assert done.code == 0, done.err
    assert len(home.run("outbox", "list", "--json").json["result"]) == 2
    assert server.count("refresh_token") == 1


def test_a_check_does_not_delay_sending(ready: tuple[Home, OAuthServer]) -> None:
    """While `doctor` waits for a failing renewal, other processes send with the current token."""
    home, server = ready
    server.rule(status=503, delay=3, body="x")
    with started(home, "doctor") as looking:
        wait_for(lambda: server.requests("token", "refresh_token"))
        assert sent(home).code == 0
        looking.wait(60)
    assert server.count("refresh_token") == 1

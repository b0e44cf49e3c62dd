"""From `configure` to a delivered mail with OAuth2, against real servers."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.oauth_servers import CLIENT_ID, USER, OAuthServer
from tests.servers import ScriptedServer
from tests.signing_in import (
    ADDRESS,
    DEVICE,
    change,
    configured,
    expire,
    knows,
    signed_in,
    signing_in,
    signing_up,
    state_file,
)
from tests.workflows.conftest import plaintext_at

if TYPE_CHECKING:
    from tests.browsers import Chromium
    from tests.conftest import Home


def test_a_code_on_another_device_leads_to_a_delivered_mail(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    done = configured(home, server, "--json")
    assert done.code == 0, done.err
    assert (done.json["result"]["auth"], done.json["result"]["verified"]) == ("oauth2", True)
    sent = home.run("send", "kund@example.org", "-s", "Hej", "--body", "åäö")
    assert (sent.code, sent.err) == (0, "")
    assert [(mail.user, mail.recipients, mail.mechanism) for mail in server.mails()] == [
        (USER, ["kund@example.org"], "OAUTHBEARER")
    ]
    assert server.count("refresh_token") == 0
    assert (home.path / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("language", ["en", "sv"])
def test_a_browser_on_this_machine_leads_to_a_delivered_mail(oauth: tuple[Home, OAuthServer], language: str) -> None:
    home, server = oauth
    arguments = signing_up(home, "--browser")
    done = signing_in(home, *arguments, act=server.browse, pattern=ADDRESS, SMTPSETUP_LANG=language)
    assert done.code == 0, done.err
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    assert len(server.mails()) == 1


def test_signing_in_works_in_a_real_browser(oauth: tuple[Home, OAuthServer], chromium: Chromium) -> None:
    home, _server = oauth
    arguments = signing_up(home, "--browser")
    shown: list[str] = []

    def click_through(url: str) -> None:
        shown.append(chromium.sign_in(url, USER).text)

    done = signing_in(home, *arguments, act=click_through, pattern=ADDRESS)
    assert done.code == 0, done.err
    assert "Go back to the terminal" in shown[0]


def test_fifty_parallel_sends_with_an_expired_token_make_one_token_request(
    ready: tuple[Home, OAuthServer],
) -> None:
    home, server = ready
    expire(home, server)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        runs = list(
            pool.map(lambda n: home.run("send", f"kund{n}@example.org", "--body", "x", "--queue", "never"), range(50))
        )
    assert [run.code for run in runs] == [0] * 50, [run.err for run in runs if run.code]
    assert server.count("refresh_token") == 1
    assert len(server.mails()) == 50
    assert home.run("send", "kund@example.org", "--body", "x").code == 0


def test_a_refused_access_token_is_renewed_once(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    server.expire_access_tokens()
    assert home.run("send", "kund@example.org", "--body", "x", "--queue", "never").code == 0
    assert server.count("refresh_token") == 1
    server.expire_access_tokens()
    assert home.run("test", "--login-only").code == 0
    assert server.count("refresh_token") == 2


def test_a_revoked_sign_in_is_reported_after_one_request(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    server.revoke()
    done = home.run("send", "kund@example.org", "--body", "x", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.token-revoked")
    assert "smtpsetup login" in done.json["error"]["hints"][0]
    assert server.count("refresh_token") == 1


@pytest.mark.parametrize("trouble", ["unavailable", "page", "redirect", "drop"])
def test_trouble_at_the_token_endpoint_is_temporary_and_keeps_the_sign_in(
    ready: tuple[Home, OAuthServer], trouble: str
) -> None:
    home, server = ready
    expire(home, server)
    before = (home.path / "token").read_text()
    if trouble == "drop":
        server.rule(drop=True)
    else:
        getattr(server, trouble)()
    done = home.run("send", "kund@example.org", "--body", "x", "--queue", "never", "--json")
    assert (done.code, done.json["error"]["code"], done.json["error"]["retry"]) == (75, "auth.temporary", True)
    assert server.requests("elsewhere") == []
    assert (home.path / "token").read_text() == before
    assert home.run("send", "kund@example.org", "--body", "x", "--queue", "never").code == 0


def test_an_answer_without_a_new_refresh_token_keeps_the_old_one(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    server.settings(rotate=False)
    before = (home.path / "token").read_text()
    for _round in range(2):
        expire(home, server)
        server.without_refresh_token()
        assert home.run("send", "kund@example.org", "--body", "x", "--queue", "never").code == 0
    assert (home.path / "token").read_text() == before


def test_a_token_for_another_mailbox_is_reported_as_wrong_user(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    arguments = signing_up(home, "--json", address="other@example.test")
    done = signing_in(home, *arguments, act=server.approve_device, pattern=DEVICE)
    assert (done.code, done.json["error"]["code"]) == (77, "auth.wrong-user")
    assert done.json["error"]["message"].endswith("for other@example.test.")
    again = (
        f"smtpsetup configure other@example.test --auth oauth2 --provider testmail --client-id {CLIENT_ID} "
        f"--password-file {home.path}/token"
    )
    assert f"sign in as other@example.test: `{again}`" in done.json["error"]["hints"][0]
    assert not (home.path / "token").exists()
    assert home.run("accounts", "list", "--json").json["result"] == []


def test_a_declined_device_code_is_reported(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    arguments = signing_up(home, "--json")
    done = signing_in(home, *arguments, act=server.deny_device, pattern=DEVICE)
    assert (done.code, done.json["error"]["code"]) == (77, "auth.sign-in-declined")
    assert not (home.path / "token").exists()


def test_signing_in_works_after_slow_down(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    server.slow_down()
    done = configured(home, server)
    assert done.code == 0, done.err


def test_a_missing_client_id_is_reported_before_any_question(home: Home, oauth_server: OAuthServer) -> None:
    knows(home, oauth_server)
    del home.env["SMTPSETUP_TESTMAIL_CLIENT_ID"]
    done = home.run("configure", USER, "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")
    assert any("SMTPSETUP_TESTMAIL_CLIENT_ID" in hint for hint in done.json["error"]["hints"])


def test_gmail_with_oauth2_leads_to_a_hint_about_app_passwords(home: Home) -> None:
    done = home.run("configure", "namn@gmail.com", "--auth", "oauth2", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")
    assert "app-password" in done.json["error"]["hints"][0]


def test_a_command_can_provide_the_token(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.file("token-now", json.loads(state_file(home).read_text())["kept"]["access_token"] + "\n")
    done = home.run(
        "configure", USER, "--account", "by-command", "--token-command", "cat token-now", "--from-name", "", "--json"
    )
    assert done.code == 0, done.err
    assert home.run("send", "-a", "by-command", "kund@example.org", "--body", "x").code == 0
    assert len(server.mails()) == 1


def test_signing_in_again_remembers_client_id_and_tenant(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    knows(home, server, token_endpoint=f"{server.token_endpoint}?organisation={{tenant}}")
    assert configured(home, server, "--tenant", "mittforetag.se").code == 0
    server.revoke()
    change(home, expires_at=time.time() - 10)
    assert home.run("send", "kund@example.org", "--body", "x").code == 77
    del home.env["SMTPSETUP_TESTMAIL_CLIENT_ID"]
    assert 'tenant = "mittforetag.se"' in home.config.read_text()
    assert signing_in(home, "login", USER, act=server.approve_device, pattern=DEVICE).code == 0
    assert 'tenant = "mittforetag.se"' in home.config.read_text()
    assert "?organisation=mittforetag.se" in home.config.read_text()
    assert home.run("send", "kund@example.org", "--body", "x").code == 0


def test_removing_an_account_deletes_its_token(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    assert state_file(home).stat().st_mode & 0o777 == 0o600
    assert home.run("accounts", "remove", USER).code == 0
    assert list((home.path / ".local/state/smtpsetup/tokens").glob("*.json")) == []


def test_doctor_warns_of_a_sign_in_that_is_long_unused(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    change(home, refreshed_at=time.time() - 70 * 86_400)
    checks = {check["check"]: check for check in home.run("doctor", "--json").json["result"]["checks"]}
    assert checks["sign-in"]["status"] == "warning"
    assert "90" in checks["sign-in"]["message"]


def test_accounts_show_gives_the_age_of_the_sign_in(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    change(home, refreshed_at=time.time() - 40 * 86_400, signed_in_at=time.time() - 50 * 86_400)
    sign_in = home.run("accounts", "show", "--json").json["result"]["sign_in"]
    assert (round(sign_in["unused_days"]), round(sign_in["signed_in_days"]), sign_in["lives_unused_days"]) == (
        40,
        50,
        90,
    )
    assert "last used 40 days ago; after 90 days" in " ".join(home.run("accounts", "show").out.split())


def test_doctor_warns_of_a_young_sign_in_of_a_client_in_testing(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    table = home.path / ".config/smtpsetup/providers.toml"
    table.write_text(table.read_text() + 'testing_days = 7\nregister_url = "https://example.test/clients"\n')
    signed_in(home, server)
    for days, status in ((2, "warning"), (9, "ok")):
        change(home, signed_in_at=time.time() - days * 86_400)
        checks = {check["check"]: check for check in home.run("doctor", "--json").json["result"]["checks"]}
        assert checks["sign-in"]["status"] == status


REFUSALS = {
    "oauth-signin-frequency": (
        "invalid_grant",
        (
            "AADSTS70043: The refresh token has expired or is invalid due to sign-in frequency checks by conditional "
            "access."
        ),
        "auth.token-expired",
    ),
    "oauth-gmail-7days": ("invalid_grant", "Token has been expired or revoked.", "auth.token-revoked"),
}


@pytest.mark.parametrize("situation", REFUSALS)
def test_an_ended_sign_in_is_reported_with_the_providers_words(oauth: tuple[Home, OAuthServer], situation: str) -> None:
    home, server = oauth
    error, description, code = REFUSALS[situation]
    signed_in(home, server)
    expire(home, server)
    server.rule(status=400, body={"error": error, "error_description": description})
    done = home.run("send", "kund@example.org", "--body", "x", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, code)
    assert any(description in cause for cause in done.json["error"]["causes"])
    assert any(f"smtpsetup login {USER}" in hint for hint in done.json["error"]["hints"])
    if situation == "oauth-gmail-7days":
        assert any("testing" in cause for cause in done.json["error"]["causes"])


STATUSES = {
    "OAUTHBEARER": ({"status": "insufficient_scope", "scope": "https://mail.test/smtp"}, "auth.scope-refused"),
    "XOAUTH2": ({"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}, "auth.token-revoked"),
}


@pytest.mark.parametrize("mechanism", STATUSES)
@pytest.mark.parametrize("challenge", ["json", "secret", "nonsense"])
def test_the_challenge_to_a_refused_token_is_diagnosed(home: Home, mechanism: str, challenge: str) -> None:
    status, code = STATUSES[mechanism]
    said = {
        "json": json.dumps(status),
        "secret": json.dumps({"status": "a-token-of-ours\x1b[31m"}),
        "nonsense": "no JSON",
    }[challenge]
    refusal = (
        f"334 {base64.b64encode(said.encode()).decode()}\r\n".encode(),
        None,
        b"535 5.7.8 no\r\n",
        None,
        b"221 bye\r\n",
    )
    with ScriptedServer(
        (b"220 ready\r\n", None, f"250-localhost\r\n250 AUTH {mechanism}\r\n".encode(), None, *refusal)
    ) as server:
        token = ("--token-command", "printf a-token-of-ours")
        done = home.run("configure", "asa@example.com", *plaintext_at(server.port), *token, "--json")
    error = done.json["error"]
    assert (done.code, error["code"]) == (77, code if challenge == "json" else "auth.token-revoked")
    assert ("scope: " in json.dumps(error["reply"])) == (challenge == "json")
    assert "a-token-of-ours" not in done.out + done.err


@pytest.mark.parametrize("program", ["smtpsetup", "smtpsetup-sendmail"])
def test_a_send_with_a_valid_token_imports_no_oauth2_requests(ready: tuple[Home, OAuthServer], program: str) -> None:
    """Cron pays for every import with every mail; a renewal, once an hour, may cost more."""
    home, server = ready
    options = (
        ("send", "kund@example.org", "--body", "x") if program == "smtpsetup" else ("-a", USER, "kund@example.org")
    )
    command = [sys.executable, "-X", "importtime", str(Path(sys.executable).with_name(program)), *options]
    imported: list[str] = []
    for _renewed in (False, True):
        done = subprocess.run(
            command,
            env=home.unmeasured.env,
            cwd=home.path,
            input="Subject: x\n\nx\n",
            capture_output=True,
            text=True,
            check=True,
        )
        modules = {
            line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")
        }
        assert "smtpsetup.oauth.token_cache" in modules
        imported.append(
            " ".join(sorted(modules & {"smtpsetup.oauth.request", "smtpsetup.oauth.refresh", "http.client"}))
        )
        expire(home, server)
    assert imported[0] == ""
    assert "smtpsetup.oauth.request" in imported[1]
    assert len(server.mails()) == 2

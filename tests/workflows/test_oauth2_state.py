"""Stored tokens survive wrong clocks, full disks, damage and kills, and are never shown."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth
from smtpsetup.core.oauth_types import TokenClient
from smtpsetup.oauth import access_token, token_cache
from tests.conftest import account_at
from tests.oauth_servers import USER, OAuthServer
from tests.servers import missing
from tests.signing_in import ADDRESS, DEVICE, change, expire, kept, sent, signing_in, signing_up, state_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home

DAY = 86_400


# the clock


@pytest.mark.parametrize("is_still_good", [True, False])
@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_a_clock_jump_costs_one_renewal_at_most(
    ready: tuple[Home, OAuthServer],
    days: float,
    is_still_good: bool,  # noqa: FBT001  a parameter
) -> None:
    home, server = ready
    if not is_still_good:
        server.expire_access_tokens()
    then = time.time() + days * DAY
    change(home, refreshed_at=then, signed_in_at=then, expires_at=then + 3600)
    for _mail in range(2):
        done = sent(home)
        assert done.code == 0, done.err
    assert server.count("refresh_token") == 1
    assert abs(kept(home)["refreshed_at"] - time.time()) < 60


def test_a_refused_token_is_renewed_whatever_lifetime_it_claims(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    server.expire_access_tokens()
    change(home, expires_at=time.time() + 4000 * DAY)
    for _mail in range(2):
        assert sent(home).code == 0
    assert server.count("refresh_token") == 1


# many at once


def test_eight_parallel_sends_with_a_refused_token_make_one_request(ready: tuple[Home, OAuthServer]) -> None:
    """It has not expired for any of them. The server revokes all refresh tokens where one is used twice."""
    home, server = ready
    server.expire_access_tokens()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _number: sent(home), range(8)))
    assert [run.code for run in runs] == [0] * 8, [run.err for run in runs if run.code]
    assert server.count("refresh_token") == 1
    assert len(server.mails()) == 8


def test_a_lock_that_is_held_too_long_is_a_temporary_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPSETUP_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(access_token, "_LOCK_SECONDS", 0.2)
    account = account_at(465, auth=Auth.OAUTH2, oauth2=TokenClient("id", "https://localhost/token"))
    with token_cache.locked(str(tmp_path), account.name, 1), pytest.raises(SmtpsetupError) as caught:
        access_token.secret_for(account, may_prompt=False)
    assert (caught.value.code, caught.value.exit_code) == ("auth.temporary", 75)


def test_a_mail_is_queued_while_the_token_endpoint_is_unavailable(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    expire(home, server)
    server.unavailable()
    done = home.run("send", "kund@example.org", "--body", "x", "--json")
    assert (done.code, done.json["result"]["queued"]) == (0, True)
    assert server.mails() == []
    assert home.run("outbox", "retry", str(done.json["result"]["outbox_id"])).code == 0
    assert home.run("outbox", "flush").code == 0
    assert [mail.recipients for mail in server.mails()] == [["kund@example.org"]]


def test_a_command_whose_token_is_refused_is_run_once_more(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    home.file("current", kept(home)["access_token"])
    home.file("print", '#!/bin/sh\necho run >> "$HOME/runs"; cat "$HOME/current"\n', 0o700)
    options = ("--account", "by-command", "--token-command", str(home.path / "print"), "--from-name", "")
    assert home.run("configure", USER, *options).code == 0
    server.expire_access_tokens()
    (home.path / "runs").unlink()
    before = len(server.logins())
    done = sent(home, "-a", "by-command", "--json")
    assert done.code == 77
    assert (home.path / "runs").read_text() == "run\n" * 2
    assert len(server.logins()) - before <= 2
    assert server.count("refresh_token") == 0


# the file


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "null", "[]", '"x"', '{"format": 1}', '{"format": 99, "kept": {}}', "\0" * 4096, "\xff"),
        "[" * 100_000,
    ],
)
def test_a_damaged_token_file_costs_one_renewal(ready: tuple[Home, OAuthServer], content: str) -> None:
    home, server = ready
    state_file(home).write_bytes(content.encode("latin-1"))
    done = sent(home)
    assert done.code == 0, done.err
    assert server.count("refresh_token") == 1


@pytest.mark.parametrize(
    "values",
    [
        {"expires_at": "soon"},
        {"expires_at": None},
        {"refreshed_at": []},
        {"access_token": 5},
        {"access_token": "a\r\nMAIL FROM:<>"},
        {"access_token": "åäö"},
        {"refresh_token": 5, "expires_at": 0},
    ],
)
def test_invalid_values_in_a_token_file_cost_one_renewal(
    ready: tuple[Home, OAuthServer], values: dict[str, Any]
) -> None:
    home, server = ready
    change(home, **values)
    done = sent(home)
    assert done.code == 0, done.err
    assert server.count("refresh_token") == 1


def test_the_cached_token_of_another_account_is_not_used(oauth: tuple[Home, OAuthServer]) -> None:
    home, server = oauth
    other = signing_up(home, "--password-file", str(home.path / "other"), address="asa@example.test")
    assert (
        signing_in(home, *other, act=lambda code: server.approve_device(code, "asa@example.test"), pattern=DEVICE).code
        == 0
    )
    foreign = state_file(home).read_text()
    assert signing_in(home, *signing_up(home, "--default"), act=server.approve_device, pattern=DEVICE).code == 0
    (own,) = (home.path / ".local/state/smtpsetup/tokens").glob("info*.json")
    own.write_text(foreign)
    assert sent(home, "-a", USER).code == 0
    assert [(mail.user, mail.sender) for mail in server.mails()] == [(USER, USER)]
    assert server.count("refresh_token") == 1


def test_token_files_are_readable_by_their_owner_alone(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    expire(home, server)
    assert sent(home).code == 0
    modes = {
        path.name: oct(path.stat().st_mode & 0o777)
        for path in [*state_file(home).parent.iterdir(), home.path / "token"]
    }
    assert set(modes.values()) == {"0o600"}, modes
    for directory in (state_file(home).parent, state_file(home).parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_reported_and_does_not_end_the_sign_in(ready: tuple[Home, OAuthServer]) -> None:
    """The server revokes the old refresh token, so a token that cannot be stored must not be requested."""
    home, server = ready
    expire(home, server)
    done = sent(dataclasses.replace(home, disk_is_full=True), "--json")
    error = done.json["error"]
    assert "None" not in str((error["message"], error["hints"]))
    assert done.code in (74, 75)
    assert sent(home).code == 0


def test_a_refresh_token_in_a_read_only_place_is_not_lost(ready: tuple[Home, OAuthServer]) -> None:
    """It is kept with the access token, as for read-only stores, or not requested at all."""
    home, server = ready
    if os.getuid() != 0:
        missing("needs root, to make a directory read-only for one process")
    (home.path / "vault").mkdir()
    shutil.move(home.path / "token", home.path / "vault" / "token")
    home.config.write_text(
        home.config.read_text().replace(str(home.path / "token"), str(home.path / "vault" / "token"))
    )
    expire(home, server)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    read_only = dataclasses.replace(home, prefix=("unshare", "--mount", "sh", "-c", script, str(home.path / "vault")))
    assert sent(read_only, "--json").json["command"] == "send"
    done = sent(home)
    assert done.code == 0, done.err


# a kill


KILLER = """
import os, sys
left = int(os.environ["KILL_AT"])
is_armed = os.environ["KILL_AFTER"] == ""
def hook(event, arguments):
    global left, is_armed
    writes = os.O_WRONLY | os.O_RDWR
    if event == "os.rename" or (event == "open" and isinstance(arguments[2], int) and arguments[2] & writes):
        if os.environ["HOME"] not in str(arguments[0]):
            return
        left -= is_armed
        if left == 0:
            os.kill(os.getpid(), 9)
        is_armed = is_armed or (event == "os.rename" and str(arguments[1]) == os.environ["KILL_AFTER"])
sys.addaudithook(hook)
"""


def killed(home: Home, step: int, after: str = "") -> bool:
    """Send a mail and be killed before the n-th file is opened for writing or renamed.

    Returns whether there was one. With `after` the count starts once a file has been renamed to that name.
    """
    home.file("killer/sitecustomize.py", KILLER)
    killer = {"PYTHONPATH": str(home.path / "killer"), "KILL_AT": str(step), "KILL_AFTER": after}
    done = sent(home.unmeasured, **killer)
    assert done.code in (0, -9), done.err
    return done.code == -9


def test_a_kill_at_any_step_leaves_a_working_account(ready: tuple[Home, OAuthServer]) -> None:
    """The server keeps the old refresh token valid, as Microsoft does.

    Otherwise a kill just before the new one is stored would end the sign-in.
    """
    home, server = ready
    server.settings(rotate=False)
    steps = 0
    expire(home, server)
    while killed(home, steps + 1):
        steps += 1
        done = sent(home)
        assert done.code == 0, done.err
        expire(home, server)
    assert steps >= 3  # the lock, and a file of its own that takes the place of the old one
    assert len(server.mails()) >= steps + 1


def test_a_kill_after_the_refresh_token_is_stored_leaves_a_working_account(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    steps = 0
    expire(home, server)
    while killed(home, steps + 1, after=str(home.path / "token")):
        steps += 1
        done = sent(home)
        assert done.code == 0, done.err
        expire(home, server)
    assert steps >= 2  # the access token's file, and its name


def test_the_new_refresh_token_is_stored_before_anything_else(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    expire(home, server)
    home.file(
        "watcher/sitecustomize.py",
        "import os, sys\nlog = os.open(os.environ['HOME'] + '/renamed', os.O_WRONLY | os.O_CREAT)\n"
        "sys.addaudithook(lambda event, arguments: event == 'os.rename' and os.write(log, "
        "f'{arguments[1]}\\n'.encode()))\n",
    )
    assert sent(home.unmeasured, PYTHONPATH=str(home.path / "watcher")).code == 0
    own, state = str(home.path / "token"), str(state_file(home))
    # both tokens at once, where there was room; then to its place
    assert (home.path / "renamed").read_text().splitlines()[:3] == [
        state,
        own,
        state,
    ]


# what is shown


def test_an_internal_error_shows_no_token(ready: tuple[Home, OAuthServer]) -> None:
    home, _server = ready
    home.file(
        "broken/sitecustomize.py",
        "import sys\nfrom smtpsetup.smtp import sasl\n"
        "def broken(wire, mechanism, username, token, server):\n    shown = token.reveal()\n    raise "
        "ValueError(f'bad {shown} {token!r} {token}')\n"
        "sasl.log_in_with_token = broken\n",
    )
    done = home.run(
        "send", "kund@example.org", "--body", "x", "--queue", "never", "-v", PYTHONPATH=str(home.path / "broken")
    )
    assert done.code == 1, done.err
    assert "internal.bug" in done.err
    assert kept(home)["access_token"] not in done.out + done.err


@pytest.mark.parametrize("options", [(), ("--browser",)])
def test_no_secret_of_a_sign_in_is_shown_or_left_elsewhere(
    oauth: tuple[Home, OAuthServer], options: tuple[str, ...]
) -> None:
    home, server = oauth
    act = server.browse if options else server.approve_device
    done = signing_in(
        home, *signing_up(home, "-v", "--json", *options), act=act, pattern=ADDRESS if options else DEVICE
    )
    assert done.code == 0, done.err
    first, first_refresh = kept(home)["access_token"], (home.path / "token").read_text().strip()
    server.expire_access_tokens()
    runs = [
        done,
        sent(home, "-v", "--json"),
        home.run("test", "-v", "--json"),
        home.run("accounts", "show", "--json"),
        home.run("accounts", "show"),
        home.run("doctor", "-v"),
        home.run("export", "msmtp"),
    ]
    secrets = (first, first_refresh, kept(home)["access_token"], (home.path / "token").read_text().strip())
    assert len(set(secrets)) == 4
    assert not [(run.code, secret) for run in runs for secret in secrets if secret in run.out + run.err]
    holders = {
        path.name
        for path in home.path.rglob("*")
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
    }
    assert holders == {"token", state_file(home).name}
    assert json.loads(state_file(home).read_text())["kept"]["refresh_token"] == ""

"""Machines that share an outbox share the sign-in of an account: one renews, and all use it.

The server revokes every refresh token after its use, and all of them where one is used twice.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.outbox.postgresql import token_store
from tests.oauth_servers import USER
from tests.servers import wait_for
from tests.signing_in import DEVICE, change, expire, kept, sent, signing_in, signing_up

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.conftest import Home
    from tests.oauth_servers import OAuthServer
    from tests.postgresql import Cluster


def machine(home: Home, name: str) -> Home:
    """Another machine with the same configuration, which has not signed in itself."""
    path = home.path.parent / name
    shutil.copytree(home.path, path, ignore=shutil.ignore_patterns("tokens", "token", "key", "outbox*"))
    env = {key: value.replace(str(home.path), str(path)) for key, value in home.env.items()}
    other = dataclasses.replace(home, path=path, env=env)
    text = other.config.read_text().replace(str(home.path), str(path))
    other.config.write_text(text)
    return other


@pytest.fixture
def first(ready: tuple[Home, OAuthServer], shared: OutboxSettings) -> Home:
    """A machine that is signed in and has made the key of a shared outbox."""
    home, _server = ready
    key = home.path / "key"
    home.config.write_text(f'outbox = "{shared.url}"\n' + home.config.read_text())
    done = home.run("outbox", "init", "--key-file", str(key))
    assert done.code == 0, done.err
    assert key.stat().st_mode & 0o777 == 0o600
    return home


@pytest.fixture
def second(first: Home) -> Home:
    """A machine that has got the key."""
    other = machine(first, "second")
    printed = first.run("outbox", "share-key")
    assert printed.code == 0, printed.err
    taken = other.run("outbox", "share-key", "--receive", "--key-file", str(other.path / "key"), stdin=printed.out)
    assert taken.code == 0, taken.err
    return other


def test_one_machine_renews_for_all(first: Home, second: Home, oauth_server: OAuthServer) -> None:
    expire(first, oauth_server)
    assert sent(first).code == 0
    done = sent(second)
    assert done.code == 0, done.err
    assert oauth_server.count("refresh_token") == 1
    for home in (first, second):  # what is kept on a machine has no refresh token
        assert kept(home)["refresh_token"] == ""
    for _turn in range(2):
        oauth_server.expire_access_tokens()
        change(second, expires_at=time.time() - 1)
        change(first, expires_at=time.time() - 1)
        done = sent(second)
        assert done.code == 0, done.err
        done = sent(first)
        assert done.code == 0, done.err
    assert oauth_server.count("refresh_token") == 3


def test_many_machines_at_once_need_one_renewal(first: Home, second: Home, oauth_server: OAuthServer) -> None:
    expire(first, oauth_server)
    assert sent(first).code == 0
    assert sent(second).code == 0
    for home in (first, second):
        change(home, expires_at=time.time() - 1)
    oauth_server.expire_access_tokens()
    before = oauth_server.count("refresh_token")
    # the shared token has expired, too
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(sent, [first, second] * 4))
    assert [run.code for run in runs] == [0] * 8, [run.err for run in runs if run.code]
    assert oauth_server.count("refresh_token") - before <= 1


def test_workers_that_are_killed_need_one_renewal_for_all(first: Home, second: Home, oauth_server: OAuthServer) -> None:
    expire(first, oauth_server)
    assert sent(first).code == 0
    with contextlib.ExitStack() as stack:

        def worker(home: Home) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "smtpsetup", "outbox", "work"]
            env = home.unmeasured.env
            process = subprocess.Popen(command, env=env, cwd=home.path, stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        lines = "".join(f'{{"to": "k{number}@example.org", "body": "x"}}\n' for number in range(120))
        assert first.run("send", "--batch", "-", "--queue", "always", stdin=lines).code == 0
        workers = [worker(home) for home in (first, second, first, second)]
        wait_for(lambda: len(oauth_server.mails()) >= 20)
        oauth_server.expire_access_tokens()
        for number in range(4):
            workers[number].kill()
            workers.append(worker((second, first)[number % 2]))
        lines = lines.replace("@example.org", "@example.net")
        assert second.run("send", "--batch", "-", "--queue", "always", stdin=lines).code == 0
        wait_for(lambda: len({mail.recipients[0] for mail in oauth_server.mails()}) == 241, 110)
    assert oauth_server.count("refresh_token") <= 2  # the first for all, and one after the tokens had expired


def test_a_machine_without_the_key_is_told_how_to_get_it(first: Home, oauth_server: OAuthServer) -> None:
    other = machine(first, "keyless")
    other.config.write_text(other.config.read_text().replace("/key", "/nothing"))
    run = sent(other, "--json")
    error = run.json["error"]
    assert (run.code, error["code"]) == (78, "secret.missing")
    assert "share-key --receive" in error["hints"][0]
    assert oauth_server.count("refresh_token") == 0


def test_a_sign_in_that_cannot_be_renewed_now_is_a_passing_trouble(
    first: Home, cluster: Cluster, shared: OutboxSettings, oauth_server: OAuthServer
) -> None:
    expire(first, oauth_server)
    name = shared.url.rpartition("/")[2]
    cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    run = sent(first, "--json")
    assert (run.code, run.json["error"]["code"]) == (75, "outbox.unavailable")
    kept_here = first.run("send", "kund@example.org", "--body", "x")
    assert kept_here.code == 0
    assert "on this machine" in " ".join(kept_here.err.split())
    cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    flushed = first.run("outbox", "flush", "--now", "--json")
    assert flushed.json["result"]["sent"] == 1, flushed.err


def test_a_new_sign_in_is_for_all(first: Home, second: Home, oauth_server: OAuthServer) -> None:
    oauth_server.revoke()
    expire(first, oauth_server)
    assert sent(first).code == 77
    done = signing_in(first, *signing_up(first), act=oauth_server.approve_device, pattern=DEVICE)
    assert done.code == 0, done.err
    done = sent(second)
    assert done.code == 0, done.err
    assert oauth_server.count("refresh_token") <= 1  # the one that was refused


def test_the_key_is_never_shown(first: Home, shared: OutboxSettings) -> None:
    settings = shared._replace(key=SecretSource(Store.FILE, str(first.path / "key")))
    key = token_store.own_key(settings)
    run = first.run("outbox", "share-key", "--json")
    assert (run.code, key in run.out + run.err) == (78, False)
    assert key not in first.config.read_text()


def test_what_is_no_key_is_refused(first: Home, tmp_path: Path) -> None:
    for text in ("", "abc", "A" * 44, "Ä" * 44):
        run = first.run("outbox", "share-key", "--receive", "--key-file", str(tmp_path / "key"), stdin=text)
        assert run.code == 78, run.err
    assert str(tmp_path / "key") not in first.config.read_text()
    assert not (tmp_path / "key").exists()
    assert USER in first.config.read_text()

"""What lies in the relay's state directory: the mails that it answered 250 for, and broken or foreign files."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mail_server import MailServer
from tests.recording import plain_account, state_dir
from tests.relay import MAIL, add_client, running_relay
from tests.servers import closed_port, free_port, wait_for

if TYPE_CHECKING:
    from tests.conftest import Home


# what was answered 250


def test_a_second_relay_on_one_directory_is_refused(home: Home) -> None:
    with MailServer() as server:
        plain_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay:
            second = home.run("relay", "--port", str(free_port()))
            assert (second.code, f"running already, on 127.0.0.1:{relay.port}" in second.err) == (69, True)
            assert home.run("relay", "--status").code == 0
            with relay.client() as client:
                assert client.log_in(password).startswith("235")
                assert client.hand_over().startswith("250")
        with running_relay(home):  # the lock ends with the process
            pass


# files in the state directory

BROKEN = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "another version": '{"version": 2, "clients": {}}',
    "clients in a list": '{"version": 1, "clients": []}',
    "a client without a hash": '{"version": 1, "clients": {"a": {}}}',
    "all addresses": '{"version": 1, "clients": {"a": {"password_hash": "", "nets": ["0.0.0.0/0"]}}}',
    "NUL": "\0",
    "not a number": '{"version": 1, "clients": {"a": {"password_hash": "", "per_day": NaN}}}',
}
DEEP = {
    "an endless number": '{"version": 1, "clients": {"a": {"password_hash": "", "per_day": 1e999}}}',
    "lists in one another": "[" * 100_000,
}


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name) for name, text in (BROKEN | DEEP).items()],
)
def test_a_broken_file_of_clients_lets_nobody_in(home: Home, text: str) -> None:
    plain_account(home, 9)
    add_client(home)
    home.file(".local/state/smtpsetup/relay-clients.json", text)
    run = home.run("relay", "--port", str(free_port()))
    assert (run.code, "config.invalid" in run.err) == (78, True), run.err


def test_a_file_of_clients_that_breaks_later_changes_nothing(home: Home) -> None:
    plain_account(home, 9)
    password = add_client(home)
    with running_relay(home) as relay, relay.client() as client:
        assert client.log_in(password).startswith("235")
        for text in BROKEN.values():
            home.file(".local/state/smtpsetup/relay-clients.json", text)
            assert client.say("MAIL FROM:<info@example.com>").startswith("250")
            assert client.say("RSET").startswith("250")
        wait_for(lambda: "config.invalid" in (home.path / "relay.err").read_text())


def test_a_broken_file_of_clients_does_not_end_the_watchdog(home: Home, tmp_path: Path) -> None:
    plain_account(home, 9)
    add_client(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        with running_relay(home, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000"):
            while systemd.recv(100) != b"WATCHDOG=1":
                pass
            home.file(".local/state/smtpsetup/relay-clients.json", DEEP["an endless number"])
            end = time.monotonic() + 3
            while time.monotonic() < end:  # a few that were on their way may come
                assert systemd.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("kind", ["link", "directory", "hard link"])
def test_a_file_of_clients_that_is_none_of_its_own_is_not_read(home: Home, tmp_path: Path, kind: str) -> None:
    plain_account(home, 9)
    add_client(home)
    path = Path(state_dir(home), "relay-clients.json")
    other = tmp_path / "other"
    path.rename(other)
    {"link": path.symlink_to, "directory": lambda _other: path.mkdir(), "hard link": path.hardlink_to}[kind](other)
    run = home.run("relay", "--port", str(free_port()))
    assert (run.code, "Traceback" in run.err) == (74, False), run.err


def test_no_escape_sequence_of_the_file_of_clients_reaches_the_terminal(home: Home) -> None:
    plain_account(home, 9)
    rows = {"\x1b[31mred": {"password_hash": "", "senders": ["\x1b]0;x\x07"], "account": "\x9b2J"}}
    home.file(".local/state/smtpsetup/relay-clients.json", json.dumps({"version": 1, "clients": rows}))
    for command in (("relay", "list"), ("card",)):
        run = home.run(*command)
        assert (run.code, "config.invalid" in run.err) == (78, True)
        assert all(line.isprintable() for line in (run.out + run.err).splitlines())
    rows = {"red": {"password_hash": "", "senders": ["\x1b]0;x\x07"], "account": "\x9b2J"}}
    home.file(".local/state/smtpsetup/relay-clients.json", json.dumps({"version": 1, "clients": rows}))
    shown = home.run("relay", "list").out
    assert "red" in shown
    assert all(line.isprintable() for line in shown.splitlines())


# loops


def test_a_relay_whose_account_is_itself_does_not_start(home: Home) -> None:
    port = free_port()
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        plain_account(home, port, host=f'"{host}"')
        run = home.run("relay", "--port", str(port))
        assert (run.code, "config.invalid" in run.err) == (78, True), run.err


def test_a_mail_does_not_go_round_when_the_account_becomes_the_relay(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        add_client(home, "device", "--net", "127.0.0.1")
        with running_relay(home) as relay:
            plain_account(home, relay.port)
            wait_for(lambda: time.time() - home.config.stat().st_mtime > 0.3)  # the relay looks at it again
            with relay.client() as client:
                client.say("EHLO test")
                assert client.hand_over(MAIL)[:1] in {"2", "4", "5"}
            out = home.path / "relay.out"
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: out.read_text().count("is sent") > 100, 5)
            assert out.read_text().count("is sent") <= 100

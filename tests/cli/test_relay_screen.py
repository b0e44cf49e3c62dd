"""What the relay shows a person: refusals, the form for each kind of program, and its service."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.recording import RecordingServer, plain_account
from tests.relay import add_client, running_relay
from tests.servers import missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home


@pytest.fixture
def account(home: Home) -> Iterator[RecordingServer]:
    """An account of this home; the server is that of the account."""
    with RecordingServer() as server:
        plain_account(home, server.port)
        yield server


@pytest.fixture
def systemctl(home: Home) -> str:
    """A PATH with a systemctl that notes what it is told, and fails where a file `broken` is there."""
    tools = home.path / "tools"
    tools.mkdir()
    fails = f"[ ! -e {home.path}/broken ] || {{ echo no bus >&2; exit 1; }}"
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {home.path}/said\n{fails}\n')
    (tools / "systemctl").chmod(0o755)
    return f"{tools}:{home.env['PATH']}"


def units_of(home: Home) -> set[str]:
    return {unit.name for unit in home.path.glob(".config/systemd/user/*")}


def test_a_refusal_has_a_line_once(home: Home, account: RecordingServer) -> None:
    with running_relay(home) as relay, relay.client() as client:
        client.say("EHLO test")
        for _try in range(3):
            assert client.say("MAIL FROM:<info@example.com>").startswith("530")
        wait_for(lambda: "127.0.0.1 was refused: Log in first" in (home.path / "relay.err").read_text())
        assert (home.path / "relay.err").read_text().count("was refused") == 1


def test_the_place_of_the_last_run_is_on_the_card(home: Home, account: RecordingServer) -> None:
    add_client(home)
    with running_relay(home, with_tls=True) as relay:
        assert f"or {relay.tls_port}, with SSL/TLS" in home.run("card").out
    shown = home.run("card").out
    assert str(relay.port) in shown
    assert "Start the relay" in shown


def test_a_device_gets_the_address_by_which_it_reaches_this_machine(home: Home, account: RecordingServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            missing("needs a network interface beside the loopback")
        address = str(sock.getsockname()[0])
    shown = home.run("relay", "add-client", "printer", "--net", "192.168.1.20")
    assert re.search(rf"^ +Server +{re.escape(address)} ", shown.out, re.MULTILINE)
    assert "crosses your network unencrypted" in shown.out
    assert "--host 0.0.0.0" in shown.out
    assert "Password" not in shown.out


def test_the_conversation_with_the_provider_is_shown_with_v(home: Home, account: RecordingServer) -> None:
    password = add_client(home)
    with running_relay(home, "-v") as relay, relay.client() as client:
        client.log_in(password)
        client.hand_over()
        wait_for(lambda: "MAIL FROM:<info@example.com>" in (home.path / "relay.err").read_text())
    assert password not in (home.path / "relay.err").read_text()


@pytest.mark.parametrize("option", ["--strict", "--print"])
def test_an_option_that_belongs_to_another_is_refused_alone(home: Home, option: str) -> None:
    assert home.run("relay", option).code == 2


def test_units_that_cannot_be_started_are_taken_back(home: Home, account: RecordingServer, systemctl: str) -> None:
    home.file("broken", "")
    run = home.run("relay", "--install", "-v", PATH=systemctl)
    assert (run.code, "@reboot" in run.err) == (69, True)
    assert units_of(home) == set()
    assert home.run("relay", "--uninstall", PATH=systemctl).out.startswith("The relay is not set up")


def test_a_service_is_installed_and_removed(home: Home, account: RecordingServer, systemctl: str) -> None:
    assert home.run("relay", "--install", "--tls-port", "4650", PATH=systemctl).code == 0
    assert units_of(home) == {"smtpsetup-relay.socket", "smtpsetup-relay-tls.socket", "smtpsetup-relay.service"}
    removed = home.run("relay", "--uninstall", "--json", PATH=systemctl).json["result"]["removed"]
    assert len(removed) == 3
    assert units_of(home) == set()
    said = (home.path / "said").read_text()
    assert "--user enable --now" in said
    assert "--user disable --now" in said

"""Attacks over the network: from which addresses a client may come, and what is taken without TLS."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.faults.relays import NETS_ADDRESS, Attacker, new_home, target
from tests.recording import plain_account
from tests.relay import Client, add_client, is_relay, plain, running_relay
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home
    from tests.faults.relays import Target


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, name_server: str) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("network"), name_server) as running:
        yield running


# addresses


def test_a_client_with_addresses_comes_from_no_others(relay: Target, guest: Client) -> None:
    with Attacker(relay.relay.port, NETS_ADDRESS) as device:
        device.say("EHLO test")
        assert device.hand_over().startswith("250")
    assert guest.say("MAIL FROM:<info@example.com>").startswith("530")


@pytest.mark.parametrize(
    "net", ["0.0.0.0/0", "::/0", "1.2.3.4/0", "0.0.0.0/1", "::/16", "0/0", "", "*", "any", "0.0.0.0/0.0.0.0"]
)
def test_no_client_gets_all_addresses(relay: Target, net: str) -> None:
    assert relay.relay.home.run("relay", "add-client", "everybody", "--net", net).code == 2


def test_a_wider_network_of_another_client_does_not_lift_a_binding(relay: Target) -> None:
    add_client(relay.relay.home, "a-wide", "--net", "127.8.0.0/16")
    add_client(relay.relay.home, "b-narrow", "--net", "127.8.8.8", "--from", "kund@example.com")

    def answer() -> str:
        with Attacker(relay.relay.port, "127.8.8.8") as device:
            device.say("EHLO test")
            return device.say("MAIL FROM:<info@example.com>")

    wait_for(lambda: answer().startswith("553"))  # with the first client alone it is another answer, for a moment


def test_an_ipv4_address_counts_over_ipv6_sockets_too(tmp_path: Path, name_server: str) -> None:
    home = new_home(tmp_path, name_server)
    plain_account(home, 9)
    add_client(home, "device", "--net", NETS_ADDRESS)
    assert home.run("relay", "add-client", "mapped", "--net", "::ffff:0:0/96").code == 2
    with running_relay(home, "--host", "::") as relay:
        for source, expected in ((NETS_ADDRESS, "250"), ("127.0.7.7", "530")):
            with Attacker(relay.port, source) as client:
                client.say("EHLO test")
                assert client.say("MAIL FROM:<info@example.com>").startswith(expected)


# off the loopback


def own_address() -> str:
    """An address of this machine by which it is reached from others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            missing("needs an address other than that of the loopback")
        return str(sock.getsockname()[0])


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory, name_server: str) -> Iterator[Target]:
    """A relay on all addresses, with TLS."""
    with target(tmp_path_factory.mktemp("exposed"), name_server, "--host", "0.0.0.0") as running:
        yield running


def secured(client: Client) -> Client:
    """The same connection after the handshake."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    client.lines.close()
    client.sock = tls.wrap_socket(client.sock)
    client.lines = client.sock.makefile("rb")
    return client


def test_off_the_loopback_a_password_is_taken_after_tls_only(reached: Target) -> None:
    with reached.relay.client(host=own_address()) as client:
        assert "AUTH" not in client.say("EHLO test")
        assert client.say(f"AUTH PLAIN {plain('shop', reached.password)}").startswith("538")
        assert client.say("AUTH LOGIN").startswith("538")
        assert client.say("STARTTLS").startswith("220")
        assert secured(client).say("MAIL FROM:<info@example.com>").startswith("503")  # all is forgotten
        assert "AUTH" in client.say("EHLO test")
        assert client.say(f"AUTH PLAIN {plain('shop', reached.password)}").startswith("235")


def test_commands_behind_starttls_in_the_same_packet_are_thrown_away(reached: Target) -> None:
    with reached.relay.client(host=own_address()) as client:
        client.say("EHLO test")
        client.sock.sendall(b"STARTTLS\r\nEHLO injected\r\nNOOP\r\nAUTH PLAIN x\r\n")
        assert client.reply().startswith("220")
        assert secured(client).say("RSET").startswith("250 OK")  # the reply to this, and to nothing before
        assert client.say("VRFY x").startswith("252")
        assert client.say("MAIL FROM:<a@example.com>").startswith("503")  # EHLO does not count


def test_a_login_does_not_outlive_starttls(reached: Target) -> None:
    with reached.relay.client() as client:
        assert client.log_in(reached.password).startswith("235")
        assert client.say("MAIL FROM:<info@example.com>").startswith("250")
        assert client.say("STARTTLS").startswith("220")
        assert secured(client).say("RCPT TO:<kund@example.org>").startswith("530")
        client.say("EHLO test")
        assert client.say("MAIL FROM:<info@example.com>").startswith("530")


def test_tls_begins_once(reached: Target) -> None:
    with reached.relay.client() as client:
        client.say("EHLO test")
        assert client.say("STARTTLS x").startswith("501")
        assert client.say("STARTTLS").startswith("220")
        assert "STARTTLS" not in secured(client).say("EHLO test")
        assert client.say("STARTTLS").startswith("503")


@pytest.mark.parametrize("host", ["", "own"])
def test_a_relay_that_could_take_no_password_does_not_start_off_the_loopback(home: Home, host: str) -> None:
    plain_account(home, 9)
    add_client(home)
    port = free_port()
    run = home.run("relay", "--host", own_address() if host == "own" else host, "--port", str(port))
    assert (run.code, "relay.exposed" in run.err) == (78, True), run.err
    assert not is_relay(port)

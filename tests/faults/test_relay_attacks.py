"""Attacks on the relay as a whole: its connections, its memory and its time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.faults.relays import Attacker, caught, descriptors_of, memory_of, new_home, target
from tests.listener import reset
from tests.mail_server import MailServer
from tests.recording import plain_account
from tests.relay import add_client, is_relay, running_relay
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home
    from tests.faults.relays import Target
    from tests.relay import Client

ENVELOPE = b"MAIL FROM:<info@example.com>\r\nRCPT TO:<kund@example.org>\r\nDATA\r\n"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, name_server: str) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("attacks"), name_server) as running:
        yield running


# web browsers

VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI", "get")


@pytest.mark.parametrize("verb", VERBS)
def test_a_request_of_a_web_browser_ends_the_connection(relay: Target, verb: str) -> None:
    with Attacker(relay.relay.port, "127.0.2.2") as client:
        client.sock.sendall(f"{verb} / HTTP/1.1\r\nHost: localhost\r\n\r\nEHLO x\r\nNOOP\r\n".encode())
        assert client.rest() == ""


@pytest.mark.parametrize("end", ["POST / HTTP/1.1", "QUIT"])
def test_what_follows_the_end_in_the_same_packet_is_not_sent(relay: Target, end: str) -> None:
    for number in range(60):  # in some of them the commit comes before the end of the connection
        with Attacker(relay.relay.port, "127.0.2.3") as client:
            assert client.log_in(relay.password).startswith("235")
            body = f"Subject: behind {end}\r\n\r\n".encode() + b"x" * 100 * number + b"\r\n.\r\n"
            client.sock.sendall(end.encode() + b"\r\n" + ENVELOPE + body)
            client.rest()
    with relay.shop() as shop:
        shop.hand_over(f"Subject: after {end}\r\n\r\nx\r\n".encode())
    assert caught(relay.server, f"after {end}")
    assert f"behind {end}" not in relay.server.subjects


# one packet and many


def test_a_whole_session_in_one_packet_is_one_mail(relay: Target) -> None:
    with relay.shop() as client:
        client.sock.sendall(b"NOOP\r\n" + ENVELOPE + b"Subject: packet\r\n\r\nx\r\n.\r\nRSET\r\nNOOP\r\n")
        assert [client.reply()[:3] for _each in range(7)] == ["250", "250", "250", "354", "250", "250", "250"]
    assert len(caught(relay.server, "packet")) == 1


def test_a_session_whose_client_sends_no_more_is_carried_out(relay: Target) -> None:
    with Attacker(relay.relay.port, "127.0.2.5") as client:
        assert client.log_in(relay.password).startswith("235")
        client.sock.sendall(ENVELOPE + b"Subject: half\r\n\r\nx\r\n.\r\nQUIT\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert "250 2.0.0 Kept" in client.rest()


def test_a_message_whose_connection_ended_inside_it_is_not_sent(relay: Target) -> None:
    for number, end in enumerate((b"", b"\r\n", b"\r\n.", b"\r\n.\r")):
        with relay.shop() as client:
            client.sock.sendall(ENVELOPE + b"Subject: torn\r\n\r\nx" + end)
            assert [client.reply()[:3] for _each in range(3)] == ["250", "250", "354"]
            client.lines.close()
            reset(client.sock) if number % 2 else client.sock.close()
    with relay.shop() as shop:
        shop.hand_over(b"Subject: after the torn\r\n\r\nx\r\n")
    assert caught(relay.server, "after the torn")
    assert "torn" not in relay.server.subjects


# memory and time


def sent_without_reading(client: Client, data: bytes, seconds: float = 1.0) -> int:
    """Send until the relay takes no more for a while. Returns how many bytes it took."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.sock.settimeout(seconds)
    count = 0
    with contextlib.suppress(TimeoutError):
        while count < 60_000_000:
            count += client.sock.send(data[:1_000_000])
    return count


def test_a_line_without_end_takes_no_memory(relay: Target, guest: Client) -> None:
    before = memory_of(relay.pid)
    for _each in range(30):
        guest.sock.sendall(b"x" * 1_000_000)
    assert guest.say("").startswith("500")
    assert memory_of(relay.pid) - before < 10


def test_who_reads_no_replies_gets_no_memory(relay: Target, guest: Client) -> None:
    before = memory_of(relay.pid)
    assert sent_without_reading(guest, b"NOOP\r\n" * 100_000) < 60_000_000
    assert memory_of(relay.pid) - before < 10
    with relay.shop() as shop:
        assert shop.hand_over().startswith("250")


def test_verbs_that_are_too_long_are_not_kept(relay: Target, guest: Client) -> None:
    before = memory_of(relay.pid)
    for number in range(1_000):
        assert guest.say(b"%08d" % number + b"X" * 60_000).startswith("500")
    assert memory_of(relay.pid) - before < 20


def test_who_sends_a_byte_now_and_then_holds_nobody_up(relay: Target) -> None:
    slow = [relay.shop() for _each in range(50)]
    for client in slow:
        client.sock.sendall(ENVELOPE + b"Subject: slow\r\n\r\n")
    begin = time.monotonic()
    for client in slow:
        client.sock.sendall(b"x")
        with relay.shop() as shop:
            assert shop.hand_over().startswith("250")
    assert time.monotonic() - begin < 10
    for client in slow:
        client.lines.close()
        client.sock.close()


def test_a_mail_with_a_hard_header_holds_nobody_up_for_long(relay: Target) -> None:
    hard = [b"To: " + b"(" * 240_000, b"To: " + "å@å.se, ".encode() * 20_000, b"Subject: " + b"=?a?q?x?= " * 20_000]
    with contextlib.ExitStack() as stack:
        for field in hard:
            client = stack.enter_context(relay.shop())
            client.sock.sendall(ENVELOPE + field + b"\r\n\r\nx\r\n.\r\n")
        begin = time.monotonic()
        with relay.shop() as shop:
            assert shop.hand_over().startswith("250")
    assert time.monotonic() - begin < 10


def test_a_message_beyond_the_limit_is_read_to_its_end_and_refused(relay: Target) -> None:
    before = memory_of(relay.pid)
    with relay.shop() as client:
        client.sock.sendall(ENVELOPE)
        line = b"x" * 998 + b"\r\n"
        for _each in range(53):
            client.sock.sendall(line * 1_000)
        client.sock.sendall(b".\r\n")
        assert [client.reply()[:3] for _each in range(4)] == ["250", "250", "354", "552"]
        assert client.hand_over().startswith("250")
    assert memory_of(relay.pid) - before < 30


@pytest.mark.parametrize(
    ("command", "more"), [("STARTTLS", b"no handshake\r\n"), ("VRFY " + "(" * 1_900, b"")], ids=["STARTTLS", "VRFY"]
)
def test_what_a_guest_sends_is_no_bug(relay: Target, guest: Client, command: str, more: bytes) -> None:
    before = len(relay.said)
    guest.say(command)
    guest.sock.sendall(more + b"QUIT\r\n")
    with contextlib.suppress(ConnectionResetError):
        guest.lines.read()
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: "internal.bug" in relay.said[before:], 2)
    assert "internal.bug" not in relay.said[before:]


def test_connections_that_break_leave_nothing_open(relay: Target) -> None:
    wait_for(lambda: descriptors_of(relay.pid) < 40)
    before = descriptors_of(relay.pid)
    for number in range(120):
        client = relay.relay.client()
        client.sock.sendall(
            (b"EHLO x\r\nSTARTTLS\r\n", b"EHLO x\r\nAUTH LOGIN\r\n", b"EHLO x\r\n" * 99, b"x")[number % 4]
        )
        client.sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        client.lines.close()
        reset(client.sock) if number % 3 else client.sock.close()
        with socket.create_connection(("127.0.0.1", relay.relay.tls_port)) as sock:
            sock.sendall(b"\x16\x03\x01" if number % 2 else b"EHLO x\r\n")
    wait_for(lambda: descriptors_of(relay.pid) <= before + 5)
    assert "Traceback" not in relay.said


def test_too_many_connections_are_refused_and_then_taken_again(relay: Target) -> None:
    clients = [relay.relay.client() for _each in range(500)]
    with relay.relay.client() as one_more:
        assert one_more.greeting.startswith("421 4.3.2")
    for client in clients:
        client.lines.close()
        client.sock.close()
    wait_for(lambda: is_relay(relay.relay.port))
    with relay.shop() as shop:
        assert shop.hand_over().startswith("250")


def test_connections_without_a_handshake_count_too(relay: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _each in range(700):
            stack.enter_context(socket.create_connection(("127.0.0.1", relay.relay.tls_port)))
        with relay.relay.client() as last:  # those before it have been accepted
            assert last.greeting[:3] in {"220", "421"}
        assert descriptors_of(relay.pid) < 600


def test_mail_is_taken_where_nobody_reads_what_the_relay_says(home: Home) -> None:
    with MailServer() as server:
        plain_account(home, server.port)
        password = add_client(home)
        os.mkfifo(home.path / "relay.out")
        unread = os.open(home.path / "relay.out", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 4_096)
        # once nobody can read it any more, the relay goes on, and can be ended
        with running_relay(home) as relay, os.fdopen(unread), relay.client() as client:
            assert client.log_in(password).startswith("235")
            client.sock.settimeout(5)
            for _each in range(100):
                assert client.hand_over().startswith("250")


def test_no_more_connections_are_taken_than_files_can_be_opened_for_their_mails(
    tmp_path: Path, name_server: str
) -> None:
    with MailServer() as server:
        home = new_home(tmp_path, name_server, ("prlimit", "--nofile=1024"))
        plain_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay:
            clients = [relay.client() for _each in range(499)]
            data = ENVELOPE + b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 3_600
            taken = [client for client in clients if client.greeting.startswith("220")]
            for client in taken:
                client.log_in(password)
                client.sock.sendall(data)
            for client in taken:
                client.sock.sendall(b".\r\n")
            answers = [[client.reply()[:3] for _each in range(4)][-1] for client in taken]
            for client in clients:
                client.lines.close()
                client.sock.close()
            assert {client.greeting[:3] for client in clients if client not in taken} == {"421"}
            assert (len(taken), set(answers)) == (341, {"250"})


def test_a_full_disk_is_said_and_what_fits_is_still_taken(tmp_path: Path, name_server: str) -> None:
    with MailServer() as server:
        home = new_home(tmp_path, name_server)
        plain_account(home, server.port)
        password = add_client(home)
        limited = new_home_like(home, ("prlimit", "--fsize=1500000"))
        with running_relay(limited) as relay, relay.client() as client:
            assert client.log_in(password).startswith("235")
            assert client.hand_over(b"Subject: large\r\n\r\n" + b"x" * 3_000_000 + b"\r\n").startswith("452 4.3.1")
            assert client.hand_over(b"Subject: small\r\n\r\nx\r\n").startswith("250")
            assert caught(server, "small")
        assert server.subjects == ["small"]


def new_home_like(home: Home, prefix: tuple[str, ...]) -> Home:
    """The same home, whose commands run behind a prefix."""
    unmeasured = home.unmeasured
    return type(home)(unmeasured.path, unmeasured.env, prefix=prefix)


def test_tls_of_old_versions_is_refused(relay: Target) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", relay.relay.tls_port)) as sock, pytest.raises(ssl.SSLError):
        tls.wrap_socket(sock)

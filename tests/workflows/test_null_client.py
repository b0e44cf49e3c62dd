"""The recipes of docs/scale.md: a Postfix on each host hands its mail to a relay, or to the provider itself."""

from __future__ import annotations

import email
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.null_client import NullClient, blocks, running, settings
from tests.postfix import ADDRESS, POSTFIX_PASSWORD
from tests.recording import RecordingServer, plain_account
from tests.relay import add_client, running_relay, wait_until_sent
from tests.servers import wait_for

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.postfix import Postfix

CLIENT = "web1"


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """The provider."""
    with RecordingServer() as running_server:
        yield running_server


@pytest.fixture
def password(home: Home, server: RecordingServer) -> str:
    """The password of the relay's client; the relay's account is at the server."""
    plain_account(home, server.port)
    return add_client(home, CLIENT)


def null_client(home: Home, port: int, password: str, **changes: str) -> contextlib.AbstractContextManager[NullClient]:
    """A null client of the relay on a port, with the certificate that the relay has told of."""
    (lines, _without_relay), (password_line,) = blocks("/etc/postfix/main.cf"), blocks("/etc/postfix/relay-password")
    told = (home.path / "relay.out").read_text()
    fingerprint = told.partition("Certificate (SHA-256)")[2].split()[0]
    hop = f"[127.0.0.1]:{port}"
    values = settings(lines) | {"relayhost": hop, "smtp_tls_fingerprint_cert_match": fingerprint} | changes
    return running(values, password_line.replace(settings(lines)["relayhost"], hop).replace("PASSWORD", password))


def subjects(server: RecordingServer, count: int) -> list[int]:
    """The numbers of the mails that arrive, in order, once there are that many."""
    wait_for(lambda: len(server.mails) >= count, 30)
    return sorted(int(subject) for subject in server.subjects)


def test_a_null_client_hands_its_mail_to_the_relay(home: Home, server: RecordingServer, password: str) -> None:
    with running_relay(home, "--tls") as relay, null_client(home, relay.port, password) as client:
        client.send(1)
        assert subjects(server, 1) == [1]
        assert (server.mails[0].sender, server.mails[0].recipients) == ("info@example.com", ("kund@example.org",))
        assert "Verified TLS connection established to 127.0.0.1" in client.log
        wait_until_sent(home)
        assert client.waiting() == []


def test_mail_waits_at_the_host_while_the_relay_is_away(home: Home, server: RecordingServer, password: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running_relay(home, "--tls"))
        client = stack.enter_context(null_client(home, first.port, password))
        for number in range(30):
            client.send(number)
            if number == 10:
                assert first.stop() == 0  # while the mails before are being handed over and sent
        wait_for(lambda: client.log.count("status=deferred") >= 19, 30)
        assert len(server.mails) < 12
        stack.enter_context(running_relay(home, "--tls", port=first.port))
        client.try_again()
        assert subjects(server, 30) == list(range(30))
        wait_until_sent(home)
        wait_for(lambda: client.waiting() == [], 30)
        assert len(server.mails) == 30


def test_mail_waits_at_the_relay_while_the_provider_is_away(home: Home, server: RecordingServer, password: str) -> None:
    server.replies["CONNECT"] = b"421 4.3.2 down for an hour\r\n"
    with running_relay(home, "--tls") as relay, null_client(home, relay.port, password) as client:
        for number in range(10):
            client.send(number)
        wait_for(lambda: client.log.count("status=sent") == 10, 30)
        assert client.waiting() == []
        assert server.mails == []
        assert len(home.run("outbox", "list", "--json").json["result"]) == 10
        relay.stop()
    server.replies.clear()
    assert home.run("outbox", "flush", "--now").code == 0
    assert subjects(server, 10) == list(range(10))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smtp_tls_fingerprint_cert_match": "00:" * 31 + "00"}, "Server certificate not verified"),
        ({"smtp_sasl_password_maps": "static:web1:wrong"}, "SASL authentication failed"),
    ],
)
def test_a_null_client_that_is_set_up_wrongly_keeps_its_mail(
    home: Home, server: RecordingServer, password: str, change: dict[str, str], said: str
) -> None:
    with running_relay(home, "--tls") as relay, null_client(home, relay.port, password, **change) as client:
        client.send(1)
        wait_for(lambda: "status=deferred" in client.log, 30)
        assert said in client.log
        assert len(client.waiting()) == 1
    assert server.mails == []


def test_a_null_client_hands_its_mail_to_a_provider(postfix: Postfix) -> None:
    lines, without_relay = blocks("/etc/postfix/main.cf")
    hop = f"[localhost]:{postfix.starttls_port}"
    values = settings(lines) | settings(without_relay)
    values |= {"relayhost": hop, "smtp_tls_CAfile": postfix.ca_file, "smtp_host_lookup": "native"}
    with running(values, f"{hop} {ADDRESS}:{POSTFIX_PASSWORD}\n") as client:
        for number in range(10):
            client.send(number, "asa@example.test", ADDRESS)
        delivered = [email.message_from_bytes(mail) for mail in postfix.mails("asa", 10)]
        assert sorted(int(mail["Subject"]) for mail in delivered) == list(range(10))
        assert "Verified TLS connection established to localhost" in client.log
        wait_for(lambda: client.waiting() == [], 30)

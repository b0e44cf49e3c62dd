"""The relay, as its clients see it: what they hand over is kept and sent, and nobody else may send."""

from __future__ import annotations

import base64
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.mail_server import MailServer
from tests.recording import RecordingServer, password_account, plain_account
from tests.relay import MAIL, Client, add_client, plain, running_relay, wait_until_sent
from tests.servers import closed_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.relay import Relay


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """The account's server."""
    with RecordingServer() as running:
        yield running


@pytest.fixture
def password(home: Home, server: RecordingServer) -> str:
    """The password of the client `shop`; the home's account is at the server."""
    plain_account(home, server.port)
    return add_client(home)


@pytest.fixture
def relay(home: Home, password: str) -> Iterator[Relay]:
    """A running relay."""
    with running_relay(home) as running:
        yield running


@pytest.fixture
def client(relay: Relay, password: str) -> Iterator[Client]:
    """A client that is logged in."""
    with relay.client() as opened:
        assert opened.log_in(password).startswith("235 2.7.0 ")
        yield opened


def _has(server: MailServer, mails: int) -> bool:
    return len(server.mails) == mails


# what is handed over


def test_a_mail_is_kept_and_sent_at_once(client: Client, server: RecordingServer, home: Home) -> None:
    assert client.hand_over().startswith("250 2.0.0 ")
    wait_for(lambda: server.mails)
    (mail,) = server.mails
    assert (mail.sender, mail.recipients, mail.body) == ("info@example.com", ("kund@example.org",), b"Hej\r\n")
    wait_until_sent(home)


def test_the_connection_to_the_provider_serves_the_next_mail(client: Client, server: RecordingServer) -> None:
    for number in range(3):
        assert client.hand_over().startswith("250")
        wait_for(partial(_has, server, number + 1))
    assert {mail.connection for mail in server.mails} == {1}


def test_a_connection_that_the_provider_has_closed_is_replaced(client: Client, home: Home) -> None:
    with MailServer(last=1) as closing:
        plain_account(home, closing.port)
        time.sleep(0.3)  # the configuration is looked at five times a second
        for number in range(3):
            assert client.hand_over().startswith("250")
            wait_for(partial(_has, closing, number + 1))
        assert [mail.connection for mail in closing.mails] == [1, 2, 3]


def test_what_is_missing_is_added_and_bcc_is_taken_out(client: Client, server: RecordingServer) -> None:
    message = b"Subject: x\r\nBcc: hemlig@example.org\r\n\r\n.punkt\r\n"
    assert client.hand_over(message, recipients=("kund@example.org", "hemlig@example.org")).startswith("250")
    wait_for(lambda: server.mails)
    header = server.mails[0].content.partition(b"\r\n\r\n")[0]
    for name in (b"Date: ", b"Message-ID: <", b"From: ", b"To: undisclosed-recipients:;"):
        assert name in header
    assert b"hemlig" not in header
    assert server.mails[0].recipients == ("kund@example.org", "hemlig@example.org")
    assert server.mails[0].body == b".punkt\r\n"


def test_text_beyond_ascii_is_made_right_without_8bitmime(client: Client, server: RecordingServer) -> None:
    assert client.hand_over("Subject: Räksmörgås\r\n\r\nå\r\n".encode()).startswith("250")
    wait_for(lambda: server.mails)
    assert server.mails[0].content.isascii()
    assert b"Subject: =?utf-8?" in server.mails[0].content


def test_an_address_beyond_ascii_is_taken_with_smtputf8(client: Client, home: Home) -> None:
    assert client.say("MAIL FROM:<info@example.com> SMTPUTF8 BODY=8BITMIME").startswith("250")
    assert client.say("RCPT TO:<gås@example.org>").startswith("250")


def test_a_local_name_stands_for_its_alias(client: Client, server: RecordingServer, home: Home) -> None:
    config = home.config.read_text()
    home.config.write_text(f'aliases = {{ root = "it@example.com" }}\n{config}')
    wait_for(lambda: client.hand_over(recipients=("root",)).startswith("250") or client.say("RSET") == "")
    wait_for(lambda: server.mails)
    assert server.mails[0].recipients == ("it@example.com",)
    assert client.say("MAIL FROM:<>").startswith("250")
    assert client.say("RCPT TO:<nobody>").startswith("550")
    assert client.say("RCPT TO:<a b>").startswith("5")


def test_a_changed_aliases_file_is_read_again(home: Home, password: str) -> None:
    aliases = home.file("aliases", "root: one@example.com\n")
    home.config.write_text(f'aliases_file = "{aliases}"\n{home.config.read_text()}')
    with running_relay(home) as relay, relay.client() as client:
        client.log_in(password)
        client.say("MAIL FROM:<info@example.com>")
        assert client.say("RCPT TO:<root>").startswith("250")
        assert client.say("RCPT TO:<www>").startswith("550")
        home.file("aliases", "root: one@example.com\nwww: two@example.com\n")
        assert client.say("RCPT TO:<www>").startswith("250")


def test_a_sender_that_is_not_the_accounts_goes_into_reply_to(client: Client, server: RecordingServer) -> None:
    message = b"From: Butiken <shop@example.net>\r\nTo: kund@example.org\r\n\r\nHej\r\n"
    assert client.hand_over(message, sender="shop@example.net").startswith("250")
    wait_for(lambda: server.mails)
    assert server.mails[0].sender == "info@example.com"
    assert b"From: Butiken <info@example.com>" in server.mails[0].content
    assert b"Reply-To: Butiken <shop@example.net>" in server.mails[0].content


# with the provider away


def test_a_mail_is_taken_while_the_provider_is_away_and_sent_later(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            began = time.monotonic()
            assert client.hand_over().startswith("250")
            assert time.monotonic() - began < 5
            wait_for(lambda: home.run("relay", "--status", "--json").json["result"]["upstream"])
            status = home.run("relay", "--status", "--json")
            assert (status.code, status.json["result"]["waiting"]) == (0, 1)
            assert status.json["result"]["upstream"][0]["error"] == "connect.refused"
            assert home.run("relay", "--status", "--strict").code == 75
            assert client.hand_over().startswith("250")
            with RecordingServer() as server:
                plain_account(home, server.port)
                assert home.run("outbox", "retry", "--all").code == 0
                wait_for(lambda: len(server.mails) == 2, 30)


def test_an_account_that_cannot_log_in_is_not_tried_for_each_mail(home: Home) -> None:
    with RecordingServer() as server:
        server.replies["AUTH"] = b"535 5.7.8 wrong\r\n"
        password_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            for _number in range(5):
                assert client.hand_over().startswith("250")
                time.sleep(0.3)  # longer than an attempt takes
            wait_for(lambda: home.run("relay", "--status", "--json").json["result"]["upstream"])
        assert sum(line.startswith("AUTH") for line in server.lines) == 1


def test_what_waits_for_a_login_is_sent_once_the_secret_has_changed(home: Home) -> None:
    with RecordingServer() as server:
        server.replies["AUTH"] = b"535 5.7.8 wrong\r\n"
        password_account(home, server.port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            assert client.hand_over().startswith("250")
            wait_for(lambda: home.run("relay", "--status", "--json").json["result"]["upstream"])
            server.replies.clear()
            home.file("password", "another")
            wait_for(lambda: server.mails, 30)


def test_a_failure_is_told_to_the_owner_and_names_the_client(home: Home, relay: Relay, client: Client) -> None:
    with RecordingServer() as server:
        server.replies["RCPT TO:<kund"] = b"550 5.1.1 unknown\r\n"
        plain_account(home, server.port)
        time.sleep(0.3)  # as above
        assert client.hand_over().startswith("250")
        wait_for(lambda: server.mails)
        (notice,) = server.mails
        assert notice.recipients == ("info@example.com",)
        assert b"shop" in notice.content
        (failed,) = home.run("outbox", "list", "--json").json["result"]
        assert home.run("outbox", "show", str(failed["outbox_id"]), "--json").json["result"]["client"] == "shop"
        assert home.run("relay", "--status", "--json").json["result"]["failed"] == 1
    assert "client=shop" in (home.path / ".local/state/smtpsetup/mail.log").read_text()


# who may send


def test_login_is_known_in_all_its_forms(relay: Relay, password: str) -> None:
    name, secret = (base64.b64encode(text.encode()).decode() for text in ("shop", password))
    with relay.client() as client:
        client.say("EHLO test")
        assert base64.b64decode(client.say("auth login")[4:]) == b"Username:"
        assert base64.b64decode(client.say(name)[4:]) == b"Password:"
        assert client.say(secret).startswith("235")
    with relay.client() as client:
        client.say("EHLO test")
        assert client.say(f"AUTH LOGIN {name}").startswith("334")
        assert client.say(secret).startswith("235")
    with relay.client() as client:
        client.say("HELO test")
        assert client.say("AUTH PLAIN").startswith("334")
        assert client.say(plain("shop", password)).startswith("235")


def _guesses(relay: Relay, number: int) -> set[str]:
    """The codes of the replies to so many wrong logins at the same time."""
    with ExitStack() as stack:
        clients = [stack.enter_context(relay.client()) for _client in range(number)]
        for client in clients:
            client.say("EHLO test")
            client.sock.sendall(f"AUTH PLAIN {plain('shop', 'wrong')}\r\n".encode())
        return {client.reply()[:3] for client in clients}


def test_a_right_login_is_let_in_while_a_neighbour_guesses(relay: Relay, client: Client, password: str) -> None:
    assert _guesses(relay, 10) == {"535"}
    with relay.client() as again:  # from the same address, with a password that was right before
        assert again.log_in(password).startswith("235")


def test_a_bound_client_may_use_its_senders_only(home: Home, relay: Relay) -> None:
    password = add_client(home, "bound", "--from", "info@example.com")
    other = MAIL.replace(b"info@", b"chef@")
    with relay.client() as client:
        wait_for(lambda: client.log_in(password, "bound").startswith("235"))
        assert client.say("MAIL FROM:<chef@example.com>").startswith("553 5.7.1")
        assert client.hand_over(other).startswith("553 5.7.1")
        assert client.hand_over(b"Sender: chef@example.com\r\n" + MAIL).startswith("553 5.7.1")
        assert client.hand_over().startswith("250")
        assert client.hand_over(sender="").startswith("250")


def test_a_client_may_hand_over_so_many_mails_a_day(home: Home, relay: Relay) -> None:
    password = add_client(home, "few", "--per-day", "2")
    with relay.client() as client:
        wait_for(lambda: client.log_in(password, "few").startswith("235"))
        assert client.hand_over().startswith("250")
        assert client.hand_over().startswith("250")
        assert client.hand_over().startswith("452 4.7.1")


def test_a_device_without_a_login_is_let_in_from_its_address(home: Home, server: MailServer, password: str) -> None:
    add_client(home, "device", "--net", "127.0.0.1/32")
    with running_relay(home) as relay:
        with relay.client() as client:
            assert client.say("HELO device").startswith("250 ")
            assert client.hand_over().startswith("250")
        assert "every program" in (home.path / "relay.err").read_text()
        wait_for(lambda: server.mails)


def test_a_client_with_a_network_logs_in_from_nowhere_else(home: Home, relay: Relay) -> None:
    password = add_client(home, "printer", "--net", "192.0.2.0/24")
    time.sleep(0.3)  # as above
    with relay.client() as client:
        assert client.log_in(password, "printer").startswith("535")


def test_the_accounts_of_clients_are_their_own(home: Home) -> None:
    with RecordingServer() as one, RecordingServer() as two:
        plain_account(home, one.port)
        rows = home.config.read_text().replace("accounts.a", "accounts.b").replace(str(one.port), str(two.port))
        home.config.write_text(f'default = "a"\n{home.config.read_text()}\n{rows.replace("info@", "bok@")}')
        password = add_client(home, "books", "--account", "b")
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password, "books")
            assert client.hand_over().startswith("250")
            wait_for(lambda: two.mails)
        assert (len(one.mails), two.mails[0].sender) == (0, "bok@example.com")


# its end


def test_what_was_answered_is_on_the_disk_after_the_end(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        password = add_client(home)
        with running_relay(home) as relay, relay.client() as client:
            client.log_in(password)
            assert client.hand_over().startswith("250")
            assert relay.stop() == 0
            assert client.reply().startswith("421")
    assert len(home.run("outbox", "list", "--json").json["result"]) == 1
    assert home.run("relay", "--status").code == 75


def test_a_mail_that_is_coming_in_is_taken_before_the_end(home: Home, relay: Relay, client: Client) -> None:
    for command in ("MAIL FROM:<info@example.com>", "RCPT TO:<kund@example.org>", "DATA"):
        client.say(command)
    client.sock.sendall(MAIL)
    relay.process.terminate()
    time.sleep(0.5)  # so that the end has begun
    client.sock.sendall(b".\r\n")
    assert client.reply().startswith("250")
    assert client.reply().startswith("421")
    assert relay.process.wait(60) == 0

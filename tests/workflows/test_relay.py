"""The relay, as its clients see it: what they hand over is kept and sent, and nobody else may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mail_server import MailServer
from tests.recording import plain_account
from tests.relay import add_client, running_relay, wait_until_sent
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.relay import Relay


@pytest.fixture
def server() -> Iterator[MailServer]:
    """The account's server."""
    with MailServer() as running:
        yield running


@pytest.fixture
def password(home: Home, server: MailServer) -> str:
    """The password of the client `shop`; the home's account is at the server."""
    plain_account(home, server.port)
    return add_client(home)


@pytest.fixture
def relay(home: Home, password: str) -> Iterator[Relay]:
    """A running relay."""
    with running_relay(home, "--json") as running:
        yield running


def test_a_mail_is_kept_and_sent_at_once(relay: Relay, server: MailServer, password: str) -> None:
    with relay.client() as client:
        assert client.log_in(password).startswith("235 2.7.0 ")
        assert client.hand_over().startswith("250 2.0.0 ")
    wait_for(lambda: server.mails)
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("info@example.com", ("kund@example.org",))
    assert mail.body == b"Hej\r\n"
    wait_until_sent(relay.home)

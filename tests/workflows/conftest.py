"""What the tests of workflows share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oauth_servers import USER, OAuthServer
from tests.signing_in import DEVICE, signing_in

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.servers import Keyring


def plaintext_at(port: int) -> tuple[str, ...]:
    """The options of `configure` for a server on this machine without TLS."""
    return ("--host", "127.0.0.1", "--port", str(port), "--security", "none", "--from-name", "")


def tls_at(port: int, ca_file: str = "") -> tuple[str, ...]:
    """The options of `configure` for a server on this machine with implicit TLS."""
    authority = ("--ca-file", ca_file) if ca_file else ()
    return ("--host", "localhost", "--port", str(port), "--security", "tls", *authority)


@pytest.fixture
def in_keyring(oauth: tuple[Home, OAuthServer], keyring: Keyring) -> tuple[Home, OAuthServer]:
    """An account that is signed in, its refresh token in the keyring."""
    home, server = oauth
    home.env.update(keyring.env)
    done = signing_in(
        home, "configure", USER, "--auth", "oauth2", "--from-name", "", act=server.approve_device, pattern=DEVICE
    )
    assert done.code == 0, done.err
    return home, server

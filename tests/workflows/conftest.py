"""What the tests of workflows share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oauth_servers import USER, OAuthServer
from tests.signing_in import DEVICE, signing_in

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.servers import Keyring


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

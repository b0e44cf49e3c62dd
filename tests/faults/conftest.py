"""What the tests of faults share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.fleet import Fleet, fleet
from tests.recording import RecordingServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.relays import Target
    from tests.postgresql import Cluster
    from tests.relay import Client


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """A server that accepts everything."""
    with RecordingServer() as running:
        yield running


@pytest.fixture
def guest(relay: Target) -> Iterator[Client]:
    """A connection to the relay of the module without a login, after EHLO."""
    with relay.relay.client() as client:
        assert client.say("EHLO test").startswith("250")
        yield client


@pytest.fixture
def slow_server() -> Iterator[RecordingServer]:
    """A server that takes so long that what happens hits mail in flight."""
    with RecordingServer(pause=0.002) as running:
        yield running


@pytest.fixture
def made(cluster: Cluster, slow_server: RecordingServer) -> Iterator[Fleet]:
    """A shared outbox without machines."""
    with fleet(cluster, slow_server) as empty:
        yield empty

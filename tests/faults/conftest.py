"""What the tests of faults share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recording import RecordingServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """A server that accepts everything."""
    with RecordingServer() as running:
        yield running

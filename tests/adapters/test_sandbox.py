"""The end of the sandbox, while clients are still connected."""

from __future__ import annotations

import gc
import smtplib
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from smtpsetup.sandbox.server import Sandbox, SandboxFacts

if TYPE_CHECKING:
    import socket
    from pathlib import Path


def connect(facts: SandboxFacts, kind: str) -> socket.socket:
    """A connection after its greeting, and for `starttls` after its TLS handshake."""
    context = ssl.create_default_context(cafile=facts.ca_file)
    if kind == "tls":
        session: smtplib.SMTP = smtplib.SMTP_SSL("localhost", facts.tls_port, context=context)
    else:
        session = smtplib.SMTP("localhost", facts.starttls_port)
        if kind == "starttls":
            session.starttls(context=context)
    assert session.sock
    return session.sock


@pytest.mark.parametrize("last", [b"", b"QUIT\r\n"], ids=["idle", "quitting"])
@pytest.mark.parametrize("kind", ["plain", "starttls", "tls"])
def test_connections_that_clients_leave_open_are_closed(tmp_path: Path, kind: str, last: bytes) -> None:
    with ExitStack() as clients:
        with Sandbox(tmp_path) as facts:
            for _each in range(3):
                client = clients.enter_context(connect(facts, kind))
                client.sendall(last)
        gc.collect()  # an open socket is a warning here, and so an error

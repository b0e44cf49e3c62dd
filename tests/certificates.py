"""One certificate authority for every server of a test process, so that one CA file trusts all of them."""

from __future__ import annotations

import functools
import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@functools.cache
def authority() -> trustme.CA:
    """The authority, made once for the process."""
    return trustme.CA()


def write_ca(file: Path) -> str:
    """Write the authority's certificate and return the path."""
    authority().cert_pem.write_to_path(str(file))
    return str(file)


@functools.cache
def server_context() -> ssl.SSLContext:
    """The TLS of a server that is called localhost or 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context

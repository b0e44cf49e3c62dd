"""A connection to a server, and TLS on it, stage by stage: what every protocol begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.model import Stage
from smtpsetup.net import dial, tls

if TYPE_CHECKING:
    import socket
    import ssl

    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.net.stages import Stages
    from smtpsetup.net.tls import TlsPolicy

_CONNECT_SECONDS = 20.0


def connected(stages: Stages, deadline: Deadline, look_up: LookUp | None, proxy: Proxy | None) -> socket.socket:
    """A connection to the server, through the proxy where there is one. Raises TransportError."""
    server, soon = stages.server, deadline.at_most(_CONNECT_SECONDS)
    if proxy is not None:
        from smtpsetup.net import proxy as proxies  # only for users of a proxy

        with stages.stage(Stage.CONNECT):
            sock = proxies.connect(proxy, server.host, server.port, soon, look_up)
            stages.detail = str(proxy)
        return sock
    with stages.stage(Stage.DNS):
        addresses = dial.resolve(server.host, server.port, soon, look_up)
        stages.detail = ", ".join(str(where[0]) for _family, where in addresses)
    with stages.stage(Stage.CONNECT):
        sock = dial.race(addresses, deadline.at_most(_CONNECT_SECONDS))
        stages.detail = str(sock.getpeername()[0])
    return sock


def secured(stages: Stages, sock: socket.socket, policy: TlsPolicy, deadline: Deadline) -> ssl.SSLSocket:
    """Start TLS on the connection. Raises TransportError."""
    with stages.stage(Stage.TLS):
        sock.settimeout(deadline.remaining())
        wrapped = tls.secure(sock, stages.server.host, policy)
        cipher = wrapped.cipher()
        stages.detail = f"{wrapped.version()}, {cipher[0] if cipher else ''}"
    return wrapped

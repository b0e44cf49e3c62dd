"""Proxies on the loopback: SOCKS 5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_LOGIN, PASSWORD, NOTHING_FITS = 0, 2, 0xFF
SUCCEEDED, UNREACHABLE, REFUSED, NOT_SUPPORTED, UNKNOWN_ADDRESS = 0, 4, 5, 7, 8  # RFC 1928 section 6


@dataclass(frozen=True)
class SocksRequest:
    """What a client asked for; `reply` is the code that it was answered with."""

    address_type: str  # "name", "ipv4" or "ipv6"
    host: str
    port: int
    user: str
    reply: int


@dataclass(frozen=True)
class ConnectRequest:
    """A CONNECT; `status` is 0 if there was no answer with a status."""

    target: str
    headers: dict[str, str]  # lower case
    status: int


class _Proxy(Listener):
    """Connects names, and "HOST:PORT" of the loopback, to ports of the loopback."""

    def __init__(self, names: Mapping[str, int] | None, user: str, password: str) -> None:
        self.names = dict(names or {})
        self.user, self.password = user, password
        self.closing = threading.Event()
        super().__init__()

    def stop(self) -> None:
        self.closing.set()
        super().stop()

    def target(self, host: str, port: int) -> socket.socket | None:
        """A connection to where a host stands for; None if the proxy does not know it."""
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_loopback:
                return socket.create_connection((host, port), timeout=10)
        known = self.names.get(host)
        return None if known is None else socket.create_connection(("127.0.0.1", known), timeout=10)


class SocksProxy(_Proxy):
    """A SOCKS 5 proxy. `names` maps host names to ports of the loopback.

    With a user name it wants a login. `reply` is the code that refuses every request; 0 refuses none.
    """

    def __init__(
        self, names: Mapping[str, int] | None = None, *, user: str = "", password: str = "", reply: int = SUCCEEDED
    ) -> None:
        self.reply = reply
        self.requests: list[SocksRequest] = []
        self.logins: list[tuple[str, str]] = []
        super().__init__(names, user, password)

    @property
    def url(self) -> str:
        """The proxy's URL, without a login; names are resolved by the proxy."""
        return f"socks5h://127.0.0.1:{self.port}"

    def talk(self, client: socket.socket, number: int) -> None:
        with client.makefile("rb") as stream:
            if not self._is_welcome(client, stream):
                return
            version, command, _reserved, kind = _exactly(stream, 4)
            if version != 5 or kind not in (1, 3, 4):
                _answer(client, UNKNOWN_ADDRESS)
                return
            address_type, host = _address(stream, kind)
            port = int.from_bytes(_exactly(stream, 2), "big")
            reply, upstream = (NOT_SUPPORTED, None) if command != 1 else self._connect(host, port)
            user = self.logins[-1][0] if self.user and self.logins else ""
            self.requests.append(SocksRequest(address_type, host, port, user, reply))
            _answer(client, reply)
            if upstream:
                relay(client, upstream)

    def _is_welcome(self, client: socket.socket, stream: BinaryIO) -> bool:
        version, count = _exactly(stream, 2)
        methods = _exactly(stream, count)
        wanted = PASSWORD if self.user else NO_LOGIN
        fits = version == 5 and wanted in methods
        client.sendall(bytes([5, wanted if fits else NOTHING_FITS]))
        if not fits or not self.user:
            return fits
        _version, size = _exactly(stream, 2)  # RFC 1929 section 2
        user = _exactly(stream, size).decode()
        password = _exactly(stream, _exactly(stream, 1)[0]).decode()
        self.logins.append((user, password))
        is_right = (user, password) == (self.user, self.password)
        client.sendall(bytes([1, 0 if is_right else 1]))
        return is_right

    def _connect(self, host: str, port: int) -> tuple[int, socket.socket | None]:
        if self.reply:
            return self.reply, None
        try:
            upstream = self.target(host, port)
        except OSError:
            return REFUSED, None
        return (SUCCEEDED, upstream) if upstream else (UNREACHABLE, None)


class ConnectProxy(_Proxy):
    """An HTTP proxy for CONNECT alone. `names` maps host names to ports of the loopback.

    With a user name it wants a Basic login, and answers 407. `status` other than 200 is the answer to every request,
    `garbage` is sent instead of an answer, and with `stalls` there is none.
    """

    def __init__(  # noqa: PLR0913  the ways in which a proxy may fail
        self,
        names: Mapping[str, int] | None = None,
        *,
        user: str = "",
        password: str = "",
        status: int = 200,
        garbage: bytes = b"",
        stalls: bool = False,
    ) -> None:
        self.status, self.garbage, self.stalls = status, garbage, stalls
        self.requests: list[ConnectRequest] = []
        super().__init__(names, user, password)

    @property
    def url(self) -> str:
        """The proxy's URL, without a login."""
        return f"http://127.0.0.1:{self.port}"

    def talk(self, client: socket.socket, number: int) -> None:
        with client.makefile("rb") as stream:
            while True:
                line = stream.readline(10_000).decode("latin-1")
                method, _space, rest = line.rstrip("\r\n").partition(" ")
                target = rest.partition(" ")[0]
                headers = _fields(stream)
                if not line:
                    return
                status, upstream = self._decide(method, target, headers)
                self.requests.append(ConnectRequest(target, headers, status))
                if not status:
                    client.sendall(self.garbage)
                    self.closing.wait(30 if self.stalls else 0)
                    return
                client.sendall(_status_line(status))
                if upstream:
                    relay(client, upstream)
                    return
                if status != 407:  # after which the client may log in on the same connection
                    return

    def _decide(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, socket.socket | None]:
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.stalls or self.garbage:
            return 0, None
        if method != "CONNECT":
            return 405, None
        if self.user and headers.get("proxy-authorization") != f"Basic {login}":
            return 407, None
        if self.status != 200:
            return self.status, None
        host, _colon, port = target.rpartition(":")
        try:
            upstream = self.target(host.strip("[]"), int(port))
        except (OSError, ValueError):
            return 502, None
        return (200, upstream) if upstream else (502, None)


def relay(client: socket.socket, upstream: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended."""
    client.settimeout(None)
    upstream.settimeout(None)
    with upstream:
        back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
        back.start()
        _copy(client, upstream)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise ConnectionError("the client hung up")
    return data


def _address(stream: BinaryIO, kind: int) -> tuple[str, str]:
    if kind == 3:
        return "name", _exactly(stream, _exactly(stream, 1)[0]).decode()
    packed = _exactly(stream, 4 if kind == 1 else 16)
    return ("ipv4" if kind == 1 else "ipv6"), str(ipaddress.ip_address(packed))


def _answer(client: socket.socket, reply: int) -> None:
    client.sendall(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))


def _fields(stream: BinaryIO) -> dict[str, str]:
    fields = {}
    while (line := stream.readline(10_000).decode("latin-1").rstrip("\r\n")) != "":
        name, _colon, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return fields


def _status_line(status: int) -> bytes:
    if status == 200:
        return b"HTTP/1.1 200 Connection established\r\n\r\n"
    challenge = 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status == 407 else ""
    return f"HTTP/1.1 {status} No\r\n{challenge}Content-Length: 0\r\n\r\n".encode()

"""One HTTPS exchange over verified TLS, within a deadline that the other side cannot stretch.

It goes through the proxy that the environment names.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import socket
import ssl
import sys
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from smtpsetup import __version__
from smtpsetup.core.failure import Kind
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.net import dial, tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.tls import TlsPolicy

LIMIT = 65536  # bytes of an answer
PORT = 443
_SHOWN = 200  # characters of an address that somebody else wrote
_PROXY_PORT = 3128
_HEADERS = {
    "User-Agent": f"smtpsetup/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Trouble(Enum):
    """Why there is no answer: nobody is there, nobody answered in time, it failed, or it is too large."""

    ABSENT = auto()
    TIMEOUT = auto()
    FAILED = auto()
    TOO_LARGE = auto()


class HttpsError(Exception):
    """There is no answer.

    `detail` is for people; `is_ours` tells that the fault lies on this side: the proxy of this machine.

    `may_be_clock` tells that a certificate is not valid at the time that this machine's clock shows.
    """

    def __init__(self, trouble: Trouble, detail: str, *, is_ours: bool = False, may_be_clock: bool = False) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail
        self.is_ours = is_ours
        self.may_be_clock = may_be_clock


class Response(NamedTuple):
    """What a web server answered. `location` and `retry_after` are those header fields, or `""`."""

    status: int
    body: bytes
    location: str
    retry_after: str


class Web(NamedTuple):
    """How this run reaches the web.

    Whom it believes, who finds hosts (None for the system), and what is done before a request goes out.
    """

    policy: TlsPolicy
    look_up: LookUp | None
    before_request: Callable[[], None] | None = None

    def exchange(
        self,
        method: str,
        parts: SplitResult,
        deadline: Deadline,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask once; no redirect is followed. Raises HttpsError."""
        host, port = str(parts.hostname), parts.port or PORT
        try:
            with contextlib.closing(self._connected(host, port, deadline)) as sock:
                connection = http.client.HTTPConnection(host, None if port == PORT else port)
                connection.sock = _Timed(sock, deadline)  # the three methods of a socket that http.client uses
                path = parts.path or "/"
                if self.before_request:
                    self.before_request()
                connection.request(
                    method, f"{path}?{parts.query}" if parts.query else path, body, {**_HEADERS, **(headers or {})}
                )
                response = connection.getresponse()
                content = response.read(LIMIT + 1)
        except HttpsError:
            raise
        except (OSError, UnicodeError, http.client.HTTPException, ValueError) as error:
            raise _told(error) from error
        if len(content) > LIMIT:
            raise HttpsError(Trouble.TOO_LARGE, _("larger than {n} kB").format(n=LIMIT // 1024))
        return Response(
            response.status, content, response.getheader("Location") or "", response.getheader("Retry-After") or ""
        )

    def _connected(self, host: str, port: int, deadline: Deadline) -> ssl.SSLSocket:
        proxy = _proxy_for(host)
        sock = (
            self._tunnel(proxy, host, port, deadline)
            if proxy
            else dial.race(dial.resolve(host, port, deadline, self.look_up), deadline)
        )
        try:
            sock.settimeout(deadline.remaining())
            return tls.secure(sock, host, self.policy)
        except BaseException:
            sock.close()
            raise

    def _tunnel(self, proxy: Proxy, host: str, port: int, deadline: Deadline) -> socket.socket:
        """A connection to the host through a proxy.

        Raises HttpsError for everything that goes wrong on the way to it.
        """
        try:
            sock = dial.race(dial.resolve(proxy.host, proxy.port, deadline, self.look_up), deadline)
        except (OSError, UnicodeError) as error:
            raise _proxy_error(_("the proxy {host} cannot be reached").format(host=proxy.host)) from error
        try:
            _open_tunnel(_Timed(sock, deadline), proxy, f"{host}:{port}")
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise _proxy_error(_("the proxy {host} gives no proper answer").format(host=proxy.host)) from error
            raise
        return sock


class _Timed:
    """A socket for http.client on which every wait ends at the deadline, however slowly the other side drips."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        """The socket is closed by who opened it."""


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed names a private type
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(buffer)


class Proxy(NamedTuple):
    """An HTTP proxy; `login` is `name:password`, None where it wants none."""

    host: str
    port: int
    login: str | None


def _proxy_error(detail: str) -> HttpsError:
    return HttpsError(Trouble.FAILED, detail, is_ours=True)


def _proxy_for(host: str) -> Proxy | None:
    """The proxy that the environment (or the system) names for a host.

    Raises HttpsError for one that cannot be used.
    """
    if sys.platform not in ("win32", "darwin") and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 30 ms that only users of a proxy pay

    proxies = getproxies()
    chosen = proxies.get("https") or proxies.get("all")
    if not chosen or proxy_bypass(host):
        return None
    try:
        parts = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
        name, port = parts.hostname, parts.port or _PROXY_PORT
    except ValueError:
        name, port = None, 0
        parts = SplitResult("", "", "", "", "")
    if parts.scheme != "http" or not name:
        without_login = chosen.rpartition("@")[2]
        raise _proxy_error(_("the proxy {url} is not one for HTTP").format(url=plain_text(without_login[:_SHOWN])))
    login = None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(name, port, login)


def _open_tunnel(sock: _Timed, proxy: Proxy, place: str) -> None:
    """Ask a proxy for a connection to the host (RFC 9110 section 9.3.6). Raises HttpsError."""
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]  # it uses makefile alone
    response.begin()
    if response.status != http.client.OK:
        raise _proxy_error(_("the proxy answered {status}").format(status=response.status))


def _told(error: Exception) -> HttpsError:
    if isinstance(error, TimeoutError):
        return HttpsError(Trouble.TIMEOUT, _("no answer in time"))
    if isinstance(error, UnicodeError) or (isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN):
        return HttpsError(Trouble.ABSENT, _("no such host"))
    if isinstance(error, ConnectionRefusedError):
        return HttpsError(Trouble.ABSENT, _("no web server"))
    if isinstance(error, ssl.SSLError):
        kind = tls.kind_of(error)
        may_be_clock = kind in (Kind.CERTIFICATE_EXPIRED, Kind.CERTIFICATE_NOT_YET_VALID)
        return HttpsError(
            Trouble.FAILED, _CERTIFICATE.get(kind, lambda: _("no TLS connection"))(), may_be_clock=may_be_clock
        )
    is_http = isinstance(error, http.client.HTTPException | ValueError)
    return HttpsError(Trouble.FAILED, _("no proper HTTP answer") if is_http else _("no connection"))


_CERTIFICATE: dict[Kind, Callable[[], str]] = {
    Kind.CERTIFICATE_EXPIRED: lambda: _("its certificate has expired"),
    Kind.CERTIFICATE_NOT_YET_VALID: lambda: _("its certificate is not valid yet"),
    Kind.CERTIFICATE_UNTRUSTED: lambda: _("its certificate comes from an unknown authority"),
    Kind.HOSTNAME_MISMATCH: lambda: _("its certificate is for another name"),
}

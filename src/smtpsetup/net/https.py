"""One HTTPS exchange over verified TLS, through the proxy in the environment.

It ends at its deadline, however slowly the server answers.
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
from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.net import dial, tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.tls import TlsPolicy

LIMIT = 65536  # bytes of a response body
PORT = 443
_MAX_SHOWN = 200  # characters of a URL that somebody else wrote
_PROXY_PORT = 3128
_CERTIFICATE_FAULTS = {
    Kind.CERTIFICATE_EXPIRED: N_("its certificate has expired"),
    Kind.CERTIFICATE_NOT_YET_VALID: N_("its certificate is not valid yet"),
    Kind.CERTIFICATE_UNTRUSTED: N_("its certificate comes from an unknown authority"),
    Kind.HOSTNAME_MISMATCH: N_("its certificate is for another name"),
}
_HEADERS = {
    "User-Agent": f"smtpsetup/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class HttpsTrouble(Enum):
    """Why there is no response: no server, no answer in time, a failure, or too large a body."""

    ABSENT = auto()
    TIMEOUT = auto()
    FAILED = auto()
    TOO_LARGE = auto()


class HttpsError(Exception):
    """There is no response.

    `detail` is in the user's language. `proxy_failed` says that this machine's proxy is at fault. `may_be_clock` says
    that the certificate is expired or not valid yet, so that this machine's clock may be wrong.
    """

    def __init__(
        self, trouble: HttpsTrouble, detail: str, *, proxy_failed: bool = False, may_be_clock: bool = False
    ) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail
        self.proxy_failed = proxy_failed
        self.may_be_clock = may_be_clock


class Response(NamedTuple):
    """A response. `location` and `retry_after` are those header fields, or `""`."""

    status: int
    body: bytes
    location: str
    retry_after: str


class Web(NamedTuple):
    """How to reach web servers. `look_up` replaces the system's resolver; `before_request` is called before sending."""

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
        """Send one request; redirects are not followed. Raises HttpsError."""
        host, port = str(parts.hostname), parts.port or PORT
        try:
            with contextlib.closing(self._connected(host, port, deadline)) as sock:
                connection = http.client.HTTPConnection(host, None if port == PORT else port)
                connection.sock = _Timed(sock, deadline)  # it has the socket methods that http.client uses
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
            raise _https_error(error) from error
        if len(content) > LIMIT:
            raise HttpsError(HttpsTrouble.TOO_LARGE, _("larger than {n} kB").format(n=LIMIT // 1024))
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
        """A connection to the host through a proxy. Raises HttpsError."""
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
    """A socket for http.client on which every wait ends at the deadline, even if single bytes keep coming."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        """Do nothing: `Web.exchange` closes the socket."""


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
    """An HTTP proxy; `login` is `name:password` or None."""

    host: str
    port: int
    login: str | None


def _proxy_error(detail: str) -> HttpsError:
    return HttpsError(HttpsTrouble.FAILED, detail, proxy_failed=True)


def _proxy_for(host: str) -> Proxy | None:
    """The proxy in the environment or the system's settings for a host. Raises HttpsError for one that is not HTTP."""
    if sys.platform not in ("win32", "darwin") and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 30 ms, only for users of a proxy

    proxies = getproxies()
    chosen = proxies.get("https") or proxies.get("all")
    if not chosen or proxy_bypass(host):
        return None
    try:
        parts = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
        name, port = parts.hostname, parts.port or _PROXY_PORT
    except ValueError:
        parts, name, port = SplitResult("", "", "", "", ""), None, 0
    if parts.scheme != "http" or not name:
        without_login = chosen.rpartition("@")[2]
        raise _proxy_error(_("the proxy {url} is not one for HTTP").format(url=plain_text(without_login[:_MAX_SHOWN])))
    login = None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(name, port, login)


def _open_tunnel(sock: _Timed, proxy: Proxy, place: str) -> None:
    """Send CONNECT to a proxy (RFC 9110 section 9.3.6). Raises HttpsError."""
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]  # it uses only makefile
    response.begin()
    if response.status != http.client.OK:
        raise _proxy_error(_("the proxy answered {status}").format(status=response.status))


def _https_error(error: Exception) -> HttpsError:
    if isinstance(error, TimeoutError):
        return HttpsError(HttpsTrouble.TIMEOUT, _("no answer in time"))
    if isinstance(error, UnicodeError) or (isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN):
        return HttpsError(HttpsTrouble.ABSENT, _("no such host"))
    if isinstance(error, ConnectionRefusedError):
        return HttpsError(HttpsTrouble.ABSENT, _("no web server"))
    if isinstance(error, ssl.SSLError):
        kind = tls.kind_of(error)
        may_be_clock = kind in (Kind.CERTIFICATE_EXPIRED, Kind.CERTIFICATE_NOT_YET_VALID)
        fault = _CERTIFICATE_FAULTS.get(kind) or N_("no TLS connection")
        return HttpsError(HttpsTrouble.FAILED, _(fault), may_be_clock=may_be_clock)
    is_http = isinstance(error, http.client.HTTPException | ValueError)
    return HttpsError(HttpsTrouble.FAILED, _("no proper HTTP answer") if is_http else _("no connection"))

"""One small document over verified HTTPS, within a deadline that the other side cannot stretch."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from smtpsetup import __version__
from smtpsetup.candidates import InvalidHostError, checked_host, is_loopback
from smtpsetup.discovery.findings import Outcome
from smtpsetup.discovery.suffixes import same_owner
from smtpsetup.failure import Kind
from smtpsetup.i18n import gettext as _
from smtpsetup.model import plain_text
from smtpsetup.transport import dial, tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.transport.dial import Deadline, LookUp
    from smtpsetup.transport.tls import TlsPolicy

_LIMIT = 65536  # bytes; the largest file in the public database has 9,000
_REDIRECTS = 3
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_HTTPS_PORT = 443
_SHOWN = 200  # characters of an address that somebody else wrote
_PROXY_PORT = 3128
_HEADERS = {"User-Agent": f"smtpsetup/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched. `url` is where it was found in the end; `is_foreign` tells that a redirect led to another owner's host."""

    url: str
    body: bytes
    is_foreign: bool


class FetchError(Exception):
    """Nothing was fetched; `outcome` tells a place that has nothing (ABSENT) from one that could not be asked or must not be followed.

    `is_ours` tells that the fault lies on this side: the proxy of this machine.
    """

    def __init__(self, outcome: Outcome, detail: str, status: int = 0, *, is_ours: bool = False) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.status = status
        self.is_ours = is_ours


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How this run fetches: whom it believes, who finds hosts (None for the system)."""

    policy: TlsPolicy
    look_up: LookUp | None

    def get(self, url: str, deadline: Deadline) -> Document:
        """The document at an HTTPS address, at most three redirects away. Raises FetchError."""
        owner = str(urlsplit(url).hostname)
        is_foreign = False
        for hop in range(_REDIRECTS + 1):
            parts = _checked(url, is_redirect=hop > 0)
            url = parts.geturl()
            host = str(parts.hostname)
            is_foreign = is_foreign or (host != owner and not same_owner(host, owner))
            status, location, body = self._request(parts, host, deadline)
            if status in _REDIRECT_STATUSES and location:
                url = _joined(url, location)
                continue
            if status == http.client.OK:
                return Document(url, body, is_foreign)
            gone = status in (http.client.NOT_FOUND, http.client.GONE)
            raise FetchError(Outcome.ABSENT if gone else Outcome.FAILED, _("HTTP status {status}").format(status=status), status)
        raise FetchError(Outcome.REFUSED, _("more than {n} redirects").format(n=_REDIRECTS))

    def _request(self, parts: SplitResult, host: str, deadline: Deadline) -> tuple[int, str, bytes]:
        try:
            with contextlib.closing(self._connected(host, deadline)) as sock:
                connection = http.client.HTTPConnection(host)
                connection.sock = _Timed(sock, deadline)  # the three methods of a socket that http.client uses
                path = parts.path or "/"
                connection.request("GET", f"{path}?{parts.query}" if parts.query else path, headers=_HEADERS)
                response = connection.getresponse()
                body = response.read(_LIMIT + 1)
        except FetchError:
            raise
        except (OSError, UnicodeError, http.client.HTTPException, ValueError) as error:
            raise _as_fetch_error(error) from error
        if len(body) > _LIMIT:
            raise FetchError(Outcome.REFUSED, _("larger than {n} kB").format(n=_LIMIT // 1024))
        return response.status, response.getheader("Location") or "", body

    def _connected(self, host: str, deadline: Deadline) -> ssl.SSLSocket:
        proxy = _proxy_for(host)
        sock = self._tunnel(proxy, host, deadline) if proxy else dial.race(dial.resolve(host, _HTTPS_PORT, deadline, self.look_up), deadline)
        try:
            sock.settimeout(deadline.remaining())
            return tls.secure(sock, host, self.policy)
        except BaseException:
            sock.close()
            raise

    def _tunnel(self, proxy: Proxy, host: str, deadline: Deadline) -> socket.socket:
        """A connection to the host through a proxy. Raises FetchError for everything that goes wrong on the way to it."""
        try:
            sock = dial.race(dial.resolve(proxy.host, proxy.port, deadline, self.look_up), deadline)
        except (OSError, UnicodeError) as error:
            raise _proxy_error(_("the proxy {host} cannot be reached").format(host=proxy.host)) from error
        try:
            _open_tunnel(_Timed(sock, deadline), proxy, host)
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


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is no web address").format(url=_shown(location))) from error


def _checked(url: str, *, is_redirect: bool) -> SplitResult:
    """The parts of an address that may be asked: HTTPS, a host with a name, the usual port, no login; the fragment dropped. Raises FetchError."""
    try:
        parts = urlsplit(url)._replace(fragment="")
        port = parts.port
    except ValueError as error:
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is no web address").format(url=_shown(url))) from error
    if parts.scheme != "https":
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is not HTTPS").format(url=_shown(url)))
    is_clean = all("!" <= char <= "~" for char in url)
    if parts.username is not None or port not in (None, _HTTPS_PORT) or not _is_public_name(parts.hostname or "") or not is_clean:
        text = _("a redirect leads to {url}, which is not followed") if is_redirect else _("{url} is not asked")
        raise FetchError(Outcome.REFUSED, text.format(url=_shown(url)))
    return parts


def _shown(url: str) -> str:
    return plain_text(url[:_SHOWN])


def _is_public_name(host: str) -> bool:
    try:
        return "." in host and checked_host(host) == host and not is_loopback(host) and not host.rpartition(".")[2].isdigit()
    except InvalidHostError:
        return False


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `login` is `name:password`, None where it wants none."""

    host: str
    port: int
    login: str | None


def _proxy_error(detail: str) -> FetchError:
    return FetchError(Outcome.FAILED, detail, is_ours=True)


def _proxy_for(host: str) -> Proxy | None:
    """The proxy that the environment (or the system) names for a host. Raises FetchError for one that cannot be used."""
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
        raise _proxy_error(_("the proxy {url} is not one for HTTP").format(url=_shown(without_login)))
    login = None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(name, port, login)


def _open_tunnel(sock: _Timed, proxy: Proxy, host: str) -> None:
    """Ask a proxy for a connection to the host (RFC 9110 section 9.3.6). Raises FetchError."""
    lines = [f"CONNECT {host}:{_HTTPS_PORT} HTTP/1.1", f"Host: {host}:{_HTTPS_PORT}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]  # it uses makefile alone
    response.begin()
    if response.status != http.client.OK:
        raise _proxy_error(_("the proxy answered {status}").format(status=response.status))


def _as_fetch_error(error: Exception) -> FetchError:
    if isinstance(error, TimeoutError):
        return FetchError(Outcome.TIMEOUT, _("no answer in time"))
    if isinstance(error, UnicodeError) or (isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN):
        return FetchError(Outcome.ABSENT, _("no such host"))
    if isinstance(error, ConnectionRefusedError):
        return FetchError(Outcome.ABSENT, _("no web server"))
    if isinstance(error, ssl.SSLError):
        return FetchError(Outcome.FAILED, _CERTIFICATE.get(tls.kind_of(error), lambda: _("no TLS connection"))())
    is_http = isinstance(error, http.client.HTTPException | ValueError)
    return FetchError(Outcome.FAILED, _("no proper HTTP answer") if is_http else _("no connection"))


_CERTIFICATE: dict[Kind, Callable[[], str]] = {
    Kind.CERTIFICATE_EXPIRED: lambda: _("its certificate has expired"),
    Kind.CERTIFICATE_NOT_YET_VALID: lambda: _("its certificate is not valid yet"),
    Kind.CERTIFICATE_UNTRUSTED: lambda: _("its certificate comes from an unknown authority"),
    Kind.HOSTNAME_MISMATCH: lambda: _("its certificate is for another name"),
}

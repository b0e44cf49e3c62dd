"""One small document over verified HTTPS, within a deadline that the other side cannot stretch."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

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
_PROXY_PORT = 3128
_HEADERS = {"User-Agent": f"smtpsetup/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched. `url` is where it was found in the end; `is_foreign` tells that a redirect led to another owner's host."""

    url: str
    body: bytes
    is_foreign: bool


class FetchError(Exception):
    """Nothing was fetched; `outcome` tells a place that has nothing (ABSENT) from one that could not be asked or must not be followed."""

    def __init__(self, outcome: Outcome, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How this run fetches: whom it believes, who finds hosts (None for the system)."""

    policy: TlsPolicy
    look_up: LookUp | None

    def get(self, url: str, deadline: Deadline) -> Document:
        """The document at an HTTPS address, at most three redirects away. Raises FetchError."""
        owner = str(urlsplit(url).hostname)
        is_foreign = False
        for _hop in range(_REDIRECTS + 1):
            parts = _checked(url)
            host = str(parts.hostname)
            is_foreign = is_foreign or (host != owner and not same_owner(host, owner))
            status, location, body = self._request(parts, host, deadline)
            if status in _REDIRECT_STATUSES and location:
                url = urljoin(url, location)
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
        where = (str(proxy.hostname), proxy.port or _PROXY_PORT) if proxy else (host, _HTTPS_PORT)
        sock = dial.race(dial.resolve(*where, deadline, self.look_up), deadline)
        try:
            if proxy:
                _open_tunnel(_Timed(sock, deadline), proxy, host)
            sock.settimeout(deadline.remaining())
            return tls.secure(sock, host, self.policy)
        except BaseException:
            sock.close()
            raise


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


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be asked: HTTPS, a host with a name, the usual port, no login. Raises FetchError."""
    shown = plain_text(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is no web address").format(url=shown)) from error
    if parts.scheme != "https":
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is not HTTPS").format(url=shown))
    if parts.username is not None or port not in (None, _HTTPS_PORT) or not _is_public_name(parts.hostname or "") or not url.isascii() or " " in url:
        raise FetchError(Outcome.REFUSED, _("a redirect leads to {url}, which is not followed").format(url=shown))
    return parts


def _is_public_name(host: str) -> bool:
    try:
        return "." in host and checked_host(host) == host and not is_loopback(host) and not host.rpartition(".")[2].isdigit()
    except InvalidHostError:
        return False


def _proxy_for(host: str) -> SplitResult | None:
    """The proxy that the environment (or the system) names for a host."""
    if sys.platform not in ("win32", "darwin") and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 30 ms that only users of a proxy pay

    proxies = getproxies()
    chosen = proxies.get("https") or proxies.get("all")
    if not chosen or proxy_bypass(host):
        return None
    proxy = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise FetchError(Outcome.FAILED, _("the proxy {url} is not one for HTTP").format(url=plain_text(f"{proxy.scheme}://{proxy.hostname}")))
    return proxy


def _open_tunnel(sock: _Timed, proxy: SplitResult, host: str) -> None:
    """Ask a proxy for a connection to the host (RFC 9110 section 9.3.6). Raises FetchError."""
    lines = [f"CONNECT {host}:{_HTTPS_PORT} HTTP/1.1", f"Host: {host}:{_HTTPS_PORT}"]
    if proxy.username is not None:
        from base64 import b64encode
        from urllib.parse import unquote

        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]  # it uses makefile alone
    response.begin()
    if response.status != http.client.OK:
        raise FetchError(Outcome.FAILED, _("the proxy answered {status}").format(status=response.status))


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

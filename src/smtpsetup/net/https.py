"""One HTTPS exchange over verified TLS, through the proxy in the environment.

It ends at its deadline, however slowly the server answers.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import __version__
from smtpsetup.core.failure import Kind
from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _
from smtpsetup.net import dial, proxy, tls
from smtpsetup.net.timed_socket import TimedSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.net.tls import TlsPolicy

LIMIT = 65536  # bytes of a response body
PORT = 443
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
    """How to reach web servers.

    `look_up` replaces the system's resolver; `before_request` is called before sending. `proxy` is that of an account,
    None where the environment decides.
    """

    policy: TlsPolicy
    look_up: LookUp | None
    before_request: Callable[[], None] | None = None
    proxy: Proxy | None = None

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
                connection.sock = TimedSocket(sock, deadline)  # it has the socket methods that http.client uses
                path = parts.path or "/"
                if self.before_request:
                    self.before_request()
                connection.request(
                    method, f"{path}?{parts.query}" if parts.query else path, body, {**_HEADERS, **(headers or {})}
                )
                response = connection.getresponse()
                content = response.read(LIMIT + 1)
        except proxy.ProxyError as error:
            raise HttpsError(HttpsTrouble.FAILED, error.detail, proxy_failed=True) from error
        except (OSError, UnicodeError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise _https_error(error) from error
        if len(content) > LIMIT:
            raise HttpsError(HttpsTrouble.TOO_LARGE, _("larger than {n} kB").format(n=LIMIT // 1024))
        return Response(
            response.status, content, response.getheader("Location") or "", response.getheader("Retry-After") or ""
        )

    def _connected(self, host: str, port: int, deadline: Deadline) -> ssl.SSLSocket:
        through = proxy.for_https(host, self.proxy)
        sock = (
            proxy.connect(through, host, port, deadline, self.look_up)
            if through
            else dial.race(dial.resolve(host, port, deadline, self.look_up), deadline)
        )
        try:
            sock.settimeout(deadline.remaining())
            return tls.secure(sock, host, self.policy)
        except BaseException:
            sock.close()
            raise


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
    is_http = isinstance(error, http.client.HTTPException | ValueError | OverflowError)
    return HttpsError(HttpsTrouble.FAILED, _("no proper HTTP answer") if is_http else _("no connection"))

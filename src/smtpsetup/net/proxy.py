"""Connections through a proxy: SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110 section 9.3.6).

The proxy looks up the name of the host, so that a machine without a resolver of its own can use it.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from smtpsetup.address.hosts import is_loopback
from smtpsetup.core.errors import reason_of
from smtpsetup.core.failure import Kind, WireError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret, plain_text
from smtpsetup.net import dial

if TYPE_CHECKING:
    import socket

    from smtpsetup.net.dial import Deadline, LookUp

DIRECT = "none"
"""In place of a proxy's URL: use none, whatever the environment says."""
_PORTS = {"http": 3128, "socks5": 1080}
_SCHEMES = {"http": "http", "socks5": "socks5", "socks5h": "socks5", "socks": "socks5"}
_MAX_SHOWN = 200  # characters of a URL that somebody else wrote
_HEADER_LIMIT = 16_384  # bytes of the answer to CONNECT
_NAME_LIMIT = 255  # bytes of a name, a user name or a password (RFC 1928 section 4, RFC 1929 section 2)
_VERSION, _NO_LOGIN, _PASSWORD_LOGIN, _CONNECT, _NAME = 5, 0, 2, 1, 3
_REPLIES = {3: Kind.UNREACHABLE, 4: Kind.UNREACHABLE, 5: Kind.REFUSED, 6: Kind.TIMEOUT}  # RFC 1928 section 6
_ADDRESS_BYTES = {1: 4, 4: 16}
_TIMED_OUT = 504


class ProxyError(WireError):
    """The proxy gives no connection to the host. `kind` is PROXY_FAILED where the proxy itself is at fault."""


class Proxy(NamedTuple):
    """A proxy. `scheme` is `http` or `socks5`, or `none` for a direct connection; `login` is `name:password`."""

    scheme: str
    host: str = ""
    port: int = 0
    login: Secret | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" if self.host else self.scheme

    @property
    def url(self) -> str:
        """The proxy as a user writes it, with its login: for the configuration, never for output."""
        if not self.login:
            return str(self)
        from urllib.parse import quote  # only to write a login

        name, _colon, password = self.login.reveal().partition(":")
        login = quote(name, safe="") + (f":{quote(password, safe='')}" if password else "")
        return str(self).replace("://", f"://{login}@", 1)


def parsed(url: str) -> Proxy:
    """The proxy of a URL, such as `socks5://host:1080`, or of DIRECT.

    Raises ValueError, with a text in the user's language that holds no login.
    """
    if url == DIRECT:
        return Proxy(DIRECT)
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme, host = _SCHEMES.get(parts.scheme, ""), parts.hostname
        port = parts.port or _PORTS.get(scheme, 0)
    except ValueError:
        scheme, host, port = "", None, 0
    if not scheme or not host or not re.fullmatch(r"[!-~]+", host):
        shown = plain_text(url.rpartition("@")[2][:_MAX_SHOWN])
        raise ValueError(_("the proxy {url} is not one for HTTP or SOCKS5").format(url=shown))
    if parts.username is None:
        return Proxy(scheme, host, port)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(scheme, host, port, Secret(login))


def chosen(setting: Proxy | None, host: str) -> Proxy | None:
    """The proxy for a mail server: the account's own `setting`, else that of `ALL_PROXY`; None for a direct connection.

    Raises ProxyError for a variable that names none.
    """
    if is_loopback(host):
        return None
    if setting is not None:
        return setting if setting.host else None
    given = dial.proxy_from_environment()
    if not given:
        return None
    from urllib.request import proxy_bypass  # 30 ms, only for users of a proxy

    return None if proxy_bypass(host) else _given(given)


def for_https(host: str, setting: Proxy | None = None) -> Proxy | None:
    """The proxy for a web server: the account's own `setting`, else that of the environment or the system's settings.

    Raises ProxyError for one that is neither HTTP nor SOCKS5.
    """
    if setting is not None:
        return setting if setting.host and not is_loopback(host) else None
    if sys.platform not in ("win32", "darwin") and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 30 ms, only for users of a proxy

    proxies = getproxies()
    given = proxies.get("https") or proxies.get("all")
    return None if not given or proxy_bypass(host) else _given(given)


def _given(url: str) -> Proxy:
    try:
        return parsed(url)
    except ValueError as error:
        raise ProxyError(Kind.PROXY_FAILED, str(error)) from error


def connect(proxy: Proxy, host: str, port: int, deadline: Deadline, look_up: LookUp | None = None) -> socket.socket:
    """A connection to the host through a proxy. Raises ProxyError."""
    try:
        sock = dial.race(dial.resolve(proxy.host, proxy.port, deadline, look_up), deadline)
    except (OSError, UnicodeError) as error:
        text = _("the proxy {host} cannot be reached: {reason}").format(host=proxy.host, reason=reason_of(error))
        raise ProxyError(Kind.PROXY_FAILED, text) from error
    try:
        if proxy.scheme == "http":
            _open_by_http(_Exchange(sock, deadline), proxy, host, port)
        else:
            _open_by_socks(_Exchange(sock, deadline), proxy, host, port)
    except ProxyError:
        sock.close()
        raise
    except TimeoutError as error:
        sock.close()
        raise ProxyError(Kind.PROXY_FAILED, _("the proxy {host} does not answer").format(host=proxy.host)) from error
    except OSError as error:
        sock.close()
        raise _improper(proxy) from error
    except BaseException:
        sock.close()
        raise
    return sock


class _Exchange:
    """Bytes to and from a proxy, until the deadline. What follows the proxy's answers is left in the socket."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def send(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.remaining())
        self._sock.sendall(data)

    def read(self, size: int) -> bytes:
        """So many bytes. Raises OSError where the proxy closes the connection before."""
        data = b""
        while len(data) < size:
            self._sock.settimeout(self._deadline.remaining())
            piece = self._sock.recv(size - len(data))
            if not piece:
                raise ConnectionResetError
            data += piece
        return data


def _improper(proxy: Proxy) -> ProxyError:
    text = _("the proxy {host} gives no proper answer").format(host=proxy.host)
    return ProxyError(Kind.PROXY_FAILED, text)


def _wants_login(proxy: Proxy) -> ProxyError:
    text = _("the proxy {host} does not accept the login, or needs one").format(host=proxy.host)
    return ProxyError(Kind.PROXY_FAILED, text)


def _open_by_http(exchange: _Exchange, proxy: Proxy, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.login is not None:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.reveal().encode()).decode()}")
    exchange.send("\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += exchange.read(1)
        if len(answer) > _HEADER_LIMIT:
            raise _improper(proxy)
    match = re.match(rb"HTTP/1\.[01] ([1-5]\d\d)\b", answer)
    if not match:
        raise _improper(proxy)
    status = int(match[1])
    if status == 407:  # noqa: PLR2004  RFC 9110 section 15.5.8
        raise _wants_login(proxy)
    if status // 100 != 2:  # noqa: PLR2004  RFC 9110 section 9.3.6
        text = _("the proxy answered {status}").format(status=status)
        raise ProxyError(Kind.TIMEOUT if status == _TIMED_OUT else Kind.PROXY_FAILED, text)


def _open_by_socks(exchange: _Exchange, proxy: Proxy, host: str, port: int) -> None:
    exchange.send(bytes([_VERSION, 1, _PASSWORD_LOGIN if proxy.login else _NO_LOGIN]))
    version, method = exchange.read(2)
    if version != _VERSION:
        raise _improper(proxy)
    if method == _PASSWORD_LOGIN and proxy.login:
        name, _colon, password = proxy.login.reveal().partition(":")
        exchange.send(b"\x01" + _counted(proxy, name.encode()) + _counted(proxy, password.encode()))
        if exchange.read(2)[1] != 0:
            raise _wants_login(proxy)
    elif method != _NO_LOGIN:
        raise _wants_login(proxy)
    name_bytes = _counted(proxy, host.encode())
    exchange.send(bytes([_VERSION, _CONNECT, 0, _NAME]) + name_bytes + port.to_bytes(2))
    version, reply, _reserved, kind = exchange.read(4)
    if version != _VERSION:
        raise _improper(proxy)
    if reply:
        text = _("the proxy answered {status}").format(status=f"SOCKS {reply}")
        raise ProxyError(_REPLIES.get(reply, Kind.PROXY_FAILED), text)
    size = exchange.read(1)[0] if kind == _NAME else _ADDRESS_BYTES.get(kind)
    if size is None:
        raise _improper(proxy)
    exchange.read(size + 2)


def _counted(proxy: Proxy, data: bytes) -> bytes:
    if len(data) > _NAME_LIMIT:
        raise _wants_login(proxy)
    return bytes([len(data)]) + data

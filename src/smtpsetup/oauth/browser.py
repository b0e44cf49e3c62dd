"""Sign-in with a browser on this machine: redirect to a loopback address (RFC 8252 section 7.3), PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import select
import socket
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.oauth.request import TEMPORARY, OAuthError, request_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from smtpsetup.core.oauth_types import Endpoints, TokenClient, Tokens
    from smtpsetup.net.https import Web

SECONDS = 300.0  # for the person to sign in
_REQUEST_SECONDS = 20.0  # for a browser that has connected
_REQUEST_LIMIT = 65_536  # bytes: a browser sends the cookies of every program on this machine's ports
_MOST_CONNECTIONS = 64  # at once
_PAUSE_SECONDS = 0.05  # after accept failed: select would report the same connection at once
_POLL_SECONDS = 1.0


class SignIn(NamedTuple):
    """One attempt: the URL for the browser, and what to check its answer with.

    `verifier` is a secret (RFC 7636 section 4.1).
    """

    url: str
    redirect_uri: str
    state: str
    verifier: str

    def __repr__(self) -> str:
        return "SignIn(***)"


def listener() -> socket.socket:
    """A listening socket on a free loopback port. Raises OSError."""
    return socket.create_server(("127.0.0.1", 0), backlog=_MOST_CONNECTIONS)


def begin(endpoints: Endpoints, client: TokenClient, address: str, port: int) -> SignIn:
    """Prepare an attempt with a redirect to `port` on this machine. `address` is the user to suggest."""
    verifier = _random()
    challenge = _base64url(hashlib.sha256(verifier.encode()).digest())
    state = _random()
    redirect_uri = f"http://{endpoints.redirect_host}:{port}/"
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(client.scopes),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "login_hint": address,
        **dict(endpoints.parameters),
    }
    joint = "&" if "?" in endpoints.authorization_endpoint else "?"
    return SignIn(f"{endpoints.authorization_endpoint}{joint}{urlencode(query)}", redirect_uri, state, verifier)


def _random() -> str:
    return _base64url(os.urandom(32))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def wait(sign_in: SignIn, server: socket.socket, on_wrong_paste: Callable[[str], None] | None = None) -> str:
    """Wait for the code, from the browser or from a redirect URL that the person pastes. Raises OAuthError.

    `on_wrong_paste` is called with what is wrong with a pasted line; the person may then paste another one. Without it,
    standard input is not read.
    """
    end = time.monotonic() + SECONDS
    stdin: list[socket.socket | int] = [sys.stdin.fileno()] if on_wrong_paste else []
    with closing(_Connections(sign_in, server)) as connections:
        while (left := end - time.monotonic()) > 0:
            sockets = connections.sockets()
            ready, _writable, _failed = select.select([*sockets, *stdin], [], [], min(left, _POLL_SECONDS))
            code = connections.code(ready)
            if not code and on_wrong_paste and set(stdin) & set(ready):
                pasted = sys.stdin.readline()
                stdin = stdin if pasted else []
                code = _pasted(sign_in, pasted.strip(), on_wrong_paste)
            if code:
                return code
    raise OAuthError("expired_token", _("nobody signed in within five minutes"), is_own=True)


def _pasted(sign_in: SignIn, url: str, on_wrong_paste: Callable[[str], None]) -> str:
    """The code in a pasted URL; `""` for an empty or a wrong one. Raises OAuthError for the provider's refusal."""
    try:
        return code_in(sign_in, url) if url else ""
    except OAuthError as error:
        if error.error:
            raise
        on_wrong_paste(error.description)
        return ""


class _Connections:
    """The connections to the loopback address, served in parallel.

    Browsers open connections that they do not use, and other programs may connect.
    """

    def __init__(self, sign_in: SignIn, server: socket.socket) -> None:
        self._sign_in = sign_in
        self._server = server
        self._received: dict[socket.socket, bytes] = {}
        self._ends: dict[socket.socket, float] = {}

    def sockets(self) -> list[socket.socket]:
        """The listening socket and the open connections, after closing those that took too long."""
        for connection in [connection for connection, end in self._ends.items() if end < time.monotonic()]:
            self._drop(connection)
        return [self._server, *self._received]

    def code(self, ready: Collection[object]) -> str:
        """Read from the sockets that are ready. Returns the code, `""` without one. Raises OAuthError as `code_in`."""
        for connection in [connection for connection in self._received if connection in ready]:
            code = self._read(connection)
            if code:
                return code
        if self._server in ready:
            self._accept()
        return ""

    def _accept(self) -> None:
        try:
            connection, _address = self._server.accept()
        except OSError:  # closed meanwhile, or this process has too many open files
            time.sleep(_PAUSE_SECONDS)
            return
        connection.settimeout(0)
        if len(self._received) == _MOST_CONNECTIONS:
            oldest = next(iter(self._received))
            self._drop(next((silent for silent, received in self._received.items() if not received), oldest))
        self._received[connection], self._ends[connection] = b"", time.monotonic() + _REQUEST_SECONDS

    def _read(self, connection: socket.socket) -> str:
        try:
            piece = connection.recv(_REQUEST_LIMIT)
        except OSError:
            piece = b""
        received = self._received[connection] = self._received[connection] + piece
        if piece and b"\r\n\r\n" not in received and len(received) < _REQUEST_LIMIT:
            return ""
        try:
            return _answered(self._sign_in, connection, received)
        finally:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        del self._received[connection], self._ends[connection]
        connection.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._received):
            self._drop(connection)


def _answered(sign_in: SignIn, connection: socket.socket, request: bytes) -> str:
    """Answer a request. Returns its code, `""` for a request of another origin. Raises OAuthError as `code_in`."""
    target = _target(request, urlsplit(sign_in.redirect_uri).netloc)
    if target is None or not _is_ours(sign_in, _fields(target)):
        _show(connection, 404, _("This page belongs to a sign-in that is going on."))
        return ""
    try:
        code = code_in(sign_in, target)
    except OAuthError:
        _show(connection, 400, _("Signing in did not work. The terminal says why."))
        raise
    _show(connection, 200, _("Go back to the terminal: it goes on there. This page can be closed."))
    return code


def _show(connection: socket.socket, status: int, words: str) -> None:
    """Send a page. A browser that has gone is no error: its code is valid."""
    body = f"<!doctype html><meta charset=utf-8><title>smtpsetup</title><p>{words}</p>".encode()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with suppress(OSError):
        connection.sendall(
            f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode()
            + body
        )


def code_in(sign_in: SignIn, url: str) -> str:
    """The code in a redirect URL. Raises OAuthError for one of another sign-in, or with the provider's refusal."""
    fields = _fields(url)
    if "state" not in fields:
        raise OAuthError("", _("it is not the address at which a sign-in ends"))
    if not _is_ours(sign_in, fields):
        raise OAuthError("", _("the answer does not belong to this sign-in"))
    if "error" in fields:
        error = plain_text(fields["error"])[:100]
        raise OAuthError(error, plain_text(fields.get("error_description", ""))[:1000], is_temporary=error in TEMPORARY)
    if not fields.get("code"):
        raise OAuthError("", _("the answer holds no code"))
    return fields["code"]


def _is_ours(sign_in: SignIn, fields: Mapping[str, str]) -> bool:
    """Whether the fields hold the sign-in's state (RFC 6749 section 10.12): any website can open the loopback URL."""
    return hmac.compare_digest(fields.get("state", "").encode(), sign_in.state.encode())


def _fields(url: str) -> dict[str, str]:
    """The query parameters of a URL; none for a malformed one."""
    try:
        return {key: found[0] for key, found in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return {}


def _target(request: bytes, host: str) -> str | None:
    """The path and query of a request; None unless it is a GET with a query for this host (DNS rebinding)."""
    head, end, _body = request.partition(b"\r\n\r\n")
    if not end:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, _blank, rest = lines[0].partition(" ")
    target = rest.partition(" ")[0]
    hosts = [line.partition(":")[2].strip().lower() for line in lines[1:] if line.lower().startswith("host:")]
    port = host.rpartition(":")[2]
    is_own = len(hosts) == 1 and hosts[0] in (host, f"127.0.0.1:{port}", f"localhost:{port}")
    return target if method == "GET" and is_own and target.startswith("/?") else None


def finish(web: Web, client: TokenClient, sign_in: SignIn, code: str) -> Tokens:
    """Exchange the code for tokens. Raises OAuthError."""
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": sign_in.redirect_uri,
        "code_verifier": sign_in.verifier,
    }
    return request_tokens(web, client, grant)

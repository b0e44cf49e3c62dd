"""Signing in with a browser on this machine (RFC 8252 section 7.3, RFC 7636).

The provider sends the browser back to a loopback address.
"""

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
from smtpsetup.net.dial import Deadline
from smtpsetup.oauth.request import TEMPORARY, OAuthError, post, tokens_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from smtpsetup.core.oauth_types import Endpoints, TokenClient, Tokens
    from smtpsetup.net.https import Web

SECONDS = 300.0  # that somebody may take to sign in
_ANSWER_SECONDS = 20.0
_REQUEST_SECONDS = 20.0  # for a browser that has connected
_REQUEST_LIMIT = 65_536  # bytes: every program on this machine's ports leaves its cookies with the browser
_MOST_VISITORS = 64  # at once
_PAUSE_SECONDS = 0.05  # where nobody can be let in: select would find the same visitor at once, again and again
_LOOK_SECONDS = 1.0  # between two looks at the clock


class SignIn(NamedTuple):
    """One attempt: where the browser goes, and what must come back. `verifier` is a secret (RFC 7636 section 4.1)."""

    url: str
    redirect_uri: str
    state: str
    verifier: str

    def __repr__(self) -> str:
        return "SignIn(***)"


def listener() -> socket.socket:
    """A socket on a loopback port, for one request. Raises OSError."""
    return socket.create_server(("127.0.0.1", 0), backlog=_MOST_VISITORS)


def begin(endpoints: Endpoints, client: TokenClient, address: str, port: int) -> SignIn:
    """The address to open in a browser, for an answer to a port of this machine. `address` is who is to sign in."""
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
    """The code that the browser brings, or that a person pastes as the address it was sent to. Raises OAuthError.

    `on_wrong_paste` is told what is wrong with a pasted line, and the person may paste another one; without it, nothing
    is read.
    """
    end = time.monotonic() + SECONDS
    typed: list[socket.socket | int] = [sys.stdin.fileno()] if on_wrong_paste else []
    with closing(_Visitors(sign_in, server)) as visitors:
        while (left := end - time.monotonic()) > 0:
            ready, _writable, _failed = select.select([*visitors.watched(), *typed], [], [], min(left, _LOOK_SECONDS))
            code = visitors.code(ready)
            if not code and on_wrong_paste and set(typed) & set(ready):
                pasted = sys.stdin.readline()
                typed = typed if pasted else []
                code = _pasted(sign_in, pasted.strip(), on_wrong_paste)
            if code:
                return code
    raise OAuthError("expired_token", _("nobody signed in within five minutes"), is_own=True)


def _pasted(sign_in: SignIn, url: str, on_wrong_paste: Callable[[str], None]) -> str:
    """The code in what was pasted; `""` for nothing, or for what is none of it, as the person is told.

    Raises OAuthError for a no.
    """
    try:
        return code_in(sign_in, url) if url else ""
    except OAuthError as error:
        if error.error:
            raise
        on_wrong_paste(error.description)
        return ""


class _Visitors:
    """Whoever comes to the loopback address, side by side.

    Browsers open connections that they do not use, and others come to be in the way.
    """

    def __init__(self, sign_in: SignIn, server: socket.socket) -> None:
        self._sign_in = sign_in
        self._server = server
        self._said: dict[socket.socket, bytes] = {}
        self._ends: dict[socket.socket, float] = {}

    def watched(self) -> list[socket.socket]:
        """What to wait for."""
        for visitor in [visitor for visitor, end in self._ends.items() if end < time.monotonic()]:
            self._leave(visitor)
        return [self._server, *self._said]

    def code(self, ready: Collection[object]) -> str:
        """The code that one of them brings, `""` as long as nobody does. Raises OAuthError as `code_in`."""
        for visitor in [visitor for visitor in self._said if visitor in ready]:
            code = self._heard(visitor)
            if code:
                return code
        if self._server in ready:
            try:
                visitor, _address = self._server.accept()
            except OSError:  # gone before anybody looked; or this process has no place for another one now
                time.sleep(_PAUSE_SECONDS)
                return ""
            visitor.settimeout(0)
            self._said[visitor], self._ends[visitor] = b"", time.monotonic() + _REQUEST_SECONDS
            if len(self._said) > _MOST_VISITORS:
                first = next(iter(self._said))
                self._leave(
                    next((silent for silent, said in self._said.items() if not said and silent is not visitor), first)
                )
        return ""

    def _heard(self, visitor: socket.socket) -> str:
        try:
            piece = visitor.recv(_REQUEST_LIMIT)
        except OSError:
            piece = b""
        said = self._said[visitor] = self._said[visitor] + piece
        if piece and b"\r\n\r\n" not in said and len(said) < _REQUEST_LIMIT:
            return ""
        try:
            return _answered(self._sign_in, visitor, said)
        finally:
            self._leave(visitor)

    def _leave(self, visitor: socket.socket) -> None:
        del self._said[visitor], self._ends[visitor]
        visitor.close()

    def close(self) -> None:
        """Let everybody go."""
        for visitor in list(self._said):
            self._leave(visitor)


def _answered(sign_in: SignIn, visitor: socket.socket, request: bytes) -> str:
    """The code of one request; `""` for a request that is none of ours, whoever sent it.

    Raises OAuthError as `code_in`.
    """
    target = _target(request, urlsplit(sign_in.redirect_uri).netloc)
    if target is None or not _is_ours(sign_in, _fields(target)):
        _show(visitor, 404, _("This page belongs to a sign-in that is going on."))
        return ""
    try:
        code = code_in(sign_in, target)
    except OAuthError:
        _show(visitor, 400, _("Signing in did not work. The terminal says why."))
        raise
    _show(visitor, 200, _("Go back to the terminal: it goes on there. This page can be closed."))
    return code


def _show(visitor: socket.socket, status: int, words: str) -> None:
    """Send a page; whoever does not wait for it has brought what they had all the same."""
    body = f"<!doctype html><meta charset=utf-8><title>smtpsetup</title><p>{words}</p>".encode()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with suppress(OSError):
        visitor.sendall(
            f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode()
            + body
        )


def code_in(sign_in: SignIn, url: str) -> str:
    """The code in the address that a browser was sent to.

    Raises OAuthError for one of another sign-in, or one that says no.
    """
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
    """Whether the state that was sent has come back (RFC 6749 section 10.12).

    Any page of any site can ask for the loopback address.
    """
    return hmac.compare_digest(fields.get("state", "").encode(), sign_in.state.encode())


def _fields(url: str) -> dict[str, str]:
    """What an address says behind its question mark; nothing for what is no address."""
    try:
        return {key: found[0] for key, found in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return {}


def _target(request: bytes, host: str) -> str | None:
    """The path and query of a browser's request; None for one that is not the redirect.

    Another method, another host (DNS rebinding), no query.
    """
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
    """The tokens for a code. Raises OAuthError."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": sign_in.redirect_uri,
        "client_id": client.client_id,
        "code_verifier": sign_in.verifier,
    }
    if client.client_secret:
        fields["client_secret"] = client.client_secret
    return tokens_in(post(web, client.token_endpoint, fields, Deadline(_ANSWER_SECONDS)), time.time(), client.scopes)

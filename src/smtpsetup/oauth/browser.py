"""Signing in with a browser on this machine (RFC 8252 section 7.3, RFC 7636): the provider sends the browser back to a loopback address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from smtpsetup.i18n import gettext as _
from smtpsetup.model import plain_text
from smtpsetup.oauth.request import OAuthError, post, tokens_in
from smtpsetup.transport.dial import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpsetup.oauth2 import Endpoints, TokenClient, Tokens
    from smtpsetup.transport.https import Web

SECONDS = 300.0  # that somebody may take to sign in
_ANSWER_SECONDS = 20.0
_REQUEST_SECONDS = 5.0  # for the browser's one request
_REQUEST_LIMIT = 16_384  # bytes


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
    return socket.create_server(("127.0.0.1", 0), backlog=4)


def begin(endpoints: Endpoints, client: TokenClient, address: str, port: int) -> SignIn:
    """The address to open in a browser, for an answer to a port of this machine. `address` is whose mailbox it is."""
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

    `on_wrong_paste` is told what is wrong with a pasted line, and the person may paste another one; without it, nothing is read.
    """
    end = time.monotonic() + SECONDS
    watched: list[socket.socket | int] = [server, *([sys.stdin.fileno()] if on_wrong_paste else [])]
    while (left := end - time.monotonic()) > 0:
        ready, _writable, _failed = select.select(watched, [], [], left)
        if server in ready:
            code = _served(sign_in, server, end)
            if code:
                return code
        elif ready:
            pasted = sys.stdin.readline()
            if not pasted:
                watched = [server]
            elif pasted.strip() and on_wrong_paste:
                try:
                    return code_in(sign_in, pasted.strip())
                except OAuthError as error:
                    if error.error:
                        raise
                    on_wrong_paste(error.description)
    raise OAuthError("expired_token", _("nobody signed in within five minutes"), is_own=True)


def code_in(sign_in: SignIn, url: str) -> str:
    """The code in the address that a browser was sent to. Raises OAuthError for one of another sign-in, or one that says no."""
    fields = _fields(url)
    if "state" not in fields:
        raise OAuthError("", _("it is not the address at which a sign-in ends"))
    if not _is_ours(sign_in, fields):
        raise OAuthError("", _("the answer does not belong to this sign-in"))
    if "error" in fields:
        raise OAuthError(plain_text(fields["error"])[:100], plain_text(fields.get("error_description", ""))[:1000])
    if not fields.get("code"):
        raise OAuthError("", _("the answer holds no code"))
    return fields["code"]


def _served(sign_in: SignIn, server: socket.socket, end: float) -> str:
    """The code of one request; `""` for a request that is none of ours, whoever sent it. Raises OAuthError as `code_in`."""
    connection, _address = server.accept()
    with connection:
        try:
            target = _target(connection, urlsplit(sign_in.redirect_uri).netloc, min(end, time.monotonic() + _REQUEST_SECONDS))
            if target is None or not _is_ours(sign_in, _fields(target)):
                connection.sendall(_page(404, _("This page belongs to a sign-in that is going on.")))
                return ""
            try:
                code = code_in(sign_in, target)
            except OAuthError:
                connection.sendall(_page(400, _("Signing in did not work. The terminal says why.")))
                raise
            connection.sendall(_page(200, _("Go back to the terminal: it goes on there. This page can be closed.")))
        except OSError:
            return ""
        return code


def _is_ours(sign_in: SignIn, fields: Mapping[str, str]) -> bool:
    """Whether the state that was sent has come back (RFC 6749 section 10.12): any page of any site can ask for the loopback address."""
    return hmac.compare_digest(fields.get("state", "").encode(), sign_in.state.encode())


def _fields(url: str) -> dict[str, str]:
    """What an address says behind its question mark; nothing for what is no address."""
    try:
        return {key: found[0] for key, found in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return {}


def _target(connection: socket.socket, host: str, end: float) -> str | None:
    """The path and query of a browser's request; None for one that is not the redirect: another method, another host (DNS rebinding), no query."""
    data = b""
    while b"\r\n\r\n" not in data:
        connection.settimeout(max(end - time.monotonic(), 0.001))
        piece = connection.recv(4096)
        if not piece or len(data) > _REQUEST_LIMIT:
            return None
        data += piece
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    method, _blank, rest = lines[0].partition(" ")
    target = rest.partition(" ")[0]
    hosts = [line.partition(":")[2].strip().lower() for line in lines[1:] if line.lower().startswith("host:")]
    port = host.rpartition(":")[2]
    is_own = len(hosts) == 1 and hosts[0] in (host, f"127.0.0.1:{port}", f"localhost:{port}")
    return target if method == "GET" and is_own and target.startswith("/?") else None


def _page(status: int, words: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>smtpsetup</title><p>{words}</p>".encode()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode() + body


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

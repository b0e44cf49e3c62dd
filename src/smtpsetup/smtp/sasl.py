"""SASL authentication (RFC 4954): one login attempt with one mechanism."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.core.failure import Kind, Reply, WireError

if TYPE_CHECKING:
    from smtpsetup.core.model import Secret, Server
    from smtpsetup.smtp.wire import Wire

_CONTINUE = 334
# Best first. Verified TLS protects the password, so the plain mechanisms, which take UTF-8 (RFC 4616), precede CRAM-MD5
_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
_TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")  # the standard (RFC 7628) before Google's and Microsoft's own
_STATUS_LIMIT = 300  # characters
_INITIAL_LIMIT = 490  # bytes of an initial response: an AUTH line has at most 512 (RFC 4954 section 4)


def best_mechanism(offered: tuple[str, ...], *, with_token: bool = False) -> str | None:
    """The best of the offered mechanisms for a password or an access token; None if none is supported."""
    known = _TOKEN_MECHANISMS if with_token else _MECHANISMS
    return next((mechanism for mechanism in known if mechanism in offered), None)


def log_in_with_token(wire: Wire, mechanism: str, username: str, token: Secret, server: Server) -> Reply:
    """Log in once with an access token. Returns the server's final reply. Raises WireError and OSError."""
    wire.mask(token.reveal())
    encoded = _encoded(token_response(mechanism, username, token, server).encode())
    if len(encoded) > _INITIAL_LIMIT:
        reply = wire.command(f"AUTH {mechanism}")
        if reply.code != _CONTINUE:
            return reply
        wire.put_secret(encoded, "***")
    else:
        wire.put_secret(f"AUTH {mechanism} {encoded}", f"AUTH {mechanism} ***")
    reply = wire.reply()
    if reply.code != _CONTINUE:
        return reply
    # the challenge holds the reason; the final reply follows only after this response (RFC 7628 section 3.2.3)
    acknowledgement = _encoded(b"\x01") if mechanism == "OAUTHBEARER" else ""
    wire.put_secret(acknowledgement, acknowledgement or "(empty line)")
    reason = _error_status(wire, reply.text)
    try:
        refusal = _final(wire)
    except (OSError, WireError):
        if not reason:
            raise
        refusal = reply._replace(lines=())
    return refusal._replace(lines=(*refusal.lines, reason)) if reason else refusal


def token_response(mechanism: str, username: str, token: Secret, server: Server) -> str:
    """The client's response with an access token, before Base64 (RFC 7628 section 3.1; Google's XOAUTH2)."""
    bearer = f"auth=Bearer {token.reveal()}\x01\x01"
    if mechanism != "OAUTHBEARER":
        return f"user={username}\x01{bearer}"
    name = username.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\x01host={server.host}\x01port={server.port}\x01{bearer}"


def _error_status(wire: Wire, challenge: str) -> str:
    """The status and scope in the challenge before a refusal, masked (RFC 7628 section 3.2.2); `""` if it has none."""
    import json  # only for a token that was refused

    try:
        document = json.loads(wire.as_reply(_CONTINUE, [base64.b64decode(challenge, validate=True)]).text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    fields = [
        f"{key}: {document[key]}" for key in ("status", "scope") if isinstance(document.get(key), str) and document[key]
    ]
    return ", ".join(fields)[:_STATUS_LIMIT]


def log_in(wire: Wire, mechanism: str, username: str, secret: Secret) -> Reply:
    """Log in once with a password. Returns the server's final reply. Raises WireError and OSError."""
    password = secret.reveal()
    plain = _encoded(f"\0{username}\0{password}".encode())
    wire.mask(password)
    wire.mask(plain)
    if mechanism == "PLAIN":
        wire.put_secret(f"AUTH PLAIN {plain}", "AUTH PLAIN ***")
        return _final(wire)
    reply = wire.command(f"AUTH {mechanism}")
    if reply.code != _CONTINUE:
        return reply
    if mechanism == "CRAM-MD5":
        digest = _cram_md5(username, password, reply.text)
        wire.put_secret(_encoded(digest.encode()), "***")
        return _final(wire)
    wire.put_secret(_encoded(username.encode()), "***")
    reply = wire.reply()
    if reply.code != _CONTINUE:
        return reply
    wire.put_secret(_encoded(password.encode()), "***")
    return _final(wire)


def _final(wire: Wire) -> Reply:
    """The reply that ends the login. A further challenge is cancelled with `*` (RFC 4954 section 4)."""
    reply = wire.reply()
    if reply.code == _CONTINUE:
        with suppress(OSError, WireError):
            wire.command("*")
        raise WireError(Kind.PROTOCOL_ERROR, str(reply))
    return reply


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _cram_md5(username: str, password: str, challenge: str) -> str:
    """The response to a CRAM-MD5 challenge (RFC 2195)."""
    import hmac  # only for servers that offer nothing better

    try:
        raw = base64.b64decode(challenge, validate=True)
    except ValueError as error:
        raise WireError(Kind.PROTOCOL_ERROR, challenge) from error
    return f"{username} {hmac.new(password.encode(), raw, 'md5').hexdigest()}"

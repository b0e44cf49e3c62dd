"""Logging in: one attempt, with the best mechanism that both sides know (RFC 4954)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.core.failure import Kind, Reply
from smtpsetup.smtp.wire import WireError

if TYPE_CHECKING:
    from smtpsetup.core.model import Secret, Server
    from smtpsetup.smtp.wire import Wire

_CONTINUE = 334
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
"""Best first.

Inside verified TLS the password is safe, so the plain mechanisms, which take UTF-8 (RFC 4616), come before CRAM-MD5.
"""


TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
"""The standard (RFC 7628) before Google's and Microsoft's own, which says the same."""
_STATUS_LIMIT = 300  # characters
# bytes of an initial response: the line of AUTH is a command's, of 512 (RFC 4954 section 4); Dovecot takes 1,000
_INITIAL_LIMIT = 490


def best_mechanism(offered: tuple[str, ...], *, with_token: bool = False) -> str | None:
    """The best mechanism that the server offers, for a password or for an access token."""
    return next(
        (mechanism for mechanism in (TOKEN_MECHANISMS if with_token else MECHANISMS) if mechanism in offered), None
    )


def log_in_with_token(wire: Wire, mechanism: str, username: str, token: Secret, server: Server) -> Reply:
    """Log in once with an access token; the server's final reply, whatever it is. Raises what Wire raises."""
    wire.mask(token.reveal())
    encoded = _encoded(token_response(mechanism, username, token, server).encode())
    goodbye = _encoded(b"\x01") if mechanism == "OAUTHBEARER" else ""
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
    # the server has said why, and waits for this before it refuses (RFC 7628 section 3.2.3)
    wire.put_secret(goodbye, goodbye or "(empty line)")
    why = _status(wire, reply.text)
    try:
        refusal = _final(wire)
    except (OSError, WireError):
        if not why:
            raise
        refusal = reply._replace(lines=())  # it hung up, but has said why
    return refusal._replace(lines=(*refusal.lines, why)) if why else refusal


def token_response(mechanism: str, username: str, token: Secret, server: Server) -> str:
    """What a client says to log in with an access token (RFC 7628 section 3.1, and Google's XOAUTH2), not encoded."""
    bearer = f"auth=Bearer {token.reveal()}\x01\x01"
    if mechanism != "OAUTHBEARER":
        return f"user={username}\x01{bearer}"
    name = username.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\x01host={server.host}\x01port={server.port}\x01{bearer}"


def _status(wire: Wire, challenge: str) -> str:
    """Why a token is not taken, as the challenge before the refusal says (RFC 7628 section 3.2.2).

    Its status and scope, masked; `""` for nothing.
    """
    import json  # only for a token that was refused

    try:
        said = json.loads(wire.as_reply(_CONTINUE, [base64.b64decode(challenge, validate=True)]).text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    words = [f"{key}: {said[key]}" for key in ("status", "scope") if isinstance(said.get(key), str) and said[key]]
    return ", ".join(words)[:_STATUS_LIMIT]


def log_in(wire: Wire, mechanism: str, username: str, secret: Secret) -> Reply:
    """Log in once; the server's final reply, whatever it is. Raises what Wire raises."""
    password = secret.reveal()
    plain = f"\0{username}\0{password}"
    wire.mask(password)
    wire.mask(_encoded(plain.encode()))
    if mechanism == "PLAIN":
        wire.put_secret(f"AUTH PLAIN {_encoded(plain.encode())}", "AUTH PLAIN ***")
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
    """The reply that ends the login.

    A server that asks for more than the mechanism has is told to stop (RFC 4954 section 4).
    """
    reply = wire.reply()
    if reply.code == _CONTINUE:
        with suppress(OSError, WireError):
            wire.command("*")
        raise WireError(Kind.PROTOCOL_ERROR, str(reply))
    return reply


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _cram_md5(username: str, password: str, challenge: str) -> str:
    """The answer to a CRAM-MD5 challenge (RFC 2195)."""
    import hmac  # only servers that offer nothing else ask for it

    try:
        raw = base64.b64decode(challenge, validate=True)
    except ValueError as error:
        raise WireError(Kind.PROTOCOL_ERROR, challenge) from error
    return f"{username} {hmac.new(password.encode(), raw, 'md5').hexdigest()}"

"""Logging in: one attempt, with the best mechanism that both sides know (RFC 4954)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.failure import Kind, Reply
from smtpsetup.transport.wire import WireError

if TYPE_CHECKING:
    from smtpsetup.model import Secret
    from smtpsetup.transport.wire import Wire

_CONTINUE = 334
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
"""Best first. Inside verified TLS the password is safe, so the plain mechanisms, which take UTF-8 (RFC 4616), come before CRAM-MD5."""


def best_mechanism(offered: tuple[str, ...]) -> str | None:
    """The first of MECHANISMS that the server offers."""
    return next((mechanism for mechanism in MECHANISMS if mechanism in offered), None)


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
    """The reply that ends the login; a server that asks for more than the mechanism has is told to stop (RFC 4954 section 4)."""
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

"""PACC: a JSON document below the domain, bound by its digest in the domain's DNS (draft-ietf-mailmaint-pacc-04)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security
from smtpsetup.discovery.settings import Setting, UnusableError, server_named

if TYPE_CHECKING:
    from smtpsetup.address.address import Address

_PORT = 465  # the draft knows TLS from the first byte only
_PROTOCOLS = ("submit", "smtp")  # draft 03 renamed the key


def url(domain: str) -> str:
    """Where a domain's document is."""
    return f"https://ua-auto-config.{domain}/.well-known/user-agent-configuration.json"


def digest_name(domain: str) -> str:
    """The name of the TXT records with the document's digests; several of them while one replaces another."""
    return f"_ua-auto-config.{domain}"


def digests(texts: tuple[str, ...]) -> list[bytes]:
    """The SHA-256 digests that TXT records announce; records of another kind are passed over."""
    found = []
    for text in texts:
        tags = {
            name.strip().lower(): value.strip()
            for name, equals, value in (part.partition("=") for part in text.split(";"))
            if equals
        }
        if tags.get("v", "").upper() == "UAAC1" and tags.get("a", "").lower() == "sha256":
            try:
                found.append(base64.b64decode(tags.get("d", ""), validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def settings(body: bytes, announced: list[bytes], address: Address) -> Setting:
    """The server of a document whose digest was announced. Raises UnusableError."""
    digest = hashlib.sha256(body).digest()
    if not any(hmac.compare_digest(digest, one) for one in announced):
        raise UnusableError(_("the document is not the one whose digest stands in the DNS"))
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnusableError(_("it is not a settings file")) from error
    protocols = _table(_table(document).get("protocols"))
    host = next((_table(protocols[name]).get("host") for name in _PROTOCOLS if name in protocols), None)
    if not isinstance(host, str):
        raise UnusableError(_("it names no outgoing server"))
    auth = _auth(_table(document))
    if not auth:
        raise UnusableError(_("it allows no login that this program knows"))
    return Setting(server_named(host, _PORT, Security.TLS), f"{address.mailbox}@{address.unicode_domain}", auth)


def _auth(document: dict[str, Any]) -> tuple[Auth, ...]:
    ways = _table(document.get("authentication"))
    found = [Auth.OAUTH2] if "oauth-public" in ways else []
    if ways.get("password") is not False:
        found.insert(0, Auth.PASSWORD)
    return tuple(found)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

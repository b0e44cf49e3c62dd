"""PACC: a JSON document on a host below the domain, with its digest in the DNS (draft-ietf-mailmaint-pacc-04)."""

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

_PORT = 465  # the draft has implicit TLS only
_PROTOCOLS = ("submit", "smtp")  # draft 03 renamed the key


def url(domain: str) -> str:
    """The URL of a domain's document."""
    return f"https://ua-auto-config.{domain}/.well-known/user-agent-configuration.json"


def digest_name(domain: str) -> str:
    """The name of the TXT records with the document's digests: several while the document is being replaced."""
    return f"_ua-auto-config.{domain}"


def digests(texts: tuple[str, ...]) -> list[bytes]:
    """The SHA-256 digests in TXT records; other records are ignored."""
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
    """The server in a document. Raises UnusableError, also if the document's digest is not among those announced."""
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
    methods = _table(document.get("authentication"))
    password = (Auth.PASSWORD,) if methods.get("password") is not False else ()
    token = (Auth.OAUTH2,) if "oauth-public" in methods else ()
    return (*password, *token)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

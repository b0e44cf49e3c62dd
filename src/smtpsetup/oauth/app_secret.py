"""What a program signs in with by itself: a client secret, a key with its certificate, or a service account's key.

The last two sign an assertion (RFC 7523): they prove themselves, and are sent to nobody.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.oauth_types import Grant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.core.oauth_types import TokenClient

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

_CERTIFICATE_SECONDS = 600  # Entra asks for five to ten minutes
_GOOGLE_SECONDS = 3600  # at most
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_P256_BYTES = 32


class AppSecret(NamedTuple):
    """A client secret, or a private key. `expires` is the last day of the key's certificate (ISO 8601), or `""`.

    `issuer`, `key_id` and `client_number` are those of a Google service account, `""` for others.
    """

    text: str = ""
    key: PrivateKey | None = None
    thumbprint: str = ""
    expires: str = ""
    issuer: str = ""
    key_id: str = ""
    client_number: str = ""

    def __repr__(self) -> str:
        return "AppSecret(***)"

    @property
    def grant(self) -> Grant:
        """The grant that it is for."""
        return Grant.JWT if self.issuer else Grant.CLIENT_CREDENTIALS


def parsed(secret: Secret) -> AppSecret:
    """A secret as it was read from its store. Raises SmtpsetupError (`secret.missing`) for a key that is none."""
    text = secret.reveal().strip()
    if text.startswith("{"):
        return _service_account(text)
    if "-----BEGIN " in text:
        return _with_certificate(text)
    return AppSecret(text)


def _service_account(text: str) -> AppSecret:
    """A key file (https://developers.google.com/identity/protocols/oauth2/service-account)."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    names = ("client_email", "private_key", "private_key_id")
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) and row[name] for name in names):
        raise _unusable(_("What is kept there is no key file of a Google service account."))
    number = row.get("client_id")
    return AppSecret(
        key=_private_key(row["private_key"]),
        issuer=row["client_email"],
        key_id=row["private_key_id"],
        client_number=number if isinstance(number, str) else "",
    )


def _with_certificate(text: str) -> AppSecret:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    key = _private_key(text)
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        certificates = []
    for certificate in certificates:
        if certificate.public_key() == key.public_key():
            digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
            expires = certificate.not_valid_after_utc.date().isoformat()
            return AppSecret(key=key, thumbprint=_in_base64url(digest), expires=expires)
    raise _unusable(_("The file has a private key, and not the certificate that belongs to it."))


def _private_key(text: str) -> PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable(_("The private key cannot be read: it must be in PEM form and have no passphrase.")) from error
    if isinstance(key, RSAPrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise _unusable(_("The private key is of a kind that cannot be used: it must be RSA or P-256."))


def _unusable(message: str) -> SmtpsetupError:
    hint = _("A certificate needs its private key in the same file, in PEM form; a service account its JSON file.")
    return SmtpsetupError("secret.missing", message, hints=(hint,))


def request_fields(account: Account, client: TokenClient, secret: AppSecret) -> dict[str, str]:
    """The form that asks for an access token (RFC 6749 section 4.4, RFC 7523 sections 2.1 and 2.2)."""
    scope = " ".join(client.scopes)
    if secret.issuer:
        claims = {"iss": secret.issuer, "sub": account.username, "scope": scope, "aud": client.token_endpoint}
        assertion = _signed(secret, {"kid": secret.key_id}, claims, _GOOGLE_SECONDS)
        return {"grant_type": str(Grant.JWT), "assertion": assertion}
    fields = {"grant_type": str(Grant.CLIENT_CREDENTIALS), "client_id": client.client_id, "scope": scope}
    if secret.key is None:
        return {**fields, "client_secret": secret.text}
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.issuer or client.token_endpoint,
        "jti": secrets.token_hex(16),
    }
    assertion = _signed(secret, {"x5t#S256": secret.thumbprint}, claims, _CERTIFICATE_SECONDS)
    return {**fields, "client_assertion_type": _ASSERTION, "client_assertion": assertion}


def _signed(secret: AppSecret, header: Mapping[str, str], claims: Mapping[str, Any], seconds: int) -> str:
    """A signed token (RFC 7519, RFC 7515 section 7.1)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    now = int(time.time())
    key, digest = secret.key, hashes.SHA256()
    is_rsa = isinstance(key, RSAPrivateKey)
    algorithm = "RS256" if secret.issuer else "PS256" if is_rsa else "ES256"
    parts = ({"alg": algorithm, "typ": "JWT", **header}, {**claims, "iat": now, "nbf": now, "exp": now + seconds})
    text = ".".join(_in_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    data = text.encode("ascii")
    if isinstance(key, RSAPrivateKey):
        salted = padding.PSS(padding.MGF1(digest), digest.digest_size)  # RFC 7518 section 3.5
        signature = key.sign(data, padding.PKCS1v15() if secret.issuer else salted, digest)
    elif key is not None:
        numbers = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        signature = b"".join(number.to_bytes(_P256_BYTES) for number in numbers)  # RFC 7518 section 3.4
    else:
        raise ValueError("a client secret signs nothing")
    return f"{text}.{_in_base64url(signature)}"


def _in_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

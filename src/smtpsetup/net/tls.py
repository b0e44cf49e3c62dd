"""Verified TLS, facts about a connection, and the kinds of failed handshakes."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.failure import CertificateFacts, Kind
from smtpsetup.core.model import plain_text

if TYPE_CHECKING:
    import socket

_VERIFY_KINDS = {  # X509_V_ERR_* of OpenSSL's x509_vfy.h
    9: Kind.CERTIFICATE_NOT_YET_VALID,
    10: Kind.CERTIFICATE_EXPIRED,
    62: Kind.HOSTNAME_MISMATCH,
    64: Kind.HOSTNAME_MISMATCH,
}
_NOT_SPOKEN = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "UNKNOWN_PROTOCOL",
)
_TOO_OLD = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_SHA256_DIGITS = 64


class TlsPolicy(NamedTuple):
    """What to trust: the certificates that `context` verifies, or the one with this SHA-256 `fingerprint`."""

    context: ssl.SSLContext
    fingerprint: str | None = None

    @property
    def verifies_the_server(self) -> bool:
        """Whether it accepts only a certificate that proves who the server is, so that a secret may be sent to it."""
        return self.fingerprint is not None or self.context.verify_mode is ssl.CERT_REQUIRED


def policy(ca_file: str | None = None, fingerprint: str | None = None) -> TlsPolicy:
    """The policy that trusts the system's authorities, those in `ca_file` instead, or one certificate.

    Raises OSError for a `ca_file` that cannot be used.
    """
    # this verifies by default; ssl.create_default_context would write session keys to SSLKEYLOGFILE
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525 section 6.2: names are in subjectAltName
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    if fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # `secure` compares the fingerprint instead
    return TlsPolicy(context, fingerprint)


def unverified() -> TlsPolicy:
    """The policy that accepts any certificate, to look at it. For diagnosis only: no session logs in with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TlsPolicy(context)


def certificate_facts(der: bytes | None) -> CertificateFacts | None:
    """The content of a certificate, trusted or not; None if it is missing or malformed, and in a zipapp."""
    if not der:
        return None
    import hashlib  # only for a refused certificate

    try:
        # 40 ms, only for a refused certificate; the ssl module parses only verified ones
        from cryptography import x509
    except ModuleNotFoundError:  # compiled, so not in a zipapp
        return None

    try:
        certificate = x509.load_der_x509_certificate(der)
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        with contextlib.suppress(x509.ExtensionNotFound):
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = extension.value.get_values_for_type(x509.DNSName) or names
        issuer = [
            str(name.value)
            for kind in (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME)
            for name in certificate.issuer.get_attributes_for_oid(kind)
        ]
        return CertificateFacts(
            tuple(plain_text(name) for name in names),
            plain_text(issuer[0]) if issuer else "",
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            is_self_signed=certificate.issuer == certificate.subject,
            fingerprint=hashlib.sha256(der).hexdigest(),
        )
    except (ValueError, x509.UnsupportedGeneralNameType):
        return None


class TlsFacts(NamedTuple):
    """The parameters of a connection and its certificate.

    `not_after` is ISO 8601 in UTC; it and `issuer` are empty if the certificate was verified by its fingerprint.
    """

    version: str
    cipher: str
    not_after: str
    issuer: str


class FingerprintMismatchError(ssl.SSLError):
    """The certificate is not the pinned one; `found` is its fingerprint."""

    def __init__(self, found: str) -> None:
        super().__init__(f"certificate fingerprint is {found}")
        self.found = found


def normalised_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 lower-case hexadecimal digits. Raises ValueError."""
    digits = text.replace(":", "").replace(" ", "").lower().removeprefix("sha256")
    if len(digits) != _SHA256_DIGITS or any(digit not in "0123456789abcdef" for digit in digits):
        raise ValueError(text)
    return digits


def secure(sock: socket.socket, host: str, policy: TlsPolicy) -> ssl.SSLSocket:
    """Start TLS 1.2 or newer on `sock` and verify the certificate. The socket's timeout applies to the handshake.

    Raises ssl.SSLError or OSError.
    """
    # bytes, since a str is encoded with IDNA 2003, which maps names differently and takes 2 ms to import
    secured = policy.context.wrap_socket(sock, server_hostname=host.encode())
    check_fingerprint(secured, policy)
    return secured


def check_fingerprint(secured: ssl.SSLSocket, policy: TlsPolicy) -> None:
    """Close the connection if the certificate is not the pinned one. Raises FingerprintMismatchError."""
    if policy.fingerprint is None:
        return
    import hashlib  # only for a pinned certificate

    found = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    if found != policy.fingerprint:
        secured.close()
        raise FingerprintMismatchError(found)


def facts(sock: ssl.SSLSocket) -> TlsFacts:
    """The facts about a connection, for output."""
    certificate = sock.getpeercert() or {}
    not_after = ""
    if "notAfter" in certificate:
        import datetime  # only for output

        seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        not_after = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")
    names: dict[str, str] = {}
    for part in certificate.get("issuer", ()):
        names.update({str(pair[0]): str(pair[1]) for pair in part})
    issuer = plain_text(names.get("organizationName") or names.get("commonName") or "")
    cipher = sock.cipher()
    return TlsFacts(sock.version() or "", cipher[0] if cipher else "", not_after, issuer)


def kind_of(error: OSError) -> Kind:
    """The kind of a failed handshake."""
    if isinstance(error, FingerprintMismatchError):
        return Kind.FINGERPRINT_MISMATCH
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_KINDS.get(error.verify_code, Kind.CERTIFICATE_UNTRUSTED)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return Kind.CLOSED
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if any(mark in reason for mark in _NOT_SPOKEN):
            return Kind.TLS_NOT_SPOKEN
        if any(mark in reason for mark in _TOO_OLD):
            return Kind.TLS_TOO_OLD
    return Kind.TIMEOUT if isinstance(error, TimeoutError) else Kind.TLS_FAILED


def answers_client_hello(sock: socket.socket, host: str) -> bool:
    """Whether the server speaks implicit TLS. The certificate is not verified and nothing else is sent."""
    try:
        with unverified().context.wrap_socket(sock, server_hostname=host.encode()):
            return True
    except (OSError, ValueError):
        return False

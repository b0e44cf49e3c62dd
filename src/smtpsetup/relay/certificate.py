"""The relay's certificate: given, or made once and kept for ten years, since a device remembers it."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
import warnings
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay.running import own_address
from smtpsetup.state import files, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

_YEARS = 10
_BITS = 2048  # RSA, which the oldest devices know, too
_CERTIFICATE, _KEY = "relay-certificate.pem", "relay-key.pem"
_OLD_CIPHERS = "DEFAULT:@SECLEVEL=0"  # OpenSSL 3 allows TLS 1.0 and 1.1 only so


class CertificateFiles(NamedTuple):
    """The files with the certificate and its chain, and with the key, both in PEM form."""

    certificate: str
    key: str


def made_files(directory: str, host: str) -> CertificateFiles:
    """The relay's own certificate, which is made where it is missing. Raises OSError."""
    found = CertificateFiles(os.path.join(directory, _CERTIFICATE), os.path.join(directory, _KEY))
    private_dir.prepare(directory)
    with files.locked(found.certificate):
        if not (os.path.exists(found.certificate) and os.path.exists(found.key)):
            certificate, key = _made(_names(host))
            files.write_atomically(found.key, key)
            files.write_atomically(found.certificate, certificate)
    return found


def _names(host: str) -> list[str]:
    """The names and addresses by which programs may call this machine."""
    short = socket.gethostname()
    own = {"localhost", short, f"{short}.local" if "." not in short else short, "127.0.0.1", "::1"}
    own |= {address} if (address := own_address()) else set()
    return sorted(own | ({host} if host not in ("", "0.0.0.0", "::") else set()))  # noqa: S104  compared, not bound


def _made(names: Iterable[str]) -> tuple[str, str]:
    """A new certificate and its key, in PEM form."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"smtpsetup relay {socket.gethostname()}"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def context(given: CertificateFiles) -> ssl.SSLContext:
    """The TLS of a server with this certificate. Raises SmtpsetupError (`config.invalid`)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(given.certificate, given.key)
    except OSError as error:  # ssl.SSLError is one, too
        reason = (
            _("they do not hold a certificate and its key in PEM form")
            if isinstance(error, ssl.SSLError)
            else reason_of(error)
        )
        raise SmtpsetupError(
            "config.invalid",
            _("The certificate {certificate} and the key {key} cannot be used: {reason}.").format(
                certificate=given.certificate, key=given.key, reason=reason
            ),
            hints=(_("Leave `--tls-cert` and `--tls-key` out: then smtpsetup makes a certificate itself."),),
        ) from error
    return made


def allow_old(tls: ssl.SSLContext, *, is_allowed: bool) -> None:
    """Take TLS 1.0 and 1.1 for new connections, or no longer; who may log in over them is decided at the login."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what it warns of is what was asked for
        tls.set_ciphers(_OLD_CIPHERS if is_allowed else "DEFAULT")
        tls.minimum_version = ssl.TLSVersion.TLSv1 if is_allowed else ssl.TLSVersion.TLSv1_2


def fingerprint(certificate: str) -> str:
    """The SHA-256 of the certificate in a file, as devices show it. Raises OSError, ValueError."""
    with open(certificate, encoding="ascii") as file:
        text = file.read()
    first = text[text.index("-----BEGIN CERTIFICATE-----") :]
    end = first.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[:end])).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))

"""The failures that the sandbox can rehearse, by error code.

What its server does, or which command shows a failure without a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage


class Act(StrEnum):
    """What the server does at the fault's stage, in place of what is right."""

    REPLY = "reply"
    DROP = "drop"
    SILENCE = "silence"
    REFUSE_CONNECTIONS = "refuse-connections"
    CLOG = "clog"  # connections are neither accepted nor refused, as behind a firewall
    WRONG_PROTOCOL = "wrong-protocol"  # TLS where the clear is expected, the clear where TLS is
    BAD_CERTIFICATE = "bad-certificate"
    OLD_TLS = "old-tls"
    BREAK_HANDSHAKE = "break-handshake"
    INJECT = "inject"
    WITHHOLD = "withhold"  # an extension is not offered


class Certificate(StrEnum):
    """The certificate that the server shows."""

    GOOD = "good"
    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    UNKNOWN_AUTHORITY = "unknown-authority"
    SELF_SIGNED = "self-signed"
    OWN_CHAIN = "own-chain"  # an unknown authority's, which is shown as well, as an antivirus program does
    OTHER_HOST = "other-host"  # as OTHER_NAME, and the greeting names that host, too


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and where.

    `reply` is the whole reply; `offers` is what EHLO offers for AUTH (None: nothing changed).

    `only_tls_port` leaves the port with STARTTLS in order; `needs` are options that the account must have for the fault
    to show; `ports` are those that it must be on, 0 for any.
    """

    stage: Stage
    act: Act = Act.REPLY
    reply: str = ""
    certificate: Certificate = Certificate.GOOD
    offers: str | None = None
    only_tls_port: bool = False
    needs: str = ""
    ports: tuple[int, int] = (0, 0)


FAULTS: dict[str, Fault] = {
    "connect.refused": Fault(Stage.CONNECT, Act.REFUSE_CONNECTIONS),
    "connect.timeout": Fault(Stage.CONNECT, Act.CLOG),
    "connect.port-blocked": Fault(Stage.CONNECT, Act.CLOG, only_tls_port=True, ports=(2465, 2587)),
    "connect.intercepted": Fault(
        Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.OTHER_HOST, needs="--provider one-com"
    ),
    "tls.certificate-expired": Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.EXPIRED),
    "tls.hostname-mismatch": Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.OTHER_NAME),
    "tls.untrusted": Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.SELF_SIGNED),
    "tls.fingerprint-mismatch": Fault(Stage.TLS, Act.BAD_CERTIFICATE, needs=f"--tls-fingerprint {'00' * 32}"),
    "tls.protocol-too-old": Fault(Stage.TLS, Act.OLD_TLS),
    "tls.not-spoken": Fault(Stage.TLS, Act.WRONG_PROTOCOL, only_tls_port=True),
    "tls.expected": Fault(Stage.GREETING, Act.WRONG_PROTOCOL, needs="--security starttls"),
    "tls.handshake-failed": Fault(Stage.TLS, Act.BREAK_HANDSHAKE),
    "greeting.rejected": Fault(Stage.GREETING, reply="554 5.3.2 No SMTP service here"),
    "greeting.not-smtp": Fault(Stage.GREETING, reply="HTTP/1.1 400 Bad Request"),
    "greeting.timeout": Fault(Stage.GREETING, Act.SILENCE),
    "ehlo.name-rejected": Fault(Stage.EHLO, reply="504 5.5.2 Helo command rejected: need fully-qualified hostname"),
    "starttls.not-offered": Fault(Stage.STARTTLS, Act.WITHHOLD, needs="--security starttls"),
    "starttls.refused": Fault(Stage.STARTTLS, reply="501 5.5.1 TLS is not set up", needs="--security starttls"),
    "starttls.required": Fault(
        Stage.AUTH, reply="530 5.7.0 Must issue a STARTTLS command first", offers="PLAIN LOGIN", needs="--security none"
    ),
    "starttls.injection": Fault(Stage.STARTTLS, Act.INJECT, needs="--security starttls"),
    "auth.not-offered": Fault(Stage.AUTH, Act.WITHHOLD, offers=""),
    "auth.no-common-mechanism": Fault(Stage.AUTH, Act.WITHHOLD, offers="GSSAPI NTLM"),
    "auth.bad-credentials": Fault(Stage.AUTH, reply="535 5.7.8 Error: authentication failed"),
    "auth.app-password-required": Fault(Stage.AUTH, reply="534 5.7.9 Application-specific password required"),
    "auth.oauth2-required": Fault(
        Stage.AUTH, reply="535 5.7.139 Authentication unsuccessful, basic authentication is disabled."
    ),
    "auth.disabled-by-admin": Fault(
        Stage.AUTH,
        reply="535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
    ),
    "auth.sign-in-blocked": Fault(
        Stage.AUTH, reply="534 5.7.14 Please log in via your web browser and then try again."
    ),
    "auth.too-many-attempts": Fault(Stage.AUTH, reply="454 4.7.0 Too many login attempts, please try again later"),
    "auth.temporary": Fault(Stage.AUTH, reply="454 4.7.0 Temporary authentication failure"),
    "auth.required": Fault(Stage.MAIL, reply="530 5.7.0 Authentication required", needs="--auth none"),
    "mail.sender-not-allowed": Fault(Stage.MAIL, reply="553 5.7.1 Sender address rejected: not owned by user"),
    "mail.sender-unverified": Fault(Stage.MAIL, reply="550 5.7.1 Sender domain is not verified"),
    "mail.smtputf8-unsupported": Fault(Stage.MAIL, Act.WITHHOLD, needs="--to räksmörgås@example.com"),
    "rcpt.unknown": Fault(
        Stage.RCPT, reply="550 5.1.1 Recipient address rejected: User unknown in local recipient table"
    ),
    "rcpt.relay-denied": Fault(Stage.RCPT, reply="554 5.7.1 Relay access denied"),
    "rcpt.greylisted": Fault(Stage.RCPT, reply="450 4.7.1 Recipient address rejected: Greylisted"),
    "rcpt.too-many": Fault(Stage.RCPT, reply="452 4.5.3 Too many recipients"),
    "rcpt.mailbox-full": Fault(Stage.RCPT, reply="452 4.2.2 The mailbox is full"),
    "data.too-large": Fault(Stage.DATA, reply="552 5.3.4 Message size exceeds fixed limit"),
    "data.content-rejected": Fault(Stage.DATA, reply="554 5.7.1 Message rejected as spam by content filtering"),
    "data.unauthenticated-domain": Fault(
        Stage.DATA, reply="550 5.7.26 This mail is unauthenticated: neither SPF nor DKIM passed"
    ),
    "data.line-too-long": Fault(Stage.DATA, reply="500 5.5.2 Line too long"),
    "data.lost-before-reply": Fault(Stage.DATA, Act.DROP),
    "limit.rate": Fault(Stage.MAIL, reply="421 4.7.0 Too many messages in a short time"),
    "limit.quota": Fault(Stage.DATA, reply="550 5.4.5 Daily sending quota exceeded"),
    "limit.account-blocked": Fault(Stage.MAIL, reply="550 5.7.1 Your account is suspended"),
    "server.client-blocked": Fault(Stage.GREETING, reply="554 5.7.1 Your address is blocked using a blocklist"),
    "server.shutting-down": Fault(Stage.MAIL, reply="421 4.3.2 Service closing transmission channel"),
    "server.temporary": Fault(Stage.MAIL, reply="451 4.3.0 Temporary local problem"),
    "server.refused": Fault(Stage.MAIL, reply="554 5.0.0 Transaction failed"),
    "server.protocol-error": Fault(Stage.MAIL, reply="what was that?"),
    "connection.lost": Fault(Stage.MAIL, Act.DROP),
}

_ACCOUNT = "info@example.com --host localhost --port 465 --security tls --no-verify"
REHEARSALS: dict[str, str] = {
    "config.no-account": "smtpsetup test nobody@example.com",
    "config.invalid": "(umask 077; echo 'default = 1' > fault.toml); smtpsetup --config fault.toml accounts list",
    "config.permissions": "touch fault.toml && chmod 644 fault.toml && smtpsetup --config fault.toml accounts list",
    "config.address-malformed": "smtpsetup identify info@",
    "config.no-settings-found": "smtpsetup identify info@nobody.example --offline",
    "config.provider-without-smtp": "smtpsetup identify namn@tutanota.com",
    "secret.missing": f"smtpsetup configure {_ACCOUNT} --password-env NOTHING_HERE && smtpsetup test info@example.com",
    "secret.keyring-unavailable": 'env -i HOME="$HOME" PATH="$PATH" smtpsetup login info@example.com',
    "secret.keyring-locked": "gdbus call --session --dest org.freedesktop.secrets --object-path "
    "/org/freedesktop/secrets "
    "--method org.freedesktop.Secret.Service.Lock \"['/org/freedesktop/secrets/collection/login']\" && smtpsetup test "
    "--no-input",
    "secret.command-failed": f"smtpsetup configure {_ACCOUNT} --password-command false && smtpsetup test "
    f"info@example.com",
    "secret.file-permissions": f"touch p && chmod 644 p && smtpsetup configure {_ACCOUNT} --password-file p && "
    f"smtpsetup test info@example.com",
    "dns.not-found": "smtpsetup identify info@nothing.invalid",
    "dns.temporary": "SMTPSETUP_NAMESERVER=127.0.0.1:1 smtpsetup identify info@example.net",
    "connect.unreachable": "smtpsetup configure info@example.com --host 100::1 --password-env HOME",
}
"""Failures without a server: a command that shows each. Those of sign-in with OAuth2 come with it."""

DESCRIPTIONS = {
    Act.REPLY: N_("answers: {reply}"),
    Act.DROP: N_("closes the connection"),
    Act.SILENCE: N_("says nothing"),
    Act.REFUSE_CONNECTIONS: N_("refuses connections"),
    Act.CLOG: N_("lets connections wait for ever"),
    Act.WRONG_PROTOCOL: N_("speaks TLS where none is expected, or none where it is"),
    Act.BAD_CERTIFICATE: N_("shows a certificate that does not fit"),
    Act.OLD_TLS: N_("speaks TLS 1.1 at most"),
    Act.BREAK_HANDSHAKE: N_("closes the connection during the TLS handshake"),
    Act.INJECT: N_("sends more behind its reply to STARTTLS"),
    Act.WITHHOLD: N_("does not offer what is needed"),
}

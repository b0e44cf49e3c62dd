"""The exit codes of a process (sysexits.h; 128 + the number of a signal), and the one of each error code."""

EX_USAGE = 64
EX_BUG = 1
EX_DATAERR = 65
EX_NOINPUT = 66
EX_NOUSER = 67
EX_NOHOST = 68
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_PROTOCOL = 76
EX_NOPERM = 77
EX_CONFIG = 78
EX_INTERRUPTED = 130
EX_TERMINATED = 143

# The part of a code before the dot names its stage. Some of these parts also decide what happens:
# - `limit.` lets all mail of the account wait (`SmtpsetupError.is_limit`).
# - `secret.`, `auth.`, `tls.` and `config.` do so, too, except `config.address-malformed`
#   (`disposition.concerns_account`).
# 67 makes scripts delete addresses: it is for recipients that do not exist or cannot be written to, and for a mail that
# some recipients got and others never will (`send_one`).
EXIT_CODES = {
    "config.no-account": EX_CONFIG,
    "config.invalid": EX_CONFIG,
    "config.permissions": EX_CONFIG,
    "config.address-malformed": EX_DATAERR,
    "config.no-settings-found": EX_NOHOST,
    "config.provider-without-smtp": EX_UNAVAILABLE,
    "secret.missing": EX_CONFIG,
    "secret.keyring-unavailable": EX_CONFIG,
    "secret.keyring-locked": EX_TEMPFAIL,
    "secret.command-failed": EX_CONFIG,
    "secret.file-permissions": EX_CONFIG,
    "dns.not-found": EX_NOHOST,
    "dns.temporary": EX_TEMPFAIL,
    "connect.refused": EX_TEMPFAIL,
    "connect.timeout": EX_TEMPFAIL,
    "connect.unreachable": EX_TEMPFAIL,
    "connect.port-blocked": EX_TEMPFAIL,
    "connect.intercepted": EX_TEMPFAIL,
    "connect.proxy-failed": EX_TEMPFAIL,
    "tls.certificate-expired": EX_UNAVAILABLE,
    "tls.hostname-mismatch": EX_UNAVAILABLE,
    "tls.untrusted": EX_UNAVAILABLE,
    "tls.fingerprint-mismatch": EX_UNAVAILABLE,
    "tls.protocol-too-old": EX_UNAVAILABLE,
    "tls.not-spoken": EX_UNAVAILABLE,
    "tls.expected": EX_UNAVAILABLE,
    "tls.handshake-failed": EX_UNAVAILABLE,
    "greeting.rejected": EX_UNAVAILABLE,
    "greeting.not-smtp": EX_PROTOCOL,
    "greeting.timeout": EX_TEMPFAIL,
    "ehlo.name-rejected": EX_UNAVAILABLE,
    "starttls.not-offered": EX_UNAVAILABLE,
    "starttls.refused": EX_UNAVAILABLE,
    "starttls.required": EX_UNAVAILABLE,
    "starttls.injection": EX_UNAVAILABLE,
    "auth.not-offered": EX_UNAVAILABLE,
    "auth.no-common-mechanism": EX_UNAVAILABLE,
    "auth.bad-credentials": EX_NOPERM,
    "auth.app-password-required": EX_NOPERM,
    "auth.oauth2-required": EX_NOPERM,
    "auth.disabled-by-admin": EX_NOPERM,
    "auth.sign-in-blocked": EX_NOPERM,
    "auth.too-many-attempts": EX_TEMPFAIL,
    "auth.temporary": EX_TEMPFAIL,
    "auth.required": EX_NOPERM,
    "auth.token-expired": EX_NOPERM,
    "auth.token-revoked": EX_NOPERM,
    "auth.consent-required": EX_NOPERM,
    "auth.admin-approval-required": EX_NOPERM,
    "auth.device-code-blocked": EX_NOPERM,
    "auth.client-not-public": EX_NOPERM,
    "auth.client-unknown": EX_NOPERM,
    "auth.redirect-not-registered": EX_NOPERM,
    "auth.wrong-tenant": EX_NOPERM,
    "auth.scope-refused": EX_NOPERM,
    "auth.sign-in-declined": EX_NOPERM,
    "auth.sign-in-timeout": EX_NOPERM,
    "auth.wrong-user": EX_NOPERM,
    "auth.access-denied": EX_NOPERM,
    "auth.no-mailbox": EX_NOPERM,
    "auth.api-disabled": EX_NOPERM,
    "auth.client-secret-refused": EX_NOPERM,
    "auth.client-secret-expired": EX_NOPERM,
    "auth.client-certificate-refused": EX_NOPERM,
    "auth.delegation-missing": EX_NOPERM,
    "auth.clock-wrong": EX_TEMPFAIL,
    "mail.sender-not-allowed": EX_NOPERM,
    "mail.sender-unverified": EX_NOPERM,
    "mail.smtputf8-unsupported": EX_UNAVAILABLE,
    "rcpt.unknown": EX_NOUSER,
    "rcpt.relay-denied": EX_UNAVAILABLE,
    "rcpt.greylisted": EX_TEMPFAIL,
    "rcpt.too-many": EX_UNAVAILABLE,
    "rcpt.mailbox-full": EX_NOUSER,
    "data.too-large": EX_UNAVAILABLE,
    "data.content-rejected": EX_UNAVAILABLE,
    "data.unauthenticated-domain": EX_UNAVAILABLE,
    "data.line-too-long": EX_UNAVAILABLE,
    "data.transfer-damaged": EX_TEMPFAIL,
    "data.lost-before-reply": EX_TEMPFAIL,
    "outbox.unavailable": EX_IOERR,
    "outbox.schema": EX_CONFIG,
    "outbox.damaged": EX_IOERR,
    "relay.exposed": EX_CONFIG,
    "limit.rate": EX_TEMPFAIL,
    "limit.quota": EX_TEMPFAIL,
    "limit.account-blocked": EX_NOPERM,
    "server.client-blocked": EX_UNAVAILABLE,
    "server.shutting-down": EX_TEMPFAIL,
    "server.temporary": EX_TEMPFAIL,
    "server.refused": EX_UNAVAILABLE,
    "server.protocol-error": EX_PROTOCOL,
    "connection.lost": EX_TEMPFAIL,
    "internal.bug": EX_BUG,
}
"""By error code; docs/errors.md explains each."""

LASTING = frozenset(
    {
        "auth.app-password-required",
        "auth.bad-credentials",
        "auth.disabled-by-admin",
        "auth.oauth2-required",
        "auth.sign-in-blocked",
        "limit.account-blocked",
        "mail.sender-not-allowed",
        "mail.sender-unverified",
        "rcpt.relay-denied",
    }
)
"""Codes for what does not pass by itself, even after a 4yz reply, unless its text says that it does."""

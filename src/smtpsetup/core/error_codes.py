"""Every error code there is: what rules and providers' refusals may name."""

_CAUSES = {
    "config": "no-account invalid permissions address-malformed no-settings-found provider-without-smtp",
    "secret": "missing keyring-unavailable keyring-locked command-failed file-permissions",
    "dns": "not-found temporary",
    "connect": "refused timeout unreachable port-blocked intercepted",
    "tls": "certificate-expired hostname-mismatch untrusted fingerprint-mismatch protocol-too-old not-spoken expected "
    "handshake-failed",
    "greeting": "rejected not-smtp timeout",
    "ehlo": "name-rejected",
    "starttls": "not-offered refused required injection",
    "auth": "not-offered no-common-mechanism bad-credentials app-password-required oauth2-required disabled-by-admin "
    "sign-in-blocked "
    "too-many-attempts temporary required token-expired token-revoked consent-required admin-approval-required "
    "device-code-blocked "
    "client-not-public client-unknown redirect-not-registered wrong-tenant scope-refused sign-in-declined "
    "sign-in-timeout wrong-user",
    "mail": "sender-not-allowed sender-unverified smtputf8-unsupported",
    "rcpt": "unknown relay-denied greylisted too-many mailbox-full",
    "data": "too-large content-rejected unauthenticated-domain line-too-long lost-before-reply",
    "outbox": "unavailable damaged",
    "limit": "rate quota account-blocked",
    "server": "client-blocked shutting-down temporary refused protocol-error",
    "connection": "lost",
    "internal": "bug",
}

ERROR_CODES = frozenset(f"{stage}.{cause}" for stage, causes in _CAUSES.items() for cause in causes.split())

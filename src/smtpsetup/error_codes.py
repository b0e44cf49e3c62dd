"""Every error code there is (CONTRACT section 6): what rules and providers' refusals may name."""

ERROR_CODES = frozenset(
    """
    config.no-account config.invalid config.permissions config.address-malformed config.no-settings-found config.provider-without-smtp
    secret.missing secret.keyring-unavailable secret.keyring-locked secret.command-failed secret.file-permissions
    dns.not-found dns.temporary
    connect.refused connect.timeout connect.unreachable connect.port-blocked connect.intercepted
    tls.certificate-expired tls.hostname-mismatch tls.untrusted tls.fingerprint-mismatch tls.protocol-too-old tls.not-spoken tls.expected
    tls.handshake-failed
    greeting.rejected greeting.not-smtp greeting.timeout
    ehlo.name-rejected
    starttls.not-offered starttls.refused starttls.required starttls.injection
    auth.not-offered auth.no-common-mechanism auth.bad-credentials auth.app-password-required auth.oauth2-required auth.disabled-by-admin
    auth.sign-in-blocked auth.too-many-attempts auth.temporary auth.required auth.token-expired auth.token-revoked auth.consent-required
    mail.sender-not-allowed mail.sender-unverified mail.smtputf8-unsupported
    rcpt.unknown rcpt.relay-denied rcpt.greylisted rcpt.too-many rcpt.mailbox-full
    data.too-large data.content-rejected data.unauthenticated-domain data.line-too-long data.lost-before-reply
    limit.rate limit.quota limit.account-blocked
    server.client-blocked server.shutting-down server.temporary server.refused server.protocol-error
    connection.lost internal.bug
    """.split()
)

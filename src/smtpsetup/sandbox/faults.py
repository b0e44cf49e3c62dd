"""The failures that can be rehearsed, by error code: by a server's fault or by a command."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.rehearsal import Act, ApiAnswer, Fault

FAULTS: dict[str, Fault] = {
    code: record.rehearsal for code, record in EXPLANATIONS.items() if isinstance(record.rehearsal, Fault)
}
# how the APIs say what a server says over SMTP, for `sandbox --transport`
_API_ANSWERS: dict[str, tuple[ApiAnswer, ...]] = {
    "auth.sign-in-blocked": (ApiAnswer("graph", 403, "interaction_required", "Conditional Access wants a sign-in."),),
    "auth.scope-refused": (ApiAnswer("gmail", 403, "insufficientPermissions", "Insufficient authentication scopes."),),
    "auth.disabled-by-admin": (ApiAnswer("gmail", 403, "domainPolicy", "The domain administrators have disabled it."),),
    "auth.no-mailbox": (ApiAnswer("gmail", 400, "failedPrecondition", "Mail service not enabled"),),
    "auth.access-denied": (ApiAnswer("gmail", 403, "forbidden", "Delegation denied"),),
    "auth.token-revoked": (
        ApiAnswer("graph", 401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid."),
        ApiAnswer("gmail", 401, "authError", "Invalid Credentials"),
    ),
    "mail.sender-not-allowed": (ApiAnswer("graph", 403, "ErrorSendAsDenied", "No right to send on behalf of it."),),
    "data.too-large": (
        ApiAnswer("graph", 413, "RequestEntityTooLarge", "The request is too large."),
        ApiAnswer("gmail", 413, "uploadTooLarge", "Request Too Large"),
    ),
    "limit.rate": (
        ApiAnswer("graph", 429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
        ApiAnswer("gmail", 403, "userRateLimitExceeded", "User-rate limit exceeded"),
    ),
    "limit.quota": (
        ApiAnswer("graph", 403, "ErrorExceededMessageLimit", "Cannot send mail."),
        ApiAnswer("gmail", 403, "dailyLimitExceeded", "Daily Limit Exceeded"),
    ),
    "server.refused": (ApiAnswer("graph", 400, "ErrorInvalidRecipients", "At least one recipient is not valid."),),
    "server.temporary": (
        ApiAnswer("graph", 503, "serviceNotAvailable", "The service is not available."),
        ApiAnswer("gmail", 503, "backendError", "Backend Error"),
    ),
}


def api_fault(code: str, transport: str) -> Fault | None:
    """The fault of this code at the API of a transport; None where it cannot be rehearsed there."""
    own = FAULTS[code].api if code in FAULTS else None
    answers = (*((own,) if own else ()), *_API_ANSWERS.get(code, ()))
    answer = next((one for one in answers if one.transport == transport), None)
    return None if answer is None else Fault(Stage.DATA, api=answer)


_ACCOUNT = "info@example.com --host localhost --port 465 --security tls --no-verify"
_APART = "smtpsetup --config rehearsal.toml"  # so that no account of a person's own is changed
REHEARSALS: dict[str, str] = {
    # these have no record in EXPLANATIONS
    "config.no-account": "smtpsetup test nobody@example.com",
    "config.invalid": "(umask 077; echo 'default = 1' > fault.toml); smtpsetup --config fault.toml accounts list",
    "config.permissions": "touch fault.toml && chmod 644 fault.toml && smtpsetup --config fault.toml accounts list",
    "config.address-malformed": "smtpsetup identify info@",
    "config.no-settings-found": "smtpsetup identify info@nobody.example --offline",
    "config.provider-without-smtp": "smtpsetup identify namn@tutanota.com",
    "secret.missing": f"{_APART} configure {_ACCOUNT} --password-env NOTHING_HERE && {_APART} test info@example.com",
    "secret.keyring-unavailable": 'env -i HOME="$HOME" PATH="$PATH" smtpsetup login info@example.com',
    "secret.keyring-locked": "gdbus call --session --dest org.freedesktop.secrets --object-path "
    "/org/freedesktop/secrets "
    "--method org.freedesktop.Secret.Service.Lock \"['/org/freedesktop/secrets/collection/login']\" && smtpsetup test "
    "--no-input",
    "secret.command-failed": f"{_APART} configure {_ACCOUNT} --password-command false && {_APART} test "
    f"info@example.com",
    "secret.file-permissions": f"touch p && chmod 644 p && {_APART} configure {_ACCOUNT} --password-file p && "
    f"{_APART} test info@example.com",
    **{code: record.rehearsal for code, record in EXPLANATIONS.items() if isinstance(record.rehearsal, str)},
}
"""A command that shows each failure for which no server is needed."""

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

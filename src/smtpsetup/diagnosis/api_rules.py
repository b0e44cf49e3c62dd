"""Rules for the answers of Microsoft Graph and the Gmail API: their own error codes decide, then the HTTP status.

https://learn.microsoft.com/graph/errors, https://developers.google.com/workspace/gmail/api/guides/handle-errors
"""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis import api_advice as advice
from smtpsetup.diagnosis.rule import Advice, Rule, words


def _answer(error: str, phrase: str = "", *, codes: tuple[int, ...] = (), advised: Advice | None = None) -> Rule:
    return Rule(error, kind=Kind.HTTP, codes=codes, phrase=phrase, advice=advised)


API_RULES: tuple[Rule, ...] = (
    Rule("data.too-large", kind=Kind.TOO_LARGE_FOR_PERMISSION, advice=advice.LARGE_MAIL),
    _answer("auth.sign-in-blocked", r"insufficient_claims|interaction_required", advised=advice.ACCESS_POLICY),
    _answer("mail.sender-not-allowed", r"SendAsDenied|SendOnBehalfOfDenied", advised=advice.SEND_AS),
    _answer("auth.api-disabled", r"accessNotConfigured|SERVICE_DISABLED"),
    _answer("auth.scope-refused", words("insufficientPermissions", "NoPermissionsInAccessToken", "insufficient_scope")),
    _answer("auth.disabled-by-admin", "domainPolicy", advised=advice.DOMAIN_POLICY),
    _answer(
        "auth.no-mailbox",
        words(
            "MailboxNotEnabledForRESTAPI",
            "ErrorInvalidUser",
            "ErrorNonExistentMailbox",
            "ErrorMissingEmailAddress",
            "Request_ResourceNotFound",
            "Mail service not enabled",
        ),
    ),
    _answer("auth.no-mailbox", "ItemNotFound", codes=(404,)),
    _answer("auth.access-denied", "ErrorAccessDenied"),
    _answer("limit.account-blocked", words("ErrorAccountSuspend", "SubmissionBlocked", "ErrorMessageBlocked")),
    _answer(
        "limit.quota", words("ExceededMessageLimit", "SubmissionQuotaExceeded", "dailyLimitExceeded", "Mail sending")
    ),
    _answer("limit.rate", words("HourlyMessageLimit", "RateLimitExceeded")),
    _answer("limit.rate", codes=(429,)),
    _answer("rcpt.too-many", "MaxRecipientLimit"),
    _answer("limit.quota", "ErrorQuotaExceeded|quotaLimitReached", advised=advice.MAILBOX_FULL),
    _answer("data.too-large", "MessageSizeExceeded"),
    _answer("data.too-large", codes=(413,)),
    _answer("data.transfer-damaged", "MimeContentInvalid"),
    _answer("server.refused", "ErrorInvalidRecipients|Recipient address required", advised=advice.RECIPIENTS),
    _answer("server.refused", codes=(200,), advised=advice.NOT_SENT),
    Rule("auth.token-revoked", (Stage.AUTH,), Kind.HTTP, codes=(401,)),
    _answer("auth.access-denied", codes=(403,)),
    _answer("server.protocol-error", codes=(3, 404, 405, 2)),
    _answer("server.temporary", codes=(408, 425, 5)),
    _answer("server.refused"),
)

"""The error code of a provider's refusal of a sign-in or of a token renewal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.oauth.request import OAuthError

# Microsoft's own numbers, in the description, refine the standard's code
# (https://learn.microsoft.com/entra/identity-platform/reference-error-codes)
_NUMBERS = {
    "50173": "auth.token-revoked",
    "50076": "auth.token-revoked",
    "50079": "auth.token-revoked",
    "70043": "auth.token-expired",
    "700082": "auth.token-expired",
    "700084": "auth.token-expired",
    "65001": "auth.consent-required",
    "65004": "auth.sign-in-declined",
    "90094": "auth.admin-approval-required",
    "90008": "auth.admin-approval-required",
    "53003": "auth.sign-in-blocked",
    "530032": "auth.sign-in-blocked",
    "530034": "auth.sign-in-blocked",
    "7000218": "auth.client-not-public",
    "7000112": "auth.client-unknown",
    "7000215": "auth.client-unknown",
    "700016": "auth.client-unknown",
    "50020": "auth.wrong-tenant",
    "50194": "auth.wrong-tenant",
    "90002": "auth.wrong-tenant",
    "9002346": "auth.wrong-tenant",
    "50011": "auth.redirect-not-registered",
    "28000": "auth.scope-refused",
    "28002": "auth.scope-refused",
    "28003": "auth.scope-refused",
    "70011": "auth.scope-refused",
    "65005": "auth.scope-refused",
    "650053": "auth.scope-refused",
    "70019": "auth.sign-in-timeout",
}
# RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, and what Google adds
# (https://developers.google.com/identity/protocols/oauth2/native-app)
_ERRORS = {
    "invalid_grant": "auth.token-revoked",
    "access_denied": "auth.sign-in-declined",
    "authorization_declined": "auth.sign-in-declined",
    "consent_required": "auth.consent-required",
    "interaction_required": "auth.consent-required",
    "login_required": "auth.consent-required",
    "expired_token": "auth.sign-in-timeout",
    "invalid_client": "auth.client-unknown",
    "deleted_client": "auth.client-unknown",
    "disabled_client": "auth.client-unknown",
    "unauthorized_client": "auth.client-unknown",
    "redirect_uri_mismatch": "auth.redirect-not-registered",
    "unsupported_grant_type": "auth.client-not-public",
    "invalid_scope": "auth.scope-refused",
    "admin_policy_enforced": "auth.admin-approval-required",
    "org_internal": "auth.wrong-tenant",
}
_USUAL = "auth.token-revoked"

# for a program that signs in by itself; the words are Google's (.../identity/protocols/oauth2/service-account#jwt-auth)
_APP_NUMBERS = {
    **_NUMBERS,
    "7000215": "auth.client-secret-refused",
    "7000222": "auth.client-secret-expired",
    "700027": "auth.client-certificate-refused",
    "700021": "auth.client-certificate-refused",
    "700030": "auth.client-certificate-refused",
    "50012": "auth.client-certificate-refused",
    "50027": "auth.client-certificate-refused",
    "700024": "auth.clock-wrong",
    "7000229": "auth.admin-approval-required",
    "65001": "auth.admin-approval-required",
    "650056": "auth.admin-approval-required",
    "650057": "auth.admin-approval-required",
    "50105": "auth.admin-approval-required",
    "530035": "auth.sign-in-blocked",
    "500011": "auth.scope-refused",
    "1002012": "auth.scope-refused",
    "700022": "auth.scope-refused",
    "700023": "auth.wrong-tenant",
    "90038": "auth.wrong-tenant",
    "900382": "auth.wrong-tenant",
    "900432": "auth.wrong-tenant",
    "9001023": "auth.wrong-tenant",
    "90124": "auth.wrong-tenant",
    "700011": "auth.client-unknown",
    "70001": "auth.client-unknown",
    "700025": "auth.client-unknown",
}
_APP_WORDS = (
    (r"short-lived token|iat and exp|not within its valid time", "auth.clock-wrong"),
    (r"not a valid email|invalid email", "auth.no-mailbox"),
    (r"invalid jwt", "auth.client-certificate-refused"),
)
_APP_ERRORS = {
    **_ERRORS,
    "invalid_client": "auth.client-secret-refused",
    "unauthorized_client": "auth.delegation-missing",
    "access_denied": "auth.delegation-missing",
    "invalid_grant": "auth.client-certificate-refused",
}


def code_of(error: OAuthError, *, is_first: bool = False, by_device_code: bool = False) -> str:
    """The error code of a refusal that is not temporary.

    `is_first`: there was no earlier sign-in. `by_device_code`: it was a sign-in with a device code.
    """
    number = re.search(r"AADSTS(\d+)", error.description)
    code = _NUMBERS.get(number[1] if number else "") or _ERRORS.get(error.error, _USUAL)
    if error.error in ("invalid_request", "invalid_client") and "client_secret" in error.description and not number:
        code = "auth.client-unknown"  # Google, for a missing secret
    if is_first and code == "auth.token-revoked":
        code = "auth.sign-in-blocked"  # there was no token to revoke
    return "auth.device-code-blocked" if by_device_code and code == "auth.sign-in-blocked" else code


def app_code_of(error: OAuthError) -> str:
    """The error code of a refusal for a program that signs in by itself, which is not temporary."""
    number = re.search(r"AADSTS(\d+)", error.description)
    if number:
        return _APP_NUMBERS.get(number[1]) or _APP_ERRORS.get(error.error, "auth.client-unknown")
    words = next((code for words, code in _APP_WORDS if re.search(words, error.description, re.IGNORECASE)), None)
    return words or _APP_ERRORS.get(error.error, "auth.client-unknown")

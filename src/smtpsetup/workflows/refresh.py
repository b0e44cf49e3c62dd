"""Asking for a new access token, and what a refusal means."""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING

from smtpsetup.errors import EX_TEMPFAIL, SmtpsetupError
from smtpsetup.i18n import gettext as _
from smtpsetup.oauth.request import OAuthError, post, tokens_in
from smtpsetup.transport import tls
from smtpsetup.transport.dial import Deadline
from smtpsetup.transport.https import Web
from smtpsetup.workflows.connection import look_up_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.account import Account
    from smtpsetup.oauth2 import TokenClient, Tokens

_SECONDS = 25.0


def web() -> Web:
    """How the endpoints are reached: the system's authorities, also for an account with a `ca_file` of its own."""
    return Web(tls.policy(), look_up_for())


def refreshed(account: Account, client: TokenClient, refresh_token: str) -> Tokens:
    """New tokens for a refresh token (RFC 6749 section 6). Raises SmtpsetupError."""
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
    if client.scopes:
        fields["scope"] = " ".join(client.scopes)
    if client.client_secret:
        fields["client_secret"] = client.client_secret
    try:
        return tokens_in(post(web(), client.token_endpoint, fields, Deadline(_SECONDS)), time.time(), client.scopes)
    except OAuthError as error:
        raise explained(error, account.name) from error


# Microsoft's own numbers (https://learn.microsoft.com/entra/identity-platform/reference-error-codes); they explain, and decide nothing but the text
_MEANINGS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("700082", "auth.token-expired", lambda: _("The sign-in has not been used for too long, and has ended.")),
    ("70043", "auth.token-expired", lambda: _("The organisation lets a sign-in live only for a while, and it has ended.")),
    ("50173", "auth.token-revoked", lambda: _("The password was changed, which ends every sign-in.")),
    ("50076", "auth.token-revoked", lambda: _("The organisation wants a second factor now.")),
    ("65001", "auth.consent-required", lambda: _("Nobody has agreed that this program may send mail for the account.")),
    ("90094", "auth.consent-required", lambda: _("An administrator must agree that this program may send mail.")),
    ("65004", "auth.consent-required", lambda: _("The question whether this program may send mail was answered with no.")),
    ("53003", "auth.sign-in-blocked", lambda: _("The organisation's rules (Conditional Access) do not allow this kind of sign-in.")),
    ("530032", "auth.sign-in-blocked", lambda: _("The organisation's security policy blocks this sign-in.")),
    (
        "7000218",
        "auth.consent-required",
        lambda: _('The registered program is not a public client: switch on "Allow public client flows" in its registration.'),
    ),
    ("7000112", "auth.consent-required", lambda: _("The registered program is switched off.")),
    ("700016", "auth.consent-required", lambda: _("There is no program with this client id in the organisation (tenant) that was asked.")),
    ("50020", "auth.consent-required", lambda: _("The account is not in the organisation (tenant) that was asked.")),
    (
        "50011",
        "auth.consent-required",
        lambda: _("The redirect address is not in the program's registration: add http://localhost as a mobile and desktop one."),
    ),
    ("28000", "auth.consent-required", lambda: _("Permissions of two services were asked for at once.")),
)
_BY_ERROR: dict[str, tuple[str, Callable[[], str]]] = {
    "invalid_grant": ("auth.token-revoked", lambda: _("The sign-in has ended: it was revoked, or not used for too long.")),
    "access_denied": ("auth.consent-required", lambda: _("The question whether this program may send mail was answered with no.")),
    "consent_required": ("auth.consent-required", lambda: _("Nobody has agreed that this program may send mail for the account.")),
    "interaction_required": ("auth.consent-required", lambda: _("The provider wants to ask somebody again.")),
    "expired_token": ("auth.token-expired", lambda: _("The code was not used in time.")),
    "invalid_client": ("auth.consent-required", lambda: _("The provider does not know this client id, or wants its client secret.")),
    "unauthorized_client": ("auth.consent-required", lambda: _("The registered program may not sign in in this way.")),
    "unsupported_grant_type": ("auth.consent-required", lambda: _("The provider does not offer this way to sign in for this program.")),
    "invalid_scope": ("auth.consent-required", lambda: _("The provider does not give this program the permission to send mail (scope).")),
    "admin_policy_enforced": ("auth.consent-required", lambda: _("An administrator does not allow this program.")),
    "org_internal": ("auth.consent-required", lambda: _("This program is for people of its own organisation only.")),
}


def explained(error: OAuthError, account: str) -> SmtpsetupError:
    """What an endpoint's refusal means, with the provider's own words. Network trouble is temporary and costs nobody their sign-in."""
    if error.is_temporary or not error.error:
        return SmtpsetupError(
            "auth.temporary",
            _("No token was to be had: {reason}.").format(reason=error.description.rstrip(".")),
            hints=(_("Try again later; the sign-in is kept as it is."),),
            exit_code=EX_TEMPFAIL,
        )
    number = re.search(r"AADSTS(\d+)", error.description)
    code, meaning = _BY_ERROR.get(error.error, ("auth.token-revoked", lambda: _("The provider refuses the sign-in.")))
    if number:
        code, meaning = next(((known, text) for key, known, text in _MEANINGS if key == number[1]), (code, meaning))
    login = _("Sign in again: `smtpsetup login {account}`.").format(account=shlex.quote(account))
    hints = (login, _("What has to be set up at the provider first is in docs/oauth2.md.")) if code == "auth.consent-required" else (login,)
    said = _("The provider said: {words}").format(words=f"{error.error}: {error.description}" if error.description else error.error)
    return SmtpsetupError(code, meaning(), causes=(said,), hints=hints)

"""Requests to a provider's token endpoint, and the errors that its refusals mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.diagnosis.diagnose import placeholder_values
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.net import tls
from smtpsetup.net.dial import look_up_from_environment
from smtpsetup.net.https import Web
from smtpsetup.oauth.refusals import app_code_of, code_of
from smtpsetup.oauth.request import client_fields, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.oauth.request import OAuthError
    from smtpsetup.oauth.token_cache import CachedTokens

_SECONDS = 25.0  # for a renewal
_LONGEST_PAUSE = 3600.0  # seconds that a provider may ask for


def web(before_request: Callable[[], None] | None = None, *, proxy: Proxy | None = None) -> Web:
    """Access to the endpoints, through the account's `proxy`.

    It trusts the system's authorities, even if the account has its own `ca_file`.
    """
    return Web(tls.policy(), look_up_from_environment(), before_request, proxy)


def host_of(endpoint: str) -> str:
    """The host and port of an endpoint's URL."""
    return endpoint.split("/")[2]


def refresh_tokens(
    client: TokenClient, refresh_token: str, *, before_request: Callable[[], None], proxy: Proxy | None = None
) -> dict[str, Any]:
    """Request new tokens (RFC 6749 section 6). `before_request` is called once there is a connection.

    Returns the JSON object of the answer. Raises OAuthError.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, **client_fields(client)}
    if client.scopes:
        fields["scope"] = " ".join(client.scopes)
    return post(web(before_request, proxy=proxy), client.token_endpoint, fields, _SECONDS)


def post_form(client: TokenClient, fields: dict[str, str], proxy: Proxy | None) -> dict[str, Any]:
    """Ask for tokens with this form. Returns the JSON object of the answer. Raises OAuthError."""
    return post(web(proxy=proxy), client.token_endpoint, fields, _SECONDS)


def respect_pause(client: TokenClient, cached: CachedTokens | None) -> None:
    """Raise SmtpsetupError while a pause lasts that the provider has asked for."""
    left = cached.ask_again_at - time.time() if cached else 0.0
    if 0 < left <= _LONGEST_PAUSE:
        message = _("{host} has asked for a pause before it gives another token; it ends in {n} seconds.").format(
            host=host_of(client.token_endpoint), n=int(left) + 1
        )
        hint = _("Try again later; the sign-in is kept as it is.")
        raise SmtpsetupError("auth.temporary", message, hints=(hint,), exit_code=EX_TEMPFAIL)


def ask_again_at(error: OAuthError) -> float:
    """When a pause ends that an answer asks for, in seconds since 1970."""
    return time.time() + min(error.retry_after, _LONGEST_PAUSE)


def explained(
    error: OAuthError, account: Account, *, is_saved: bool = True, by_device_code: bool = False
) -> SmtpsetupError:
    """The error that an endpoint's refusal means, with the provider's text. A network error is temporary."""
    if error.is_temporary or not error.error:
        return _temporary(error, is_saved=is_saved)
    if account.oauth2 and account.oauth2.is_app_only:
        code = app_code_of(error)
    else:
        code = code_of(error, is_first=not is_saved, by_device_code=by_device_code)
    explained_error = error_with(code, account, is_saved=is_saved)
    if not error.is_own:
        said = _("The provider said: {words}").format(words=error.words)
        explained_error.causes = (said, *explained_error.causes)
    return explained_error


def error_with(code: str, account: Account, *, is_saved: bool) -> SmtpsetupError:
    """The error of an error code with its explanation, filled in for an account."""
    explanation = EXPLANATIONS[code].translated(placeholder_values(account, is_saved=is_saved))
    return SmtpsetupError(
        code,
        explanation.message,
        causes=explanation.causes,
        hints=explanation.hints,
        responsible=explanation.responsible,
    )


def _temporary(error: OAuthError, *, is_saved: bool) -> SmtpsetupError:
    clock = (_("Look at this machine's clock: `date`."),) if error.may_be_clock else ()
    return SmtpsetupError(
        "auth.temporary",
        _("The provider gave no access token: {reason}.").format(reason=error.words.rstrip(".")),
        hints=(
            *clock,
            _("Try again later; the sign-in is kept as it is.")
            if is_saved
            else _("Try again later; nothing was saved."),
        ),
        exit_code=EX_TEMPFAIL,
    )

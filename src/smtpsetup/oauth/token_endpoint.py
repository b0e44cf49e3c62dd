"""What a provider's token endpoint is asked, and what its refusal means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.diagnosis.diagnose import placeholder_values
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline, look_up_from_environment
from smtpsetup.net.https import Web
from smtpsetup.oauth.refusals import code_of
from smtpsetup.oauth.request import post

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.oauth.request import OAuthError

_SECONDS = 25.0


def web(before_request: Callable[[], None] | None = None) -> Web:
    """How the endpoints are reached: the system's authorities, also for an account with a `ca_file` of its own."""
    return Web(tls.policy(), look_up_from_environment(), before_request)


def host_of(client: TokenClient) -> str:
    """Who gives the tokens."""
    return client.token_endpoint.split("/")[2]


def answer(client: TokenClient, refresh_token: str, *, before_request: Callable[[], None]) -> dict[str, Any]:
    """What comes back for a refresh token (RFC 6749 section 6). `before_request` is called once there is a connection.

    Raises OAuthError.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
    if client.scopes:
        fields["scope"] = " ".join(client.scopes)
    if client.client_secret:
        fields["client_secret"] = client.client_secret
    return post(web(before_request), client.token_endpoint, fields, Deadline(_SECONDS))


def explained(
    error: OAuthError, account: Account, *, is_saved: bool = True, by_device_code: bool = False
) -> SmtpsetupError:
    """What an endpoint's refusal means, with the provider's own words.

    Network trouble is temporary and costs nobody their sign-in.
    """
    if error.is_temporary or not error.error:
        return _temporary(error, is_saved=is_saved)
    code = code_of(error, is_first=not is_saved, by_device_code=by_device_code)
    explanation = EXPLANATIONS[code].translated(placeholder_values(account, is_saved=is_saved))
    said = _("The provider said: {words}").format(words=error.words)
    return SmtpsetupError(
        code,
        explanation.message,
        causes=explanation.causes if error.is_own else (said, *explanation.causes),
        hints=explanation.hints,
        responsible=explanation.responsible,
    )


def _temporary(error: OAuthError, *, is_saved: bool) -> SmtpsetupError:
    clock = (_("Look at this machine's clock: `date`."),) if error.may_be_clock else ()
    return SmtpsetupError(
        "auth.temporary",
        _("No token was to be had: {reason}.").format(reason=error.words.rstrip(".")),
        hints=(
            *clock,
            _("Try again later; the sign-in is kept as it is.")
            if is_saved
            else _("Try again later; nothing was saved."),
        ),
        exit_code=EX_TEMPFAIL,
    )

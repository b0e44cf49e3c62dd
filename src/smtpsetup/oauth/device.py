"""Signing in on another device (RFC 8628).

A short code is typed into a web page, and meanwhile the token endpoint is asked again and again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.net.dial import Deadline
from smtpsetup.oauth.request import OAuthError, post, tokens_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.oauth_types import Endpoints, TokenClient, Tokens
    from smtpsetup.net.https import Web

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_ANSWER_SECONDS = 20.0
_INTERVAL_SECONDS = 5.0  # RFC 8628 section 3.2, where the server names none
_SHORTEST_INTERVAL = 1.0
_SLOWER_SECONDS = 5.0  # RFC 8628 section 3.5
_LONGEST_SECONDS = 1800.0
_SLOWEST_SECONDS = 60.0


class DeviceCode(NamedTuple):
    """What a person types where.

    `seconds` is how long the code lives; `device_code` is the program's own half, and a secret.
    """

    user_code: str
    verification_uri: str
    seconds: float
    interval: float
    device_code: str

    def __repr__(self) -> str:
        return f"DeviceCode({self.user_code!r}, {self.verification_uri!r}, ***)"


def begin(web: Web, endpoints: Endpoints, client: TokenClient) -> DeviceCode:
    """A code for a person. Raises OAuthError."""
    fields = {"client_id": client.client_id, "scope": " ".join(client.scopes)}
    if client.client_secret:
        fields["client_secret"] = client.client_secret  # RFC 8628 section 3.1: as at the token endpoint
    answer = post(web, endpoints.device_authorization_endpoint, fields, Deadline(_ANSWER_SECONDS))
    texts = {key: answer.get(key) for key in ("user_code", "device_code")}
    uri = answer.get("verification_uri") or answer.get("verification_url")  # the second as Google once wrote it
    if not all(isinstance(text, str) and text for text in (*texts.values(), uri)) or not str(uri).startswith(
        "https://"
    ):
        raise OAuthError("", _("the answer holds no code"))
    return DeviceCode(
        plain_text(str(texts["user_code"])),
        plain_text(str(uri)),
        _seconds(answer.get("expires_in"), 900.0, _LONGEST_SECONDS),
        max(_seconds(answer.get("interval"), _INTERVAL_SECONDS, _SLOWEST_SECONDS), _SHORTEST_INTERVAL),
        str(texts["device_code"]),
    )


def _seconds(value: object, usual: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # NaN is not
        return usual
    return most if value > most else float(value)


def wait(web: Web, client: TokenClient, code: DeviceCode, *, pause: Callable[[float], object] = time.sleep) -> Tokens:
    """The tokens, once the person has signed in.

    Raises OAuthError (`expired_token`, `access_denied` and whatever else the provider says).

    What is no answer, such as a page for people, ends nothing: it may come from something in between.
    """
    end = time.monotonic() + code.seconds
    interval = code.interval
    unanswered: OAuthError | None = None
    fields = {"grant_type": DEVICE_GRANT, "device_code": code.device_code, "client_id": client.client_id}
    if client.client_secret:
        fields["client_secret"] = client.client_secret
    while time.monotonic() + interval < end:
        pause(interval)
        try:
            return tokens_in(
                post(web, client.token_endpoint, fields, Deadline(_ANSWER_SECONDS)), time.time(), client.scopes
            )
        except OAuthError as error:
            unanswered = error if error.is_temporary or not error.error else None
            if error.error == "slow_down":
                interval = min(interval + _SLOWER_SECONDS, _SLOWEST_SECONDS)
            elif unanswered:
                interval = min(max(interval, error.retry_after, _INTERVAL_SECONDS), _SLOWEST_SECONDS)
            elif error.error != "authorization_pending":
                raise
    raise unanswered or OAuthError("expired_token", _("the code was not used in time"), is_own=True)

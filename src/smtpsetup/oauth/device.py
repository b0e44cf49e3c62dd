"""Sign-in on another device (RFC 8628): the person types a code into a web page, and the token endpoint is polled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.oauth.request import OAuthError, client_fields, post, request_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.oauth_types import Endpoints, TokenClient, Tokens
    from smtpsetup.net.https import Web

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL_SECONDS = 5.0  # RFC 8628 section 3.2, if the server names none
_SHORTEST_INTERVAL = 1.0
_SLOWER_SECONDS = 5.0  # RFC 8628 section 3.5
_LONGEST_SECONDS = 1800.0  # that a code is polled for, whatever the server says
_SLOWEST_SECONDS = 60.0  # the longest interval


class DeviceCode(NamedTuple):
    """A code and the page to type it in. It is valid for `seconds`; `interval` is that of polling, in seconds.

    `device_code` is the secret with which this program polls.
    """

    user_code: str
    verification_uri: str
    seconds: float
    interval: float
    device_code: str

    def __repr__(self) -> str:
        return f"DeviceCode({self.user_code!r}, {self.verification_uri!r}, ***)"


def begin(web: Web, endpoints: Endpoints, client: TokenClient) -> DeviceCode:
    """Request a code. Raises OAuthError."""
    fields = {**client_fields(client), "scope": " ".join(client.scopes)}  # RFC 8628 section 3.1
    answer = post(web, endpoints.device_authorization_endpoint, fields)
    uri = answer.get("verification_uri") or answer.get("verification_url")  # the second is Google's old name
    texts = (answer.get("user_code"), answer.get("device_code"), uri)
    if not all(isinstance(text, str) and text for text in texts) or not str(uri).startswith("https://"):
        raise OAuthError("", _("the answer holds no code"))
    return DeviceCode(
        plain_text(answer["user_code"]),
        plain_text(str(uri)),
        _seconds(answer.get("expires_in"), 900.0, _LONGEST_SECONDS),
        max(_seconds(answer.get("interval"), _INTERVAL_SECONDS, _SLOWEST_SECONDS), _SHORTEST_INTERVAL),
        answer["device_code"],
    )


def _seconds(value: object, usual: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # NaN is not
        return usual
    return most if value > most else float(value)


def wait(web: Web, client: TokenClient, code: DeviceCode, *, pause: Callable[[float], object] = time.sleep) -> Tokens:
    """Poll until the person has signed in. Returns the tokens. `pause` sleeps for so many seconds.

    Raises OAuthError (`expired_token`, `access_denied` or another code of the provider). A response that is not OAuth's
    does not end the polling: it may come from a proxy.
    """
    end = time.monotonic() + code.seconds
    interval = code.interval
    unanswered: OAuthError | None = None
    while time.monotonic() + interval < end:
        pause(interval)
        try:
            return request_tokens(web, client, {"grant_type": DEVICE_GRANT, "device_code": code.device_code})
        except OAuthError as error:
            unanswered = error if error.is_temporary or not error.error else None
            if error.error == "slow_down":
                interval = min(interval + _SLOWER_SECONDS, _SLOWEST_SECONDS)
            elif unanswered:
                interval = min(max(interval, error.retry_after, _INTERVAL_SECONDS), _SLOWEST_SECONDS)
            elif error.error != "authorization_pending":
                raise
    raise unanswered or OAuthError("expired_token", _("the code was not used in time"), is_own=True)

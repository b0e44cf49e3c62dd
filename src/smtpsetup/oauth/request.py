"""Asking an OAuth2 endpoint (RFC 6749 section 3.2): HTTPS only, no redirect, 64 KB, one deadline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.core.oauth_types import Tokens
from smtpsetup.net.https import HttpsError
from smtpsetup.net.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smtpsetup.net.dial import Deadline
    from smtpsetup.net.https import Web

_JSON = {"Accept": "application/json"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded", **_JSON}
_TOO_MANY = 429
_SERVER_ERROR = 500
_MOST_SECONDS = 10 * 86_400.0  # an access token that is said to live longer is asked for anew all the same
_DIGITS = 20
_USUAL_SECONDS = 3600.0  # where the answer does not say how long
_SECRET_LENGTH = 6  # characters; a shorter one is in many words
_SECRETS = {"refresh_token", "client_secret", "code", "code_verifier", "device_code"}
TEMPORARY = {"temporarily_unavailable", "server_error"}


class OAuthError(Exception):
    """An endpoint refused, or could not be asked.

    `error` is the standard's code (RFC 6749 section 5.2), `""` where there was none.

    `description` is the provider's own words, or this program's where there is no code; `words` is for people.
    `is_temporary` says that the same may work later, `retry_after` in how many seconds. `may_be_clock` says that it
    could lie at this machine's clock; `is_own` that nobody but this program has said so.
    """

    def __init__(  # noqa: PLR0913  what is known of a refusal
        self,
        error: str,
        description: str,
        *,
        is_temporary: bool = False,
        retry_after: float = 0.0,
        may_be_clock: bool = False,
        is_own: bool = False,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.is_temporary = is_temporary
        self.retry_after = retry_after
        self.may_be_clock = may_be_clock
        self.is_own = is_own
        self._masks = Masks()

    def hide(self, secrets: Iterable[str]) -> None:
        """Keep what was sent out of what is shown. What the provider's words mean is read from them as they came."""
        for secret in secrets:
            if len(secret) >= _SECRET_LENGTH:
                self._masks.add(secret)

    @property
    def words(self) -> str:
        """What was said, fit to be shown."""
        said = ": ".join(part for part in (self.error, self.description) if part)
        return self._masks.applied(said) if self.error else said


def post(web: Web, endpoint: str, fields: Mapping[str, str], deadline: Deadline) -> dict[str, Any]:
    """The JSON object that an endpoint answers a form with.

    Raises OAuthError, which does not repeat what is secret among the fields.
    """
    try:
        body = urlencode(fields).encode("ascii")
    except UnicodeError as error:  # half a surrogate pair, which JSON can hold
        raise OAuthError("", _("the provider gave something that is no text")) from error
    try:
        return _exchanged(web, "POST", endpoint, deadline, body, _FORM)
    except OAuthError as error:
        error.hide(fields[name] for name in _SECRETS & fields.keys())
        raise


def post_json(web: Web, endpoint: str, document: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
    """The same for a JSON document (RFC 7591 section 3.1)."""
    return _exchanged(
        web, "POST", endpoint, deadline, json.dumps(document).encode(), {"Content-Type": "application/json", **_JSON}
    )


def get(web: Web, url: str, deadline: Deadline) -> dict[str, Any]:
    """The JSON object at an address. Raises OAuthError."""
    return _exchanged(web, "GET", url, deadline, None, _JSON)


def parsed(url: str) -> SplitResult:
    """An address taken apart. Raises OAuthError for one that is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  it is looked at when it is asked for
    except ValueError as error:
        raise OAuthError(
            "", _("{url} is no address that a token may be asked from").format(url=plain_text(url)[:200])
        ) from error
    return parts


def _exchanged(  # noqa: PLR0913, PLR0917  the parts of a request
    web: Web, method: str, url: str, deadline: Deadline, body: bytes | None, headers: Mapping[str, str]
) -> dict[str, Any]:
    parts = parsed(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise OAuthError("", _("{url} is no address that a token may be asked from").format(url=plain_text(url)))
    try:
        answer = web.exchange(method, parts, deadline, body, headers)
    except HttpsError as error:
        raise OAuthError(
            "", f"{parts.hostname}: {error.detail}", is_temporary=True, may_be_clock=error.may_be_clock
        ) from error
    document = _object(answer.body)
    is_temporary = answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR
    if 200 <= answer.status < 300 and document is not None and not document.get("error"):  # noqa: PLR2004  RFC 9110 section 15.3
        return document
    refused = document.get("error") if document else None
    code = plain_text(refused)[:100] if isinstance(refused, str) else ""
    said = document.get("error_description") if document else None
    words = plain_text(said)[:1000] if isinstance(said, str) else ""
    description = words if code else _("HTTP status {status}").format(status=answer.status)
    waits = float(answer.retry_after) if answer.retry_after.isascii() and answer.retry_after.isdigit() else 0.0
    raise OAuthError(code, description, is_temporary=is_temporary or code in TEMPORARY, retry_after=waits)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def refresh_token_in(document: Mapping[str, Any]) -> str:
    """The refresh token of an answer.

    `""` for none, or for one that nobody could give back (RFC 6749 appendix A.17).
    """
    token = document.get("refresh_token")
    return token if isinstance(token, str) and all(" " <= char <= "~" for char in token) else ""


def tokens_in(document: Mapping[str, Any], now: float, scopes: tuple[str, ...]) -> Tokens:
    """The tokens of an answer. Raises OAuthError for one that cannot be used."""
    access = document.get("access_token")
    kind = document.get("token_type", "")
    if not isinstance(access, str) or not access or not all("!" <= char <= "~" for char in access):
        raise OAuthError("", _("the answer holds no token that can be used"))
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise OAuthError(
            "",
            _("the answer's token is of a kind that mail servers do not take ({kind})").format(
                kind=plain_text(str(kind))[:40]
            ),
        )
    granted = document.get("scope", "")
    granted = granted if isinstance(granted, str) else ""
    if granted and not _covers(granted.split(), scopes):
        raise OAuthError(
            "invalid_scope", _("less was granted than was asked for: {scope}").format(scope=plain_text(granted)[:300])
        )
    return Tokens(access, now + _lifetime(document.get("expires_in")), refresh_token_in(document))


def _covers(granted: list[str], scopes: tuple[str, ...]) -> bool:
    """Whether everything was granted.

    `offline_access` and the like are about the refresh token and are not always named.
    """
    about_mail = [scope for scope in scopes if scope not in ("offline_access", "openid", "profile", "email")]
    lowered = {scope.lower() for scope in granted}
    return all(scope.lower() in lowered for scope in about_mail)


def _lifetime(seconds: object) -> float:
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) < _DIGITS:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:  # NaN is not
        return _USUAL_SECONDS
    return _MOST_SECONDS if seconds > _MOST_SECONDS else float(seconds)

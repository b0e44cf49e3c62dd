"""Requests to an OAuth2 endpoint (RFC 6749 section 3.2): HTTPS only, no redirect, 64 KB, one deadline."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.core.oauth_types import Tokens
from smtpsetup.net.dial import Deadline
from smtpsetup.net.https import HttpsError
from smtpsetup.net.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.net.https import Web

_ANSWER_SECONDS = 20.0  # for every request except a renewal
_TOO_MANY = 429
_SERVER_ERROR = 500
_LONGEST_LIFETIME = 10 * 86_400.0  # seconds; an access token is renewed after that in any case
_DIGITS = 20
_USUAL_LIFETIME = 3600.0  # seconds, if the answer names none
_SECRET_LENGTH = 6  # characters; a shorter text may occur in other words
# fields of a request that are masked in errors
_SECRETS = {
    "refresh_token",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "client_assertion",
    "assertion",
}
TEMPORARY = {"temporarily_unavailable", "server_error"}


class OAuthError(Exception):
    """An endpoint refused, or could not be reached.

    `error` is the standard's code (RFC 6749 section 5.2), `""` if there was none. `description` is the provider's text,
    or this program's if there is no code; `words` is both, masked, for people. `is_temporary` says that the same may
    work later, `retry_after` after how many seconds. `may_be_clock` says that this machine's clock could be wrong,
    `is_own` that the code is this program's and not the provider's.
    """

    def __init__(  # noqa: PLR0913  independent facts, most of them optional keywords
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
        """Mask secrets of the request in `words`; `description` stays as it was received."""
        for secret in secrets:
            if len(secret) >= _SECRET_LENGTH:
                self._masks.add(secret)

    @property
    def words(self) -> str:
        """The error as text for people."""
        text = ": ".join(part for part in (self.error, self.description) if part)
        return self._masks.applied(text) if self.error else text


def client_fields(client: TokenClient) -> dict[str, str]:
    """The form fields that identify a client (RFC 6749 section 2.3.1)."""
    fields = {"client_id": client.client_id}
    if client.client_secret:
        fields["client_secret"] = client.client_secret
    return fields


def request_tokens(web: Web, client: TokenClient, grant: Mapping[str, str]) -> Tokens:
    """Request the tokens for a grant (RFC 6749 section 4) at the client's token endpoint. Raises OAuthError."""
    document = post(web, client.token_endpoint, {**grant, **client_fields(client)})
    return tokens_in(document, time.time(), client.scopes)


def post(web: Web, endpoint: str, fields: Mapping[str, str], seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
    """Post a form. Returns the JSON object of the answer. Raises OAuthError, with secret fields masked."""
    try:
        body = urlencode(fields).encode("ascii")
    except UnicodeError as error:  # a lone surrogate, which JSON can hold
        raise OAuthError("", _("the provider gave something that is no text")) from error
    try:
        return _exchanged(web, endpoint, seconds, body, "application/x-www-form-urlencoded")
    except OAuthError as error:
        error.hide(fields[name] for name in _SECRETS & fields.keys())
        raise


def post_json(web: Web, endpoint: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Post a JSON document (RFC 7591 section 3.1). Returns the JSON object of the answer. Raises OAuthError."""
    return _exchanged(web, endpoint, _ANSWER_SECONDS, json.dumps(document).encode(), "application/json")


def get(web: Web, url: str) -> dict[str, Any]:
    """The JSON object at a URL. Raises OAuthError."""
    return _exchanged(web, url, _ANSWER_SECONDS)


def parsed(url: str) -> SplitResult:
    """The parts of a URL. Raises OAuthError if it is malformed."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  parsed only on access
    except ValueError as error:
        raise OAuthError(
            "", _("{url} is no address that a token may be asked from").format(url=plain_text(url)[:200])
        ) from error
    return parts


def _exchanged(web: Web, url: str, seconds: float, body: bytes | None = None, content_type: str = "") -> dict[str, Any]:
    """GET, or with a body POST, a URL. Returns the JSON object of the answer. Raises OAuthError."""
    parts = parsed(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise OAuthError("", _("{url} is no address that a token may be asked from").format(url=plain_text(url)))
    headers = {"Accept": "application/json"}
    if content_type:
        headers["Content-Type"] = content_type
    try:
        answer = web.exchange("GET" if body is None else "POST", parts, Deadline(seconds), body, headers)
    except HttpsError as error:
        raise OAuthError(
            "", f"{parts.hostname}: {error.detail}", is_temporary=True, may_be_clock=error.may_be_clock
        ) from error
    document = _object(answer.body)
    is_temporary = answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR
    if 200 <= answer.status < 300 and document is not None and not document.get("error"):  # noqa: PLR2004  RFC 9110 section 15.3
        return document
    code = _text(document, "error")[:100]
    description = _text(document, "error_description")[:1000]
    if not code:
        description = _("HTTP status {status}").format(status=answer.status)
    pause = float(answer.retry_after) if answer.retry_after.isascii() and answer.retry_after.isdigit() else 0.0
    raise OAuthError(code, description, is_temporary=is_temporary or code in TEMPORARY, retry_after=pause)


def _text(document: Mapping[str, Any] | None, key: str) -> str:
    value = document.get(key) if document else None
    return plain_text(value) if isinstance(value, str) else ""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def refresh_token_in(document: Mapping[str, Any]) -> str:
    """The refresh token of an answer; `""` if it has none or an invalid one (RFC 6749 appendix A.17)."""
    token = document.get("refresh_token")
    return token if isinstance(token, str) and all(" " <= char <= "~" for char in token) else ""


def tokens_in(document: Mapping[str, Any], now: float, scopes: tuple[str, ...]) -> Tokens:
    """The tokens of an answer that was received at `now`. Raises OAuthError if they cannot be used."""
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
    """Whether all scopes were granted, except `offline_access` and the like, which providers do not always list."""
    about_mail = [scope for scope in scopes if scope not in ("offline_access", "openid", "profile", "email")]
    lowered = {scope.lower() for scope in granted}
    return all(scope.lower() in lowered for scope in about_mail)


def _lifetime(seconds: object) -> float:
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) < _DIGITS:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:  # NaN is not
        return _USUAL_LIFETIME
    return _LONGEST_LIFETIME if seconds > _LONGEST_LIFETIME else float(seconds)

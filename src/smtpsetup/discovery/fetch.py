"""Fetching a small document over verified HTTPS, within a deadline that holds whatever the server does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from smtpsetup.address.hosts import InvalidHostError, checked_host, is_loopback
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.discovery.candidates import QueryStatus
from smtpsetup.discovery.suffixes import same_owner
from smtpsetup.net.https import PORT, HttpsError, HttpsTrouble, Web

if TYPE_CHECKING:
    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.https import Response
    from smtpsetup.net.tls import TlsPolicy

_REDIRECTS = 3
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_OK = 200
_GONE = (404, 410)
_SHOWN = 200  # characters of a URL from outside


@dataclass(frozen=True, slots=True)
class Document:
    """A fetched document. `url` is its address after redirects; `is_foreign`: one led to another owner's host."""

    url: str
    body: bytes
    is_foreign: bool


class FetchError(Exception):
    """Nothing was fetched. `status` is the HTTP status, 0 without a response.

    `outcome` tells a missing document (ABSENT) from a failure or a URL that must not be followed. `proxy_failed` says
    that this machine's proxy is the cause.
    """

    def __init__(self, outcome: QueryStatus, detail: str, status: int = 0, *, proxy_failed: bool = False) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.status = status
        self.proxy_failed = proxy_failed


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How documents are fetched. `look_up` is None for the system's resolver."""

    policy: TlsPolicy
    look_up: LookUp | None

    def get(self, url: str, deadline: Deadline) -> Document:
        """The document at an HTTPS address, at most three redirects away. Raises FetchError."""
        owner = str(urlsplit(url).hostname)
        is_foreign = False
        for hop in range(_REDIRECTS + 1):
            parts = _checked(url, is_redirect=hop > 0)
            url = parts.geturl()
            host = str(parts.hostname)
            is_foreign = is_foreign or (host != owner and not same_owner(host, owner))
            answer = self._request(parts, deadline)
            if answer.status in _REDIRECT_STATUSES and answer.location:
                url = _joined(url, answer.location)
                continue
            if answer.status == _OK:
                return Document(url, answer.body, is_foreign)
            outcome = QueryStatus.ABSENT if answer.status in _GONE else QueryStatus.FAILED
            raise FetchError(outcome, _("HTTP status {status}").format(status=answer.status), answer.status)
        raise FetchError(QueryStatus.REFUSED, _("more than {n} redirects").format(n=_REDIRECTS))

    def _request(self, parts: SplitResult, deadline: Deadline) -> Response:
        try:
            return Web(self.policy, self.look_up).exchange("GET", parts, deadline)
        except HttpsError as error:
            raise FetchError(_OUTCOMES[error.trouble], error.detail, proxy_failed=error.proxy_failed) from error


_OUTCOMES = {
    HttpsTrouble.ABSENT: QueryStatus.ABSENT,
    HttpsTrouble.TIMEOUT: QueryStatus.TIMEOUT,
    HttpsTrouble.FAILED: QueryStatus.FAILED,
    HttpsTrouble.TOO_LARGE: QueryStatus.REFUSED,
}


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise _refused(_("a redirect leads to {url}, which is no web address"), location) from error


def _checked(url: str, *, is_redirect: bool) -> SplitResult:
    """The parts of a URL, without the fragment, if it is HTTPS to a host name on port 443 without a login.

    Raises FetchError.
    """
    try:
        parts = urlsplit(url)._replace(fragment="")
        port = parts.port
    except ValueError as error:
        raise _refused(_("a redirect leads to {url}, which is no web address"), url) from error
    if parts.scheme != "https":
        raise _refused(_("a redirect leads to {url}, which is not HTTPS"), url)
    is_clean = all("!" <= char <= "~" for char in url)
    if (
        parts.username is not None
        or port not in (None, PORT)
        or not _is_public_name(parts.hostname or "")
        or not is_clean
    ):
        raise _refused(
            _("a redirect leads to {url}, which is not followed") if is_redirect else _("{url} is not asked"), url
        )
    return parts


def _refused(text: str, url: str) -> FetchError:
    return FetchError(QueryStatus.REFUSED, text.format(url=plain_text(url[:_SHOWN])))


def _is_public_name(host: str) -> bool:
    try:
        return (
            "." in host
            and checked_host(host) == host
            and not is_loopback(host)
            and not host.rpartition(".")[2].isdigit()
        )
    except InvalidHostError:
        return False

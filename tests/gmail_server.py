"""A fake of the sending part of the Gmail API: simple and resumable uploads, quotas, and Google's errors.

Pages named in comments are of developers.google.com/workspace/gmail/api.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests import mail_headers
from tests.api_http import Answer, Incoming, as_json
from tests.api_servers import ApiServer, Grant, RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "info@example.test"
SCOPE = "https://www.googleapis.com/auth/gmail.send"
SCOPES = {  # reference/rest/v1/users.messages/send, "Authorization scopes"
    SCOPE,
    "https://mail.google.com/",
    "https://www.googleapis.com/auth/gmail.modify",
    "https://www.googleapis.com/auth/gmail.compose",
    "https://www.googleapis.com/auth/gmail.addons.current.action.compose",
}
LIMIT = 36_700_160  # mediaUpload.maxSize of gmail.users.messages.send in the discovery document
CHUNK = 262_144  # guides/uploads, "multiples of 256 KB"
SEND_UNITS = 100  # reference/quota
RAW_REQUIRED = "'raw' RFC822 payload message string or uploading message via /upload/* URL required"
JSON = {"Content-Type": "application/json; charset=UTF-8"}
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
NOT_ENABLED = (
    "Gmail API has not been used in project 123456789012 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/gmail.googleapis.com/overview?project=123456789012 then retry. If "
    "you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
)


@dataclass
class Upload:
    """A session of a resumable upload."""

    grant: Grant
    size: int | None
    received: bytearray = field(default_factory=bytearray)
    final: Answer | None = None

    def progress(self) -> Answer:
        """308, with the range that was received."""
        held = {"Range": f"bytes=0-{len(self.received) - 1}"} if self.received else {}
        return Answer(308, headers=held)


class GmailServer(ApiServer):
    """The fake; `endpoint` is what stands for https://gmail.googleapis.com.

    A user has `quota_units` in `quota_seconds`; simple uploads are taken up to `simple_limit` bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = self.origin

    def reset(self) -> None:
        """Forget every token, rule, upload and record, and return to the documented limits."""
        super().reset()
        self.uploads: dict[str, Upload] = {}
        self.quota_units, self.quota_seconds = 250, 1.0  # reference/quota; editions of 2026: 6,000 units in 60 s
        self.simple_limit = 5_000_000  # guides/uploads: "for example, 5 MB or less"
        self._spent: list[tuple[float, str]] = []

    # tokens and errors

    def allow(
        self, token: str, user: str = USER, scopes: tuple[str, ...] = (SCOPE,), *, aliases: tuple[str, ...] = ()
    ) -> None:
        """Accept a token of a user, who has these addresses in "Send mail as"."""
        self.grants[token] = Grant(user, scopes, mailboxes=aliases)

    def expire_uploads(self) -> None:
        """Forget every session of a resumable upload, as happens after a week."""
        self.uploads.clear()

    def error_answer(self, code: str, message: str, status: int) -> Answer:
        # guides/handle-errors; `code` is the reason
        domain = "usageLimits" if code.endswith("LimitExceeded") or code == "accessNotConfigured" else "global"
        reason = {"message": message, "domain": domain, "reason": code}
        name = {"failedPrecondition": "FAILED_PRECONDITION"}.get(code) or STATUSES.get(status, "RESOURCE_EXHAUSTED")
        return _google(status, message, reason, name)

    def api_disabled(self, count: int = 1, **rule: Any) -> None:
        """Answer that the project has not enabled the Gmail API."""
        reason = {"message": NOT_ENABLED, "domain": "usageLimits", "reason": "accessNotConfigured"}
        info = {
            "reason": "SERVICE_DISABLED",
            "domain": "googleapis.com",
            "metadata": {"service": "gmail.googleapis.com"},
        }
        answer = _google(403, NOT_ENABLED, reason, "PERMISSION_DENIED", info)
        self.rule(count, status=403, headers=answer.headers, body=answer.body, **rule)

    def rate_limited(self, count: int = 1, *, is_user: bool = True, status: int = 403, **rule: Any) -> None:
        """Answer that the user, or the project, sends too fast; with status 429 as other editions of the page say."""
        code, message = ("userRateLimitExceeded", "User") if is_user else ("rateLimitExceeded", "")
        self.error(code, f"{message} Rate Limit Exceeded".strip(), status, count, **rule)

    def daily_limit(self, count: int = 1, **rule: Any) -> None:
        """Answer that the project's daily limit is used up."""
        self.error("dailyLimitExceeded", "Daily Limit Exceeded", 403, count, **rule)

    def sending_limit(self, until: str = "2026-11-28T10:00:00.000Z", count: int = 1, **rule: Any) -> None:
        """Answer that the user sent as much mail as Gmail allows; the time is in the message alone."""
        message = f"User-rate limit exceeded.  Retry after {until} (Mail sending)"
        reason = {"message": message, "domain": "global", "reason": "rateLimitExceeded"}
        answer = _google(429, message, reason, "RESOURCE_EXHAUSTED")
        self.rule(count, status=429, headers=answer.headers, body=answer.body, **rule)

    def throttled(self, retry_after: str = "1", count: int = 1, **rule: Any) -> None:
        """Answer 429 with Retry-After."""
        answer = self.error_answer("rateLimitExceeded", "Too many concurrent requests for user", 429)
        headers = {**answer.headers, "Retry-After": retry_after}
        self.rule(count, status=429, headers=headers, body=answer.body, **rule)

    def domain_policy(self, count: int = 1, **rule: Any) -> None:
        """Answer that the administrator does not allow the app."""
        self.error("domainPolicy", "The domain administrators have disabled Gmail apps.", 403, count, **rule)

    def mail_not_enabled(self, count: int = 1, **rule: Any) -> None:
        """Answer that the user has no Gmail."""
        self.error("failedPrecondition", "Mail service not enabled", 400, count, **rule)

    # requests

    def respond(self, request: Incoming) -> Answer:
        upload = self.uploads.get(request.query.get("upload_id", ""))
        if request.method == "PUT" and "upload_id" in request.query:
            if upload is None:  # guides/uploads: start again after 404
                raise self.refused("notFound", "Upload session not found.", 404)
            return self._put(request, upload)
        path = re.fullmatch(r"(/upload)?/gmail/v1/users/([^/]+)/messages/send", request.path)
        if not path or request.method != "POST":
            raise self.refused("notFound", "Not Found", 404)
        grant = self._authorized(request)
        if path[2] not in ("me", grant.user):
            raise self.refused("forbidden", f"Delegation denied for {grant.user}", 403)
        self._spend(grant.user)
        if not path[1]:
            return self._send_json(request, grant)
        if request.query.get("uploadType") == "resumable":
            return self._start(request, grant)
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if request.query.get("uploadType") != "media" or kind != "message/rfc822":
            problem = f"Media type '{kind}' is not supported. Valid media types: [message/*]"
            raise self.refused("badContent", problem, 400)
        if len(request.body) > self.simple_limit:
            raise self.refused("uploadTooLarge", "Request is too large.", 413)
        return self._send(grant, request.body)

    def _authorized(self, request: Incoming) -> Grant:
        grant = self.grant(request.token)
        challenge = 'Bearer realm="https://accounts.google.com/"'
        if grant is None:
            message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            reason = {"message": "Invalid Credentials", "domain": "global", "reason": "authError"}
            place = {"location": "Authorization", "locationType": "header"}
            answer = _google(401, message, {**reason, **place}, "UNAUTHENTICATED")
            headers = {**answer.headers, "WWW-Authenticate": f'{challenge}, error="invalid_token"'}
            raise RefusalError(Answer(401, answer.body, headers))
        if not SCOPES & set(grant.scopes):
            message = "Request had insufficient authentication scopes."
            reason = {"message": "Insufficient Permission", "domain": "global", "reason": "insufficientPermissions"}
            info = {"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "domain": "googleapis.com"}
            answer = _google(403, message, reason, "PERMISSION_DENIED", info)
            wanted = " ".join(sorted(SCOPES))
            scope = f'{challenge}, error="insufficient_scope", scope="{wanted}"'
            raise RefusalError(Answer(403, answer.body, {**answer.headers, "WWW-Authenticate": scope}))
        return grant

    def _spend(self, user: str) -> None:
        now = time.monotonic()
        with self.lock:
            self._spent = [entry for entry in self._spent if entry[0] > now - self.quota_seconds]
            used = SEND_UNITS * sum(entry[1] == user for entry in self._spent)
            if used + SEND_UNITS <= self.quota_units:
                self._spent.append((now, user))
                return
        self.violations.append(f"more than {self.quota_units} units in {self.quota_seconds} s for {user}")
        raise self.refused("userRateLimitExceeded", "User Rate Limit Exceeded", 403)

    def _send_json(self, request: Incoming, grant: Grant) -> Answer:
        try:
            raw = json.loads(request.body or b"{}").get("raw") or ""
            message = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        except (ValueError, AttributeError, TypeError):
            raise self.refused("badRequest", "Invalid JSON payload received.", 400) from None
        if not message:
            raise self.refused("invalidArgument", RAW_REQUIRED, 400)
        return self._send(grant, message)

    # resumable uploads: guides/uploads

    def _start(self, request: Incoming, grant: Grant) -> Answer:
        size = request.headers.get("x-upload-content-length")
        if request.headers.get("x-upload-content-type") != "message/rfc822":
            raise self.refused("badContent", "X-Upload-Content-Type is not message/rfc822.", 400)
        if size and int(size) > LIMIT:
            raise self.refused("uploadTooLarge", "Request is too large.", 413)
        identity = secrets.token_urlsafe(24)
        self.uploads[identity] = Upload(grant, int(size) if size else None)
        place = f"{self.endpoint}{request.path}?uploadType=resumable&upload_id={identity}"
        return Answer(200, headers={"Location": place})

    def _put(self, request: Incoming, upload: Upload) -> Answer:
        first, total = self._range(request, upload)
        if upload.final:
            return upload.final
        if first is None:  # a question for the status
            return upload.progress()
        if first != len(upload.received):
            self.violations.append(f"a chunk from byte {first}, expected was {len(upload.received)}")
            raise self.refused(
                "badContent", f"Invalid request. The chunk does not start at {len(upload.received)}.", 400
            )
        is_last = total is not None and first + len(request.body) >= total
        kept = request.body if is_last else request.body[: len(request.body) // CHUNK * CHUNK]
        if len(kept) < len(request.body):
            self.violations.append(f"a chunk of {len(request.body)} bytes, which is no multiple of {CHUNK}")
            if not kept:
                raise self.refused("badContent", f"Invalid request. A chunk has at least {CHUNK} bytes.", 400)
        upload.received += kept
        if len(upload.received) > LIMIT:
            raise self.refused("uploadTooLarge", "Request is too large.", 413)
        if not is_last:
            return upload.progress()
        upload.final = self._send(upload.grant, bytes(upload.received))
        return upload.final

    def _range(self, request: Incoming, upload: Upload) -> tuple[int | None, int | None]:
        """The first byte of a chunk and the size of everything, as far as they are given."""
        header = request.headers.get("content-range")
        if header is None:
            return 0, len(request.body)
        asked = re.fullmatch(r"bytes (?:\*|(\d+)-(\d+))/(\d+|\*)", header)
        total = int(asked[3]) if asked and asked[3] != "*" else upload.size
        fits = asked and (asked[1] is None or int(asked[2]) - int(asked[1]) + 1 == len(request.body))
        is_total = upload.size in (None, total)
        if not asked or not fits or not is_total or int(asked[2] or 0) >= (total or LIMIT + CHUNK):
            raise self.refused("badContent", "Failed to parse Content-Range header.", 400)
        return (None if asked[1] is None else int(asked[1])), total

    def keep_part(self, request: Incoming) -> None:
        """Keep what came of a chunk, up to a multiple of 256 KiB, so that the client can go on from there."""
        upload = self.uploads.get(request.query.get("upload_id", ""))
        first = re.match(r"bytes (\d+)-|$", request.headers.get("content-range", ""))
        if upload and request.method == "PUT" and first and int(first[1] or 0) == len(upload.received):
            upload.received += request.body[: len(request.body) // CHUNK * CHUNK]

    # mails

    def _send(self, grant: Grant, message: bytes) -> Answer:
        if len(message) > LIMIT:
            raise self.refused("uploadTooLarge", "Request is too large.", 413)
        recipients = mail_headers.recipients(message)
        if not recipients:
            raise self.refused("invalidArgument", "Recipient address required", 400)
        sender = next(iter(mail_headers.addresses(message, "From")), "")
        if sender.lower() not in {address.lower() for address in (grant.user, *grant.mailboxes)}:
            message, sender = mail_headers.with_from(message, grant.user), grant.user
        self.deliver(grant.user, sender, recipients, message)
        identity = secrets.token_hex(8)
        return Answer(200, as_json({"id": identity, "threadId": identity, "labelIds": ["SENT"]}), JSON)


def _google(code: int, message: str, reason: dict[str, str], status: str, info: dict[str, Any] | None = None) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message, "errors": [reason], "status": status}
    if info:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
    return Answer(code, as_json({"error": error}), JSON)


@pytest.fixture
def gmail_server() -> Iterator[GmailServer]:
    """A fake of the Gmail API without tokens."""
    with GmailServer() as server:
        yield server

"""A fake of the mail part of Microsoft Graph: sendMail with MIME, drafts, upload sessions and limits.

Pages named in comments are of github.com/microsoftgraph/microsoft-graph-docs-contrib.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import math
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import mail_headers
from tests.api_http import Answer, Incoming, Port, as_json
from tests.api_servers import ApiServer, Grant
from tests.graph_uploads import JSON, Attachment, Draft, UploadSession

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "info@example.test"
SEND, WRITE = "Mail.Send", "Mail.ReadWrite"
REQUEST_LIMIT = 4 * 1024 * 1024  # 413 above: user-post-messages.md, learn.microsoft.com/answers/questions/1824204
TRAP = 2_240_000  # above, MIME was answered 200 and not sent: microsoft-graph-docs#13979
SMALL_ATTACHMENT = 3_000_000  # "under 3 MB" by POST, from there by session: attachment-createuploadsession.md
LARGE_ATTACHMENT = 150_000_000
AUTHORIZE = "https://login.microsoftonline.com/common/oauth2/authorize"
ONLY_MIME = "this fake takes MIME only"


class GraphServer(ApiServer):
    """The fake; `endpoint` is what stands for https://graph.microsoft.com/v1.0.

    `drafts` has the drafts that were neither sent nor deleted. `limit_at_once`, and `limit_bytes` uploaded in
    `limit_seconds`, are for each mailbox. `message_limit` is that of a draft with its attachments. Mail from a key
    of `aliases` is sent from its value, the primary address, unless `send_from_alias` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uploads = Port(self, "127.0.0.1")  # as upload URLs are on outlook.office.com
        self.ports.append(self.uploads)
        self.endpoint = f"{self.origin}/v1.0"

    def reset(self) -> None:
        """Forget every token, rule, draft and record, and return to the documented limits."""
        super().reset()
        self.mailboxes = {USER}
        self.aliases: dict[str, str] = {}
        self.send_from_alias = False
        self.drafts: dict[str, Draft] = {}
        self.sessions: dict[str, UploadSession] = {}
        self.limit_at_once = 4  # concepts/throttling-limits.md, "Outlook service limits"
        self.limit_bytes, self.limit_seconds = 15_000_000, 30.0  # newer editions of the page: 150 MB in 5 minutes
        self.message_limit = 35_000_000  # attachment-createuploadsession.md, "Tip"
        self._uploaded: list[tuple[float, str, int]] = []

    # tokens and errors

    def allow(
        self,
        token: str,
        user: str = USER,
        scopes: tuple[str, ...] = (SEND,),
        *,
        app: bool = False,
        mailboxes: tuple[str, ...] = (),
    ) -> None:
        """Accept a token: of an app, for these mailboxes or for all; or of a user, who has Send As for these mailboxes.

        A user's token is good for them only with the scope Mail.Send.Shared.
        """
        self.grants[token] = Grant(user, scopes, app, mailboxes)
        self.mailboxes |= {user, *mailboxes}

    def error_answer(self, code: str, message: str, status: int) -> Answer:
        # concepts/errors.md
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        request = secrets.token_hex(16)
        inner = {"date": date, "request-id": request, "client-request-id": request}
        error = {"code": code, "message": message, "innerError": inner}
        return Answer(status, as_json({"error": error}), {**JSON, "request-id": request})

    def throttled(self, retry_after: str = "1", count: int = 1, **rule: Any) -> None:
        """Answer that the app sends too much."""
        answer = self._too_much("MailboxConcurrency", retry_after)
        self.rule(count, status=429, headers=answer.headers, body=answer.body, **rule)

    def claims_challenge(self, count: int = 1, *, claims: dict[str, Any] | None = None, **rule: Any) -> None:
        """Answer as Conditional Access does (learn.microsoft.com/entra/identity-platform/claims-challenge)."""
        wanted = claims or {"access_token": {"nbf": {"essential": True, "value": str(int(time.time()))}}}
        encoded = base64.b64encode(as_json(wanted)).decode()
        message = "Continuous access evaluation resulted in challenge with result: InteractionRequired"
        answer = self.error_answer("InvalidAuthenticationToken", message, 401)
        header = f'Bearer realm="", authorization_uri="{AUTHORIZE}", error="insufficient_claims", claims="{encoded}"'
        self.rule(count, status=401, headers={**answer.headers, "WWW-Authenticate": header}, body=answer.body, **rule)

    def _too_much(self, limit: str, retry_after: str) -> Answer:
        answer = self.error_answer("ApplicationThrottled", f"Application is over its {limit} limit.", 429)
        return Answer(429, answer.body, {**answer.headers, "Retry-After": retry_after})

    def _unauthenticated(self, message: str) -> Answer:
        answer = self.error_answer("InvalidAuthenticationToken", message, 401)
        return Answer(
            401,
            answer.body,
            {**answer.headers, "WWW-Authenticate": f'Bearer realm="", authorization_uri="{AUTHORIZE}"'},
        )

    # requests

    def mailbox_of(self, request: Incoming) -> str:
        session = self.sessions.get(request.query.get("authtoken", ""))
        if session and request.origin == self.uploads.origin:
            return session.draft.mailbox
        parts = request.path.strip("/").split("/")
        if parts[1:2] == ["users"] and len(parts) > 2:
            return parts[2].lower()
        return super().mailbox_of(request)

    def respond(self, request: Incoming) -> Answer:
        over = self._over_limits(request)
        if over:
            return over
        if request.origin == self.uploads.origin:
            return self._upload(request)
        grant = self.grant(request.token)
        if grant is None:
            expired = "Lifetime validation failed, the token is expired."
            return self._unauthenticated(expired if request.token else "Access token is empty.")
        parts = request.path.strip("/").split("/")
        if len(parts) < 3 or parts[0] != "v1.0" or parts[1] not in ("me", "users"):
            raise self.refused("ResourceNotFound", "Resource could not be discovered.", 404)
        if parts[1] == "me" and grant.is_app:
            raise self.refused("BadRequest", "/me request is only valid with delegated authentication flow.", 400)
        mailbox, action = (grant.user, parts[2:]) if parts[1] == "me" else (parts[2], parts[3:])
        wanted = SEND if action[:1] == ["sendMail"] or action[2:] == ["send"] else WRITE
        self._permit(grant, mailbox, wanted)
        if len(request.body) > REQUEST_LIMIT:
            return Answer(413)  # from a machine in front of Graph: no JSON
        return self._act(request, grant, mailbox, action)

    def _permit(self, grant: Grant, mailbox: str, scope: str) -> None:
        # the permissions tables of each page; for the mailbox of another user the form with .Shared:
        # concepts/outlook-send-mail-from-other-user.md
        denied = self.refused("ErrorAccessDenied", "Access is denied. Check credentials and try again.", 403)
        is_own = mailbox.lower() == grant.user.lower()
        if not {scope, f"{scope}.Shared"} & set(grant.scopes):
            raise denied
        if mailbox.lower() not in {known.lower() for known in self.mailboxes}:
            message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
            raise self.refused("MailboxNotEnabledForRESTAPI", message, 404)
        if grant.is_app:
            if grant.mailboxes and mailbox not in grant.mailboxes:
                raise denied
        elif not is_own and not (mailbox in grant.mailboxes and f"{scope}.Shared" in grant.scopes):
            raise denied

    def _over_limits(self, request: Incoming) -> Answer | None:
        mailbox = self.mailbox_of(request)
        if not mailbox:
            return None
        if request.at_once > self.limit_at_once:
            self.violations.append(f"{request.at_once} requests at once for {mailbox}")
            return self._too_much("MailboxConcurrency", "1")
        now = time.monotonic()
        with self.lock:
            self._uploaded = [entry for entry in self._uploaded if entry[0] > now - self.limit_seconds]
            used = [entry for entry in self._uploaded if entry[1] == mailbox]
            if sum(size for _at, _mailbox, size in used) + len(request.body) <= self.limit_bytes:
                self._uploaded.append((now, mailbox, len(request.body)))
                return None
        self.violations.append(f"more than {self.limit_bytes} bytes in {self.limit_seconds} s for {mailbox}")
        wait = used[0][0] + self.limit_seconds - now if used else self.limit_seconds
        return self._too_much("IncomingBytes", str(max(1, math.ceil(wait))))

    def _act(self, request: Incoming, grant: Grant, mailbox: str, action: list[str]) -> Answer:
        match (request.method, *action):
            case ("POST", "sendMail"):
                message = self._mime(request)
                if len(message) > TRAP:
                    return Answer(200)
                self._send(grant, mailbox, message)
                return Answer(202)  # user-sendmail.md
            case ("POST", "messages"):
                draft = Draft(f"AAMk{secrets.token_urlsafe(24)}=", mailbox, self._mime(request))
                self.drafts[draft.identity] = draft
                return Answer(201, as_json({"id": draft.identity, "isDraft": True}), JSON)  # user-post-messages.md
            case (method, "messages", identity, *rest):
                draft = self.drafts.get(identity) or _MISSING
                if draft.mailbox != mailbox:
                    raise self.refused("ErrorItemNotFound", "The specified object was not found in the store.", 404)
                return self._draft(request, grant, draft, [method, *rest])
            case _:
                raise self.refused("BadRequest", f"Resource not found for the segment '{action[-1]}'.", 400)

    def _draft(self, request: Incoming, grant: Grant, draft: Draft, action: list[str]) -> Answer:
        match action:
            case ["DELETE"]:  # message-delete.md
                del self.drafts[draft.identity]
                return Answer(204)
            case ["POST", "send"]:  # message-send.md
                message = draft.assembled()
                if len(message) > self.message_limit:
                    raise self.refused(
                        "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.", 413
                    )
                self._send(grant, draft.mailbox, message)
                del self.drafts[draft.identity]
                return Answer(202)
            case ["POST", "attachments"]:
                return self._attach(draft, self._json(request))
            case ["POST", "attachments", "createUploadSession"]:
                return self._session(draft, self._json(request).get("AttachmentItem") or {})
            case _:
                raise self.refused("BadRequest", "Resource not found.", 400)

    # mails

    def _mime(self, request: Incoming) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            self.violations.append(ONLY_MIME)
            raise self.refused("RequestBodyRead", ONLY_MIME, 400)
        if kind != "text/plain":
            raise self.refused("UnsupportedMediaType", f"Unsupported media type: {kind}", 415)  # concepts/errors.md
        try:
            message = base64.b64decode(request.body.translate(None, b"\r\n"), validate=True)
        except binascii.Error:
            message = b""
        if not message:  # user-sendmail.md, example 4
            problem = "Invalid base64 string for MIME content."
            raise self.refused("ErrorMimeContentInvalidBase64String", problem, 400)
        return message

    def _send(self, grant: Grant, mailbox: str, message: bytes) -> None:
        sender = next(iter(mail_headers.addresses(message, "From")), mailbox)
        primary = self.aliases.get(sender, sender)
        own = {mailbox.lower()} if grant.is_app else {mailbox.lower(), grant.user.lower()}
        # "applications that use user tokens use the Mail.Send.Shared permission": outlook-send-mail-from-other-user.md
        others = grant.mailboxes if grant.is_app or f"{SEND}.Shared" in grant.scopes else ()
        if primary.lower() not in own | {address.lower() for address in others}:
            raise self.refused(  # concepts/outlook-send-mail-from-other-user.md, example 2
                "ErrorSendAsDenied",
                "The user account which was used to submit this request does not have the right to send mail on behalf "
                "of the specified sending account. Cannot submit message.",
                403,
            )
        recipients = mail_headers.recipients(message)
        if not recipients:
            problem = "At least one recipient isn't valid., A message can't be sent because it contains no recipients."
            raise self.refused("ErrorInvalidRecipients", problem, 400)
        if primary != sender and not self.send_from_alias:
            message, sender = mail_headers.with_from(message, primary), primary
        self.deliver(mailbox, sender, recipients, message)

    # attachments

    def _json(self, request: Incoming) -> dict[str, Any]:
        try:
            value = json.loads(request.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self.refused("RequestBodyRead", "Unable to read JSON request payload.", 400)
        return value

    def _attach(self, draft: Draft, item: dict[str, Any]) -> Answer:
        # message-post-attachments.md
        if item.get("@odata.type") != "#microsoft.graph.fileAttachment" or not item.get("name"):
            raise self.refused("RequestBodyRead", "Not a fileAttachment with a name.", 400)
        content = base64.b64decode(item.get("contentBytes", ""))
        if len(content) >= SMALL_ATTACHMENT:
            raise self.refused("ErrorAttachmentSizeLimitExceeded", "The attachment is not under 3 MB.", 413)
        kind = item.get("contentType") or "application/octet-stream"
        draft.attachments.append(Attachment(item["name"], content, kind, item.get("contentId") or ""))
        return Answer(201, as_json({"id": f"AAMk{secrets.token_urlsafe(24)}", "size": len(content)}), JSON)

    def _session(self, draft: Draft, item: dict[str, Any]) -> Answer:
        # attachment-createuploadsession.md
        name, size = item.get("name"), item.get("size")
        if item.get("attachmentType") != "file" or not name or not isinstance(size, int):
            raise self.refused("ErrorInvalidArgument", "attachmentType, name and size are required.", 400)
        if size < SMALL_ATTACHMENT:  # concepts/outlook-large-attachments.md, "Errors"
            problem = "The attachment is smaller than 3 MB."
            raise self.refused("ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", problem, 400)
        if size > LARGE_ATTACHMENT:
            raise self.refused("ErrorAttachmentSizeLimitExceeded", "The attachment is larger than 150 MB.", 413)
        expires = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).strftime(
            "%Y-%m-%dT%H:%M:%S.0000000Z"
        )
        kind = item.get("contentType") or "application/octet-stream"
        session = UploadSession(draft, name, size, kind, item.get("contentId") or "", expires)
        self.sessions[session.token] = session
        url = f"{self.uploads.origin}{session.path}?authtoken={session.token}"
        answer = {"uploadUrl": url, "expirationDateTime": expires, "nextExpectedRanges": session.expected}
        return Answer(201, as_json(answer), JSON)

    def _upload(self, request: Incoming) -> Answer:
        # concepts/outlook-large-attachments.md
        if "authorization" in request.headers:  # "Do not specify an Authorization request header"
            self.violations.append(f"{request.method} of an upload URL with an Authorization header")
            return self._unauthenticated("The upload URL has its own token.")
        session = self.sessions.get(request.query.get("authtoken", ""))
        if session is None or request.path != session.path or session.draft.identity not in self.drafts:
            raise self.refused("uploadSessionNotFound", "Upload session not found.", 404)
        if request.method == "GET":
            return session.state()
        if request.method == "DELETE":
            del self.sessions[session.token]
            return Answer(204)
        if request.headers.get("content-type") != "application/octet-stream":  # "Required."
            self.violations.append("a range without the Content-Type application/octet-stream")
        problem = session.problem(request.headers.get("content-range", ""), request.body)
        if problem:
            raise self.refused(*problem)
        session.received += request.body
        if len(session.received) < session.size:
            return session.state()
        del self.sessions[session.token]
        return session.finished(self.uploads.origin)


_MISSING = Draft("", "", b"")


@pytest.fixture
def graph_server() -> Iterator[GraphServer]:
    """A fake of Microsoft Graph without tokens."""
    with GraphServer() as server:
        yield server

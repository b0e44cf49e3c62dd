"""Drafts of the fake Graph: their attachments, and the upload sessions of large ones."""

from __future__ import annotations

import email.policy
import re
import secrets
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage

from tests.api_http import Answer, as_json

RANGE_LIMIT = 4 * 1024 * 1024  # "up to 4 MB each time": attachment-createuploadsession.md
JSON = {"Content-Type": "application/json"}
_POLICY = email.policy.SMTP.clone(refold_source="none")


@dataclass(frozen=True)
class Attachment:
    """A file of a draft."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"
    content_id: str = ""


@dataclass
class Draft:
    """A message in the folder Drafts."""

    identity: str
    mailbox: str
    message: bytes
    attachments: list[Attachment] = field(default_factory=list)

    def assembled(self) -> bytes:
        """The message with its attachments; without any, exactly what came."""
        if not self.attachments:
            return self.message
        message = message_from_bytes(self.message, _class=EmailMessage, policy=_POLICY)
        for attachment in self.attachments:
            main, _slash, sub = attachment.content_type.partition("/")
            message.add_attachment(
                attachment.content,
                maintype=main,
                subtype=sub or "octet-stream",
                filename=attachment.name,
                disposition="inline" if attachment.content_id else "attachment",
                cid=f"<{attachment.content_id}>" if attachment.content_id else None,
            )
        return message.as_bytes()


@dataclass
class UploadSession:
    """A large attachment that arrives in ranges."""

    draft: Draft
    name: str
    size: int
    content_type: str
    content_id: str
    expires: str  # as in expirationDateTime
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    received: bytearray = field(default_factory=bytearray)

    @property
    def path(self) -> str:
        """The path of the upload URL, in the form that concepts/outlook-large-attachments.md shows."""
        message = f"/api/v2.0/Users('{self.draft.mailbox}')/Messages('{self.draft.identity}')"
        return f"{message}/AttachmentSessions('{self.token[:8]}=')"

    @property
    def expected(self) -> list[str]:
        """`nextExpectedRanges`: "0-" at first, the next byte later, as the documented examples have it."""
        return [str(len(self.received))] if self.received else ["0-"]

    def state(self) -> Answer:
        return Answer(200, as_json({"ExpirationDateTime": self.expires, "nextExpectedRanges": self.expected}), JSON)

    def problem(self, content_range: str, body: bytes) -> tuple[str, str, int] | None:
        """What is wrong with a range: code, message and status (codes: concepts/errors.md)."""
        asked = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range)
        if not asked:
            return "invalidRequest", "The Content-Range header is missing or malformed.", 400
        first, last, total = (int(number) for number in asked.groups())
        if total != self.size or last - first + 1 != len(body) or last >= total:
            return "fragmentLengthMismatch", "Declared size does not match the upload session or the body.", 400
        if len(body) > RANGE_LIMIT:
            return "maxFragmentLengthExceeded", "The range is larger than 4 MB.", 413
        if first < len(self.received):
            return "invalidRange", "Uploaded fragment overlaps with existing data.", 416
        if first > len(self.received):
            return "fragmentOutOfOrder", "Uploaded fragment is out of order.", 416
        return None

    def finished(self, origin: str) -> Answer:
        """Attach the file, whose every byte has arrived."""
        content = bytes(self.received)
        self.draft.attachments.append(Attachment(self.name, content, self.content_type, self.content_id))
        place = f"{origin}{self.path.partition('/AttachmentSessions')[0]}/Attachments('{secrets.token_urlsafe(12)}=')"
        return Answer(201, headers={"Location": place})

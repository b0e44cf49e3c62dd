"""A large mail by way of Microsoft Graph: a draft, its files one by one, then the draft is sent.

https://learn.microsoft.com/graph/outlook-large-attachments - it needs the permission Mail.ReadWrite. Exchange puts the
message together again, so that its parts are not those of the original, byte by byte.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from smtpsetup.address.hosts import InvalidHostError, checked_host, is_loopback
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.failure import Failure, Kind, TransportError, WireError
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.message.delivery import readable
from smtpsetup.message.detached import detached
from smtpsetup.net.dial import Deadline
from smtpsetup.net.http_connection import EMPTY, Body
from smtpsetup.sending.transports.api import LONGEST_WAIT, Call, seconds_for
from smtpsetup.sending.transports.api_answers import document_in, pause_in
from smtpsetup.sending.transports.graph import SIZE_LIMIT, encoded, in_base64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.message.delivery import Delivery
    from smtpsetup.message.detached import File
    from smtpsetup.message.message import Message
    from smtpsetup.net.http_connection import HttpConnection, Response
    from smtpsetup.sending.transports.graph import GraphSession

_CREATED, _FORBIDDEN = 201, 403
_TAKEN = (200, 201, 202)
_EXPIRED = (404, 410)  # an upload that is gone
_LEAST_UPLOAD = 3_000_000  # bytes of a file; a smaller one is added in one request, and refused as an upload
_RANGE = 3_932_160  # bytes of a file that are uploaded at once; 4 MB are allowed
_MOST_TRIES = 4  # for a range
_CONNECT_SECONDS = 60.0
_PORT = 443
_TEXT = {"Content-Type": "text/plain", "Accept": "application/json"}
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


def sent(session: GraphSession, delivery: Delivery, message: Message) -> Response:
    """Send a large message. Returns the answer that says that it is on its way. Raises TransportError.

    A draft that is not sent is deleted again, where that is possible.
    """
    parts = detached(message)
    if parts.message.size > SIZE_LIMIT:
        raise session.too_large(message.size)
    body = in_base64(parts.message)
    response = session.call(Call("POST", f"{session.mailbox}/messages", _TEXT, body, cost=body.size))
    if response.status == _FORBIDDEN:  # Mail.Send alone
        raise session.too_large(message.size)
    number = session.text_at(session.require(response, _CREATED), "id")
    draft = f"{session.mailbox}/messages/{quote(number, safe='')}"
    try:
        for file in parts.files:
            if file.size < _LEAST_UPLOAD:
                session.require(session.call(_attachment(draft, file)), _CREATED)
            else:
                _upload(session, draft, file)
        return session.require_sent(session.call(Call("POST", f"{draft}/send", decides=True), delivery))
    except Exception as error:
        if not (isinstance(error, TransportError) and error.failure.is_unknown):
            with suppress(TransportError, SmtpsetupError):  # the first error is what counts
                session.call(Call("DELETE", draft))
        raise


def _facts(file: File) -> dict[str, object]:
    inline = {"isInline": True, "contentId": file.content_id} if file.is_inline else {}
    return {"name": file.name, "contentType": file.media_type, **inline}


def _attachment(draft: str, file: File) -> Call:
    """The request that adds a file (https://learn.microsoft.com/graph/api/message-post-attachments)."""
    facts = {"@odata.type": "#microsoft.graph.fileAttachment", **_facts(file), "contentBytes": ""}
    before, end = json.dumps(facts).encode()[:-2], b'"}'

    def pieces() -> Iterator[bytes]:
        yield before
        yield from encoded(readable(file.content()))
        yield end

    size = len(before) + -(-file.size // 3) * 4 + len(end)
    return Call("POST", f"{draft}/attachments", _JSON, Body(size, pieces), cost=size)


def _upload(session: GraphSession, draft: str, file: File) -> None:
    """Upload a large file (https://learn.microsoft.com/graph/api/attachment-createuploadsession)."""
    item = {"AttachmentItem": {"attachmentType": "file", "size": file.size, **_facts(file)}}
    data = json.dumps(item).encode()
    call = Call("POST", f"{draft}/attachments/createUploadSession", _JSON, Body(len(data), lambda: (data,)))
    url = session.text_at(session.require(session.call(call), _CREATED), "uploadUrl")
    place = place_of(url, session.server)
    connection = session.unauthenticated(place.server, place.target)
    try:
        upload = _Upload(connection, place, file.size, _Source(file))
        for start in range(0, file.size, _RANGE):
            _put(session, upload, start, min(start + _RANGE, file.size))
    finally:
        connection.close()


class _Place(NamedTuple):
    """Where a file is uploaded to. The target lets anybody upload who knows it."""

    server: Server
    target: str


class _Upload(NamedTuple):
    """An upload that goes on."""

    connection: HttpConnection
    place: _Place
    size: int
    source: _Source


def place_of(url: str, server: Server) -> _Place:
    """The place of an upload: any host with a name, over TLS. Raises TransportError.

    The host changes, and it gets no token. An address is one of this machine only, where the API is on it, too.
    """
    try:
        parts = urlsplit(url)
        host, port = checked_host(parts.hostname or ""), parts.port or _PORT
    except (ValueError, InvalidHostError):
        parts, host, port = urlsplit(""), "", 0
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    is_good = parts.scheme == "https" and parts.username is None and re.fullmatch(r"/[!-~]*", target)
    # the name of no host on the internet ends in a number (RFC 3696 section 2)
    is_there = bool(re.search(r"\.[a-z][a-z0-9-]*$", host)) or (is_loopback(host) and is_loopback(server.host))
    if not (is_good and is_there):
        raise TransportError(Failure(Stage.DATA, Kind.PROTOCOL_ERROR, server, detail="uploadUrl"))
    return _Place(Server(host, port, Security.TLS), target)


class _Source:
    """The bytes of a file, range by range. After a broken connection they are read again from the start."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._chunks: Iterator[bytes] = iter(())
        self._rest = b""
        self._at = -1

    def pieces(self, start: int, size: int) -> Iterator[bytes]:
        """So many bytes from `start` on."""
        if start != self._at:
            self._chunks, self._rest, self._at = readable(self._file.content()), b"", 0
            for _skipped in self._taken(start):
                pass
        yield from self._taken(size)

    def _taken(self, left: int) -> Iterator[bytes]:
        while left > 0:
            piece = self._rest or next(self._chunks, b"")
            if not piece:
                return
            taken, self._rest = piece[:left], piece[left:]
            self._at += len(taken)
            left -= len(taken)
            yield taken


def _put(session: GraphSession, upload: _Upload, start: int, end: int) -> None:
    """Upload one range; after a broken connection, what of it has not arrived. Raises TransportError."""
    error: Exception | None = None
    response: Response | None = None
    pause = 0.0
    for attempt in range(_MOST_TRIES):
        session.wait(pause)
        pause = 0.0
        try:
            at = _arrived(_request(upload, "GET"), upload) if attempt else start
            if at == end:
                return
            if not start <= at < end:
                break
            with session.within_limits(end - at):
                response = _request(upload, "PUT", at, end)
            if response.status in _TAKEN:
                if _arrived(response, upload) == end:
                    return
                continue
        except (OSError, WireError, TransportError) as broken:
            error = broken
            upload.connection.close()
            continue
        if response.status in _EXPIRED:
            break
        if response.status < 500 and pause_in(response) is None:  # noqa: PLR2004  RFC 9110 section 15.6
            raise session.refused(response)
        pause = min(pause_in(response) or 1.0, LONGEST_WAIT)
    if response is not None and (response.status >= 500 or pause_in(response) is not None):  # noqa: PLR2004  as above
        raise session.refused(response)
    # the next attempt begins with another draft
    failure = Failure(Stage.DATA, Kind.CLOSED, session.server, detail="during the upload")
    raise TransportError(failure) from error


def _request(upload: _Upload, method: str, at: int = 0, end: int = 0) -> Response:
    """A request to the place of the upload, without a token. Raises OSError, WireError, TransportError."""
    if not upload.connection.is_usable:
        upload.connection.close()
        upload.connection.open(Deadline(_CONNECT_SECONDS))
    headers = {"Accept": "application/json"}
    body = EMPTY
    if method == "PUT":
        headers |= {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes {at}-{end - 1}/{upload.size}",
        }
        body = Body(end - at, lambda: upload.source.pieces(at, end - at))
    return upload.connection.request(method, upload.place.target, headers, body, Deadline(seconds_for(end - at)))


def _arrived(response: Response, upload: _Upload) -> int:
    """How many bytes have arrived, by the server's own words. Raises WireError where it does not say so.

    A file that is whole is confirmed by 201, or by an empty list of what is missing.
    """
    if response.status == _CREATED:
        return upload.size
    ranges = (document_in(response) or {}).get("nextExpectedRanges")
    if response.status not in _TAKEN or not isinstance(ranges, list):
        raise WireError(Kind.PROTOCOL_ERROR, f"{response.status}")
    match = re.match(r"\d{1,12}", str(ranges[0])) if ranges else None
    if ranges and not match:
        raise WireError(Kind.PROTOCOL_ERROR, "nextExpectedRanges")
    return int(match[0]) if match else upload.size

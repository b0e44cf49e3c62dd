"""The Gmail API: `users.messages.send`, which takes a message as it is.

https://developers.google.com/workspace/gmail/api/guides/uploads - up to 5 MB in one request, above that by an upload
that can be resumed, and that answers again where an answer was lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smtpsetup.core.errors import InterruptedAfterTheDotError, NoTokenError
from smtpsetup.core.failure import Failure, Kind, TransportError
from smtpsetup.core.model import Stage
from smtpsetup.message.delivery import note_refused, readable
from smtpsetup.message.header_recipients import addressed_by_header
from smtpsetup.net.http_connection import EMPTY, Body
from smtpsetup.sending.transports.api import INCOMPLETE, LONGEST_WAIT, ApiSession, ApiTransport, Call
from smtpsetup.sending.transports.api_answers import document_in, pause_in, reply_of
from smtpsetup.state.request_limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.message.delivery import Delivery
    from smtpsetup.message.message import Message
    from smtpsetup.net.http_connection import Response
    from smtpsetup.sending.conditions import Conditions

SIZE_LIMIT = 36_700_160
"""Bytes of a message (https://gmail.googleapis.com/$discovery/rest?version=v1)."""
_IN_ONE_REQUEST = 5_000_000  # bytes
# https://developers.google.com/workspace/gmail/api/reference/quota: 6,000 units a minute; here without bursts
_UNITS = 100  # that a mail counts for
_LIMITS = Limits(at_once=4, most=200, seconds=2.0)
_OK, _CREATED = 200, 201
_EXPIRED = (404, 410)  # an upload that is gone
_MOST_TRIES = 4
_UPLOAD = "/upload/gmail/v1/users/me/messages/send"
_EMPTY_JSON = Body(2, lambda: (b"{}",))


class GmailTransport(ApiTransport):
    """The account's mailbox by way of the Gmail API."""

    def session(self, account: Account, conditions: Conditions) -> GmailSession:
        """See `Transport.session`."""
        return GmailSession(account, conditions)


class GmailSession(ApiSession):
    """A session with an account's mailbox."""

    limits = _LIMITS

    def _send(self, delivery: Delivery) -> Response:
        message = addressed_by_header(delivery.message, delivery.envelope)
        if message.size > SIZE_LIMIT:
            raise self._too_large(message.size, SIZE_LIMIT)
        if message.size > _IN_ONE_REQUEST:
            return self._upload(delivery, message)
        body = Body(message.size, lambda: readable(message.chunks()))
        headers = {"Content-Type": "message/rfc822"}
        target = f"{self._base}{_UPLOAD}?uploadType=media"
        return self._sent(self._call(Call("POST", target, headers, body, cost=_UNITS, decides=True), delivery))

    def _taken(self, response: Response) -> Response:
        if response.status not in (_OK, _CREATED):
            raise self._refused(response)
        return response

    def _sent(self, response: Response) -> Response:
        """The answer that names the mail which the service has made. Raises TransportError.

        https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.messages#Message - without its `id`, a
        200 may be the page of a proxy in between: then it is unknown whether the mail was sent.
        """
        answer = document_in(self._taken(response)) or {}
        if not (isinstance(answer.get("id"), str) and answer["id"]):
            raise self._unknown(reply_of(response, self._masks))
        return response

    def _upload(self, delivery: Delivery, message: Message) -> Response:
        """Send a message by an upload. An answer that was lost is asked for again. Raises TransportError."""
        start = Call(
            "POST",
            f"{self._base}{_UPLOAD}?uploadType=resumable",
            {"X-Upload-Content-Type": "message/rfc822", "X-Upload-Content-Length": str(message.size)},
            cost=_UNITS,
        )
        target = self._session_target(self._taken(self._call(start)))
        lost: TransportError | None = None
        at = 0
        try:
            for attempt in range(_MOST_TRIES):
                try:
                    if attempt:
                        self.wait(float(attempt))
                        response = self._call(_status_call(target, message.size))
                        if response.status in (_OK, _CREATED):
                            return self._sent(response)
                        at = self._missing_from(response, message.size)
                        note_refused(delivery, reply_of(response, self._masks))
                        lost = None  # the service has not got the mail
                    return self._rest_taken(delivery, message, target, at)
                except TransportError as error:
                    lost = lost if lost and lost.failure.is_unknown else error
                    if _is_final(error.failure):
                        break
        except (KeyboardInterrupt, NoTokenError) as error:
            if lost is None or not lost.failure.is_unknown:
                raise
            raise (InterruptedAfterTheDotError if isinstance(error, KeyboardInterrupt) else lost) from error
        raise lost or self._interrupted("")

    def _rest_taken(self, delivery: Delivery, message: Message, target: str, at: int) -> Response:
        """Upload what has not arrived. Returns the answer that the mail was taken. Raises TransportError."""
        response = self._call(_rest_call(target, message, at), delivery)
        if response.status >= 500:  # noqa: PLR2004  RFC 9110 section 15.6
            raise self._unknown(reply_of(response, self._masks), pause_in(response) or 0.0)
        if response.status == INCOMPLETE or response.status in _EXPIRED:
            self._missing_from(response, message.size)
            raise self._interrupted(f"the upload is incomplete: {response.status}")
        return self._sent(response)

    def _missing_from(self, response: Response, size: int) -> int:
        """The first byte that has not arrived. Raises TransportError: unknown where all have, and no mail was made."""
        if response.status in _EXPIRED:
            raise self._interrupted("the upload has expired", response)
        if response.status != INCOMPLETE:
            raise self._refused(response)
        at = _arrived(response)
        if at == size:
            raise self._unknown()
        if at > size:
            raise self._interrupted("the range is none")
        return at

    def _interrupted(self, detail: str, response: Response | None = None) -> TransportError:
        """An upload that did not get to its end: the next attempt begins with another one."""
        reply = reply_of(response, self._masks) if response else None
        return TransportError(Failure(Stage.DATA, Kind.CLOSED, self._account.server, reply, detail))

    def _session_target(self, response: Response) -> str:
        """The target of an upload, on the same host: the token goes to no other. Raises TransportError."""
        location = response.headers.get("location", "")
        parts, own = urlsplit(location), urlsplit(self._account.endpoint)
        target = f"{parts.path}?{parts.query}"
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc) or not re.fullmatch(r"/[!-~]+", target):
            detail = "the upload is to go to another host"
            raise TransportError(Failure(Stage.DATA, Kind.PROTOCOL_ERROR, self._account.server, detail=detail))
        found = re.search(r"upload_id=([^&]+)", parts.query)
        self._masks.add(found[1] if found else target)  # lets anybody upload who knows it
        return target

    def _empty_call(self) -> Call:
        headers = {"Content-Type": "application/json"}
        return Call("POST", f"{self._base}/gmail/v1/users/me/messages/send", headers, _EMPTY_JSON)


def _is_final(failure: Failure) -> bool:
    """Whether another try is of no use: the request is refused, or the pause is longer than is waited here."""
    is_refused = failure.reply is not None and failure.reply.code < 500  # noqa: PLR2004  RFC 9110 section 15.6
    return is_refused or failure.retry_after > LONGEST_WAIT


def _rest_call(target: str, message: Message, at: int) -> Call:
    """The request that uploads a message from a byte on."""
    headers = {"Content-Type": "message/rfc822", "Content-Range": f"bytes {at}-{message.size - 1}/{message.size}"}
    body = Body(message.size - at, lambda: _from(readable(message.chunks()), at))
    return Call("PUT", target, headers, body, decides=True, is_resumed=True)


def _status_call(target: str, size: int) -> Call:
    """The request that asks how much of an upload has arrived, or for the answer to it."""
    return Call("PUT", target, {"Content-Range": f"bytes */{size}"}, EMPTY)


def _arrived(response: Response) -> int:
    """How many bytes have arrived."""
    match = re.fullmatch(r"bytes=0-(\d{1,12})", response.headers.get("range", ""))
    return int(match[1]) + 1 if match else 0


def _from(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    """The chunks from a byte on."""
    left = start
    for chunk in chunks:
        if left < len(chunk):
            yield chunk[left:]
        left = max(0, left - len(chunk))

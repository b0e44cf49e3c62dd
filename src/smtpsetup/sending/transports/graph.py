"""Microsoft Graph: `sendMail` with a message in MIME form.

https://learn.microsoft.com/graph/api/user-sendmail and https://learn.microsoft.com/graph/outlook-send-mime-message

Only 202 means that the mail is on its way: Graph has answered 200 to messages that it did not send.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING
from urllib.parse import quote

from smtpsetup.core.failure import Failure, Kind, TransportError
from smtpsetup.core.model import Stage
from smtpsetup.message.delivery import readable
from smtpsetup.message.header_recipients import addressed_by_header
from smtpsetup.net.http_connection import Body
from smtpsetup.sending.transports.api import ApiSession, ApiTransport, Call
from smtpsetup.sending.transports.api_answers import reply_of
from smtpsetup.state.request_limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.message.delivery import Delivery
    from smtpsetup.message.message import Message
    from smtpsetup.net.http_connection import Response
    from smtpsetup.sending.conditions import Conditions

SIZE_LIMIT = 2_200_000
"""Bytes of a message that `Mail.Send` alone carries: above 2,240 kB Graph has answered 200 and sent nothing."""
_ACCEPTED = 202
_LIMITS = Limits(at_once=4, most=15_000_000, seconds=30.0)  # https://learn.microsoft.com/graph/throttling-limits
_TEXT = {"Content-Type": "text/plain", "Accept": "application/json"}


class GraphTransport(ApiTransport):
    """The account's mailbox by way of Microsoft Graph."""

    def session(self, account: Account, conditions: Conditions) -> GraphSession:
        """See `Transport.session`."""
        return GraphSession(account, conditions)


class GraphSession(ApiSession):
    """A session with an account's mailbox. A shared mailbox is the sender of mail that the signed-in person sends."""

    limits = _LIMITS

    def __init__(self, account: Account, conditions: Conditions) -> None:
        super().__init__(account, conditions)
        client = account.oauth2
        # an application has no mailbox of its own
        who = f"/users/{quote(account.address)}" if client and client.is_app_only else "/me"
        self.mailbox = f"{self._base}{who}"

    @property
    def may_make_drafts(self) -> bool:
        """Whether the sign-in has Mail.ReadWrite, or may have it: an application's token does not tell."""
        client = self._account.oauth2
        return client is None or client.is_app_only or any(scope.endswith("Mail.ReadWrite") for scope in client.scopes)

    def _send(self, delivery: Delivery) -> Response:
        message = addressed_by_header(delivery.message, delivery.envelope)
        if message.size > SIZE_LIMIT:
            return self._send_large(delivery, message)
        body = in_base64(message)
        call = Call("POST", f"{self.mailbox}/sendMail", _TEXT, body, cost=body.size, decides=True)
        return self.require_sent(self._call(call, delivery))

    def _send_large(self, delivery: Delivery, message: Message) -> Response:
        if not self.may_make_drafts:
            raise self.too_large(message.size)
        from smtpsetup.sending.transports import graph_draft  # only for large mail

        return graph_draft.sent(self, delivery, message)

    def _empty_call(self) -> Call:
        return Call("POST", f"{self.mailbox}/sendMail", _TEXT, Body(1, lambda: (b"!",)))

    # for graph_draft

    def call(self, call: Call, delivery: Delivery | None = None) -> Response:
        """Make a request. Raises TransportError."""
        return self._call(call, delivery)

    def require(self, response: Response, status: int) -> Response:
        """The response, if it has this status. Raises TransportError."""
        if response.status != status:
            raise self._refused(response)
        return response

    def require_sent(self, response: Response) -> Response:
        """The response, if it says that the mail is on its way. Raises TransportError."""
        return self.require(response, _ACCEPTED)

    def too_large(self, size: int) -> TransportError:
        """The failure of a message that does not fit, or that the sign-in may not make a draft of."""
        return self._too_large(size, SIZE_LIMIT, Kind.TOO_LARGE_FOR_PERMISSION)

    def text_at(self, response: Response, key: str) -> str:
        """A text in the JSON object of an answer. Raises TransportError where there is none."""
        value = self._document(response).get(key)
        if not isinstance(value, str) or not value or not value.isascii():
            reply = reply_of(response, self._masks)
            raise TransportError(Failure(Stage.DATA, Kind.PROTOCOL_ERROR, self._account.server, reply, detail=key))
        return value


def in_base64(message: Message) -> Body:
    """A message in base64, encoded while it is sent."""
    return Body(-(-message.size // 3) * 4, lambda: encoded(readable(message.chunks())))


def encoded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks in base64, without line breaks."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        whole = len(data) // 3 * 3
        rest = data[whole:]
        if whole:
            yield binascii.b2a_base64(data[:whole], newline=False)
    if rest:
        yield binascii.b2a_base64(rest, newline=False)

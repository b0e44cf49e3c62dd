"""What the transports over HTTPS have in common: the token, the limits, waiting when asked to, and what answers mean.

Nothing of this is loaded for mail over SMTP.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

from smtpsetup.config import paths
from smtpsetup.core.errors import InterruptedAfterTheDotError, NoTokenError, SmtpsetupError
from smtpsetup.core.failure import Failure, HttpReply, Kind, TransportError, WireError
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.message.delivery import Delivery, Outcome, note_accepted, note_last_bytes, note_refused
from smtpsetup.net.dial import Deadline, look_up_from_environment
from smtpsetup.net.http_connection import EMPTY, HttpConnection
from smtpsetup.net.masks import Masks
from smtpsetup.net.stages import Stages, failure_from
from smtpsetup.sending.transports.api_answers import document_in, pause_in, reply_of
from smtpsetup.sending.transports.smtp import policy_for, proxy_for
from smtpsetup.state.request_limits import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret, Server
    from smtpsetup.net.http_connection import Body, Response
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.sending.conditions import Conditions
    from smtpsetup.state.request_limits import Limits

_UNAUTHORIZED = 401
_NOT_FOUND = 404
INCOMPLETE = 308
"""The answer to a part of an upload, after which more is to come."""
_GATEWAY = (502, 504)  # the service behind may have taken the request
_REFUSALS = (Kind.HTTP, Kind.TOO_LARGE, Kind.TOO_LARGE_FOR_PERMISSION)  # after which the session can go on
LONGEST_WAIT = 60.0
"""Seconds that are waited in a session; a longer pause is left to the outbox."""
_WATCHED_WAIT = 5.0  # the same while a person watches a test
_MOST_WAITS = 5  # for one request
_PLACE_SECONDS = 600.0  # to wait for other requests of the mailbox
_ANSWER_SECONDS = 120.0
_SECONDS_PER_MEGABYTE = 20.0  # as over SMTP


def seconds_for(size: int) -> float:
    """How long a request with so many bytes may take, in seconds."""
    return _ANSWER_SECONDS + _SECONDS_PER_MEGABYTE * size / 1_000_000


class Call(NamedTuple):
    """A request to the API. `cost` is what it counts for in the provider's limit.

    `decides` says that the mail is on its way once the provider has taken this request. With `is_resumed`, the caller
    goes on where it was cut; others are made once more.
    """

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: Body = EMPTY
    cost: int = 0
    decides: bool = False
    is_resumed: bool = False


def leaves_open(response: Response) -> bool:
    """Whether an answer to a part of an upload says nothing final about the whole."""
    return response.status == INCOMPLETE or response.status >= 500  # noqa: PLR2004  RFC 9110 section 15.6


class ApiTransport:
    """What the transports over HTTPS have in common: no envelope, and the same stages."""

    has_envelope = False

    def planned_stages(self, account: Account, *, login_only: bool) -> tuple[Stage, ...]:  # noqa: ARG002  see `Transport`
        """See `Transport.planned_stages`."""
        return (Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.AUTH, *(() if login_only else (Stage.DATA,)))


class ApiSession(ABC):
    """A session with an account's API, as a context manager."""

    limits: Limits

    def __init__(self, account: Account, conditions: Conditions) -> None:
        self._account = account
        self._conditions = conditions
        self._deadline = Deadline(conditions.seconds)
        self._stages = Stages(account.server, conditions.on_stage)
        self._masks = Masks()
        self._connection = HttpConnection(
            self._stages,
            policy_for(account),
            self._masks,
            look_up=look_up_from_environment(),
            proxy=proxy_for(account),
            trace=conditions.trace,
        )
        self._token: Secret | None = None
        self._base = urlsplit(account.endpoint).path
        name = paths.file_name(account.address)
        self._limits = (
            conditions.request_limits(name, self.limits)
            if conditions.request_limits
            else RequestLimits(paths.state_dir(), name, self.limits)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object, /) -> None:
        self.close()

    def open(self, secret: Secret | None) -> None:
        """See `Session.open` in `sending.transport`."""
        self._token = secret
        if secret is not None:
            self._masks.add(secret.reveal())
        self._connection.open(self._deadline)

    def close(self) -> None:
        """See `Session.close`."""
        self._connection.close()

    @property
    def capabilities(self) -> Mapping[str, str]:
        """None: an API has no EHLO."""
        return {}

    @property
    def tls_facts(self) -> TlsFacts | None:
        """See `Session.tls_facts`."""
        return self._connection.tls_facts

    def deliver(self, delivery: Delivery, *, lockstep: bool = False) -> Outcome:  # noqa: ARG002  there is no other way
        """See `Session.deliver`."""
        started = time.monotonic()
        try:
            response = self._send(delivery)
        except TransportError as error:
            self._report_failure(error.failure, started)
            raise
        note_accepted(delivery)
        reply = reply_of(response, self._masks)
        self._report_login(started)
        self._stages.report(Stage.DATA, started, f"{delivery.message.size} bytes", reply, StageStatus.OK)
        return Outcome(delivery.envelope.recipients, (), reply)

    @abstractmethod
    def _send(self, delivery: Delivery) -> Response:
        """Hand the message over. Returns the answer that says that it was taken. Raises TransportError."""

    def prove_sender(self) -> None:
        """See `Session.prove_sender`: a request that is refused for its content, after the token was checked."""
        started = time.monotonic()
        try:
            response = self._call(self._empty_call())
            if response.status != 400:  # noqa: PLR2004  RFC 9110 section 15.5.1
                raise self._refused(response)
        except TransportError as error:
            self._report_failure(error.failure, started)
            raise
        self._report_login(started)

    @abstractmethod
    def _empty_call(self) -> Call:
        """A request to send nothing."""

    def deliver_all(self, deliveries: Iterator[Delivery], *, lockstep: bool) -> Iterator[Outcome | TransportError]:
        """See `Session.deliver_all`."""
        for delivery in deliveries:
            try:
                yield self.deliver(delivery, lockstep=lockstep)
            except TransportError as error:
                if error.failure.kind not in _REFUSALS or error.failure.stage is Stage.AUTH:
                    raise
                yield error

    def _report_login(self, started: float) -> None:
        self._stages.report(Stage.AUTH, started, "access token", None, StageStatus.OK)

    def _report_failure(self, failure: Failure, started: float) -> None:
        """Report a refusal; the stages of a connection have reported their own."""
        if failure.stage is Stage.DATA:
            self._report_login(started)
        if failure.stage in (Stage.AUTH, Stage.DATA):
            self._stages.report(failure.stage, started, failure.detail, failure.reply, StageStatus.FAILED)

    def _call(self, call: Call, delivery: Delivery | None = None) -> Response:
        """Make a request, again with a new token or after a pause where the provider asks for that.

        `delivery` is what the request decides about. Raises TransportError where the provider keeps asking, and
        NoTokenError where there is no new token.
        """
        waits = 0
        is_renewed = was_unavailable = False
        while True:
            response = self._exchanged(call, delivery if call.decides else None, is_repeated=was_unavailable)
            if response.status == _UNAUTHORIZED and not is_renewed and self._has_new_token():
                is_renewed = True
                continue
            pause = pause_in(response)
            if pause is None:
                return response
            if pause:
                self._limits.pause(pause)
            was_unavailable = response.status >= 500  # noqa: PLR2004  RFC 9110 section 15.6
            if was_unavailable and call.is_resumed:
                return response
            waits += 1
            if waits > _MOST_WAITS or pause > (_WATCHED_WAIT if self._stages.is_watched else LONGEST_WAIT):
                raise self._refused(response, retry_after=pause)
            time.sleep(pause)

    def _has_new_token(self) -> bool:
        """Get another token than the one that was refused. Raises NoTokenError where its provider gives none."""
        if self._token is None or self._conditions.renew is None:
            return False
        try:
            fresh = self._conditions.renew(self._token)
        except SmtpsetupError as error:
            raise NoTokenError(error) from error
        if fresh is None:
            return False
        self._token = fresh
        self._masks.add(fresh.reveal())
        return True

    def _exchanged(self, call: Call, delivery: Delivery | None, *, is_repeated: bool) -> Response:
        """One request within the limits, over a new connection where the old one is gone. Raises TransportError.

        A draft that is gone when its request `is_repeated` may have been sent the first time.
        """
        left = self._limits.pause_left()
        if left > LONGEST_WAIT:
            reply = HttpReply(429, "", (f"a pause of {int(left)} seconds was asked for earlier",))
            raise TransportError(Failure(Stage.DATA, Kind.HTTP, self._account.server, reply, retry_after=left))
        if left:
            time.sleep(left)
        with self.within_limits(call.cost):
            response = self._tried(call, delivery)
        if delivery is not None and response.status >= 300:  # noqa: PLR2004  RFC 9110 section 15.4
            if response.status in _GATEWAY or (is_repeated and response.status == _NOT_FOUND):
                pause = pause_in(response) or 0.0
                if pause:
                    self._limits.pause(pause)
                raise self._unknown(reply_of(response, self._masks), pause)
            if not (call.is_resumed and leaves_open(response)):
                note_refused(delivery, reply_of(response, self._masks))
        return response

    @property
    def server(self) -> Server:
        """The API's server."""
        return self._account.server

    def wait(self, seconds: float) -> None:
        """Wait before another try; less where a person watches."""
        time.sleep(min(seconds, _WATCHED_WAIT) if self._stages.is_watched else seconds)

    def refused(self, response: Response) -> TransportError:
        """The failure that an answer means."""
        return self._refused(response, pause_in(response) or 0.0)

    @contextmanager
    def within_limits(self, cost: int) -> Iterator[None]:
        """Hold a place for a request, once so much more may be sent. Raises TransportError where none becomes free."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._limits.place(_PLACE_SECONDS))
            except TimeoutError as error:
                raise TransportError(Failure(Stage.DATA, Kind.TIMEOUT, self._account.server)) from error
            if cost:
                self._limits.reserve(cost)
            yield

    def _tried(self, call: Call, delivery: Delivery | None) -> Response:
        is_second = False
        while True:
            if not self._connection.is_usable:
                self._connection.close()
                self._connection.open(Deadline(self._conditions.seconds))
            try:
                return self._requested(call, delivery)
            except (OSError, WireError) as error:
                if self._connection.is_body_sent and delivery is not None:
                    raise self._unknown() from error
                is_cut = not isinstance(error, TimeoutError) and not self._connection.is_body_sent
                if is_cut and not (is_second or call.is_resumed):
                    is_second = True  # the server has nothing whole: it may have closed a connection that was kept open
                    continue
                raise TransportError(failure_from(error, Stage.DATA, self._account.server)) from error

    def _requested(self, call: Call, delivery: Delivery | None) -> Response:
        try:
            return self._connection.request(
                call.method,
                call.target,
                {**call.headers, **self._authorization()},
                call.body,
                Deadline(seconds_for(call.body.size)),
                before_end=(lambda: note_last_bytes(delivery)) if delivery else bool,
            )
        except KeyboardInterrupt as error:
            if delivery is not None and self._connection.is_body_sent:
                raise InterruptedAfterTheDotError from error
            raise

    def _authorization(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token.reveal()}"}

    def _unknown(self, reply: HttpReply | None = None, retry_after: float = 0.0) -> TransportError:
        """The answer to the whole mail is lost: it may have been taken."""
        failure = Failure(Stage.DATA, Kind.CLOSED, self._account.server, reply, detail="after the request")
        return TransportError(failure._replace(is_unknown=True, retry_after=retry_after))

    def unauthenticated(self, server: Server, secret: str) -> HttpConnection:
        """A connection to another server, which gets no token. `secret` is masked in the trace.

        Raises SmtpsetupError where the account's settings cannot be used.
        """
        self._masks.add(secret)
        return HttpConnection(
            Stages(server, None),
            policy_for(self._account._replace(tls_fingerprint=None)),  # that is the API's
            self._masks,
            look_up=look_up_from_environment(),
            proxy=proxy_for(self._account._replace(server=server)),
            trace=self._conditions.trace,
        )

    def _refused(self, response: Response, retry_after: float = 0.0) -> TransportError:
        """The failure that an answer means: of the token, or of the request."""
        from smtpsetup.diagnosis.diagnose import error_code  # only for failures

        stage = Stage.AUTH if response.status == _UNAUTHORIZED else Stage.DATA
        reply = reply_of(response, self._masks)
        failure = Failure(stage, Kind.HTTP, self._account.server, reply, retry_after=retry_after)
        is_account = error_code(failure).startswith("auth.")  # what stops every mail, and not this one alone
        return TransportError(failure._replace(stage=Stage.AUTH) if is_account else failure)

    def _too_large(self, size: int, limit: int, kind: Kind = Kind.TOO_LARGE) -> TransportError:
        """The failure of a message that the API would not take, before it is sent."""
        return TransportError(Failure(Stage.DATA, kind, self._account.server, detail=f"{size} > {limit}"))

    def _document(self, response: Response) -> dict[str, Any]:
        """The JSON object of an answer. Raises TransportError where there is none."""
        document = document_in(response)
        if document is None:
            detail = "no JSON object"
            raise TransportError(Failure(Stage.DATA, Kind.PROTOCOL_ERROR, self._account.server, detail=detail))
        return document

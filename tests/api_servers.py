"""What the fake APIs share: HTTPS with keep-alive, records of requests and mails, and answers that a test arranges."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests import mail_headers
from tests.api_http import Answer, Incoming, Port, as_json
from tests.certificates import write_ca

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DROPS = ("", "before-body", "mid-body", "after-body", "after-processing")


@dataclass(frozen=True)
class ApiMail:
    """A mail that was sent; `message` is what came, without its Bcc field."""

    mailbox: str
    sender: str
    recipients: tuple[str, ...]
    message: bytes


@dataclass(frozen=True)
class ApiRequest:
    """A request; its status is 0 as long as it is under way, and if the connection ended without an answer."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # lower case; of Authorization only "present" or "absent"
    token_hash: str  # SHA-256, hexadecimal
    body_size: int  # what was read of the body
    connection: int
    at: float  # seconds since the epoch
    status: int


class RefusalError(Exception):
    """A request is answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.body)
        self.answer = answer


@dataclass(frozen=True)
class Grant:
    """What a token is good for."""

    user: str
    scopes: tuple[str, ...]
    is_app: bool = False
    mailboxes: tuple[str, ...] = ()  # further addresses that it may use


@dataclass
class Rule:
    """How the next requests that match are answered."""

    count: int
    path_contains: str
    method: str
    answer: Answer | None
    drop: str
    delay: float
    after: bool

    def matches(self, request: Incoming) -> bool:
        return self.path_contains in request.path and self.method in ("", request.method)


class ApiServer:
    """A fake API with records, rules and tokens; a context manager.

    `ask` is called with a token that nobody allowed, and returns its grant or None: another server may know it.
    `hand_to` is called with each mail. `pause` is added to each request, in seconds.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.directory = Path(self._directory.name)
        self.ca_file = write_ca(self.directory / "ca.pem")
        self.lock = threading.RLock()
        self.ports = [Port(self)]
        self.origin = self.ports[0].origin
        self.reset()

    def reset(self) -> None:
        """Forget every token, rule and record."""
        with self.lock:
            self.grants: dict[str, Grant] = {}
            self.requests: list[ApiRequest] = []
            self.mails: list[ApiMail] = []
            self.violations: list[str] = []
            self.rules: list[Rule] = []
            self.most_at_once = 0
            self.pause = 0.0
            self.hand_to: Callable[[ApiMail], None] | None = None
            self.ask: Callable[[str], Grant | None] | None = None
            self._under_way: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        for port in self.ports:
            port.stop()
        self._directory.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Python trusts the certificate."""
        return {"SSL_CERT_FILE": self.ca_file}

    @property
    def elsewhere(self) -> list[ApiRequest]:
        """The requests that followed a redirect."""
        return [request for request in self.requests if request.path.startswith("/elsewhere")]

    # what a fake defines

    def respond(self, request: Incoming) -> Answer:
        """Process a request."""
        raise NotImplementedError

    def error_answer(self, code: str, message: str, status: int) -> Answer:
        """An error in the API's own form."""
        raise NotImplementedError

    def mailbox_of(self, request: Incoming) -> str:
        """Whose limits a request counts against."""
        grant = self.grant(request.token)
        return grant.user if grant else ""

    def keep_part(self, request: Incoming) -> None:
        """Keep the beginning of a body that broke off, where the API does so."""

    # tokens

    def expire(self, token: str) -> None:
        """Accept a token no longer."""
        with self.lock:
            self.grants.pop(token, None)
            self.ask = None if self.ask is None else _all_but(token, self.ask)

    def grant(self, token: str) -> Grant | None:
        """What a token is good for; None if it is unknown."""
        known = self.grants.get(token)
        return self.ask(token) if known is None and self.ask and token else known

    # answers to the next requests

    def rule(  # noqa: PLR0913  the ways in which an answer may be wrong
        self,
        count: int = 1,
        *,
        path_contains: str = "",
        method: str = "",
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | Mapping[str, Any] = b"",
        drop: str | None = None,
        delay: float = 0,
        after: bool = False,
    ) -> None:
        """Change the answers to the next requests; rules are used in the order in which they were made.

        `status`, `headers` and `body` are the whole answer; with `after` the request is processed first. `drop` ends
        the connection "before-body", "mid-body" (half of it was read), "after-body" (nothing is processed) or
        "after-processing". `delay` waits first, in seconds.
        """
        assert (drop or "") in DROPS, drop
        content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else as_json(body)
        kind = {} if isinstance(body, bytes | str) else {"Content-Type": "application/json"}
        answer = None if status is None else Answer(status, content, {**kind, **(headers or {})})
        self.rules.append(Rule(count, path_contains, method, answer, drop or "", delay, after))

    def unavailable(self, count: int = 1, *, status: int = 503, retry_after: str | None = "1", **rule: Any) -> None:
        """Answer as an overloaded server does, with an HTML page."""
        headers = {"Content-Type": "text/html", **({} if retry_after is None else {"Retry-After": retry_after})}
        page = "<!DOCTYPE html><html><body><h1>Service Unavailable</h1></body></html>"
        self.rule(count, status=status, headers=headers, body=page, **rule)

    def error(self, code: str, message: str, status: int = 400, count: int = 1, **rule: Any) -> None:
        """Answer with an error in the API's own form."""
        answer = self.error_answer(code, message, status)
        self.rule(count, status=status, headers=answer.headers, body=answer.body, **rule)

    def redirect(self, location: str | None = None, count: int = 1, *, status: int = 307, **rule: Any) -> None:
        """Answer with a redirect; `elsewhere` has the requests that follow it."""
        self.rule(count, status=status, headers={"Location": location or f"{self.origin}/elsewhere"}, **rule)

    # requests

    def take(self, head: Incoming, read: Callable[[int], bytes], connection: int) -> Answer | None:
        """Record a request and answer it; None ends the connection."""
        with self.lock:
            mailbox = self.mailbox_of(head)
            self._under_way[mailbox] += 1
            head = replace(head, at_once=self._under_way[mailbox])
            self.most_at_once = max(self.most_at_once, head.at_once if mailbox else 0)
            rule = self._rule_for(head)
            index = len(self.requests)
            self.requests.append(_recorded(head, connection))
        try:
            answer = self._answer(head, read, rule, index)
        finally:
            with self.lock:
                self._under_way[mailbox] -= 1
        if answer is not None:
            self._record(index, status=answer.status)
        return answer

    def _rule_for(self, request: Incoming) -> Rule | None:
        rule = next((rule for rule in self.rules if rule.matches(request)), None)
        if rule:
            rule.count -= 1
            if rule.count <= 0:
                self.rules.remove(rule)
        return rule

    def _answer(self, head: Incoming, read: Callable[[int], bytes], rule: Rule | None, index: int) -> Answer | None:
        drop = rule.drop if rule else ""
        length = head.headers.get("content-length")
        if drop == "before-body":
            return None
        if length is None and head.method in ("POST", "PUT", "PATCH"):  # a body in chunks is not read
            return Answer(411, headers={"Connection": "close"})
        wanted = int(length or 0) // (2 if drop == "mid-body" else 1)
        request = replace(head, body=_body(read, wanted))
        self._record(index, body_size=len(request.body))
        if drop == "mid-body" or len(request.body) < wanted:
            self.keep_part(request)
            return None
        time.sleep(self.pause + (rule.delay if rule else 0))
        return None if drop == "after-body" else self._ruled(request, rule)

    def _ruled(self, request: Incoming, rule: Rule | None) -> Answer | None:
        if rule and rule.answer and not rule.after:
            return rule.answer
        answer = self._processed(request)
        if rule and rule.drop:
            return None
        return rule.answer if rule and rule.answer else answer

    def _processed(self, request: Incoming) -> Answer:
        if request.path.startswith("/elsewhere"):
            return Answer(200, as_json({"error": "this is not the API"}), {"Content-Type": "application/json"})
        try:
            return self.respond(request)
        except RefusalError as refusal:
            return refusal.answer

    def _record(self, index: int, **values: int) -> None:
        with self.lock:
            if index < len(self.requests):  # otherwise reset() was called meanwhile
                self.requests[index] = replace(self.requests[index], **values)  # type: ignore[arg-type]

    # mails

    def refused(self, code: str, message: str, status: int) -> RefusalError:
        """The exception that answers with an error."""
        return RefusalError(self.error_answer(code, message, status))

    def deliver(self, mailbox: str, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Send a mail, after its Bcc field is removed."""
        mail = ApiMail(mailbox, sender, tuple(recipients), mail_headers.without(message, "Bcc"))
        with self.lock:
            self.mails.append(mail)
        if self.hand_to:
            self.hand_to(mail)


def _body(read: Callable[[int], bytes], wanted: int) -> bytes:
    """As much of a body as comes."""
    body = bytearray()
    with contextlib.suppress(OSError):
        while len(body) < wanted and (piece := read(wanted - len(body))):
            body += piece
    return bytes(body)


def _all_but(token: str, ask: Callable[[str], Grant | None]) -> Callable[[str], Grant | None]:
    return lambda other: None if other == token else ask(other)


def _recorded(head: Incoming, connection: int) -> ApiRequest:
    is_present = "authorization" in head.headers
    headers = {**head.headers, "authorization": "present" if is_present else "absent"}
    token_hash = hashlib.sha256(head.token.encode()).hexdigest() if head.token else ""
    return ApiRequest(head.method, head.path, head.query, headers, token_hash, 0, connection, time.time(), 0)

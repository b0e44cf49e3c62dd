"""A connection to one web server for several requests (HTTP/1.1, RFC 9112), over verified TLS.

A request's body is sent piece by piece, so that a large one is never in memory whole. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import re
import selectors
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import __version__
from smtpsetup.core.failure import Kind, WireError
from smtpsetup.core.model import plain_text
from smtpsetup.net import tls
from smtpsetup.net.connection import connected, secured
from smtpsetup.net.dial import Deadline
from smtpsetup.net.timed_socket import TimedSocket

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from smtpsetup.net.dial import LookUp
    from smtpsetup.net.masks import Masks
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.net.stages import Stages
    from smtpsetup.net.tls import TlsFacts, TlsPolicy

_LIMIT = 65_536  # bytes of a response's body
_CHUNK = 65_536  # bytes of a request that are sent at once
_TLS_SECONDS = 30.0
_LAST_ANSWER_SECONDS = 2.0  # for an answer that the server sent before it closed the connection
_FINAL = 200  # and above: an answer after which no other comes
_REFUSED = 300  # and above: what an answer to a request that was not read whole must be
_PORT = 443
_SHOWN = 2000  # characters of a body in the trace


class Body(NamedTuple):
    """A request's body: its size in bytes, and its pieces, from the start at every call."""

    size: int
    pieces: Callable[[], Iterable[bytes]]


class Response(NamedTuple):
    """A response; the names of its header fields are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


EMPTY = Body(0, tuple)


class HttpConnection:
    """A connection, as a context manager. `is_body_sent` says that the server may have the whole last request."""

    def __init__(  # noqa: PLR0913  independent options
        self,
        stages: Stages,
        policy: TlsPolicy,
        masks: Masks,
        *,
        look_up: LookUp | None,
        proxy: Proxy | None,
        trace: Callable[[str], None] | None,
    ) -> None:
        self.tls_facts: TlsFacts | None = None
        self.is_body_sent = False
        self._is_fresh = True
        self._stages = stages
        self._policy = policy
        self._masks = masks
        self._look_up = look_up
        self._proxy = proxy
        self._trace = trace
        self._sock: ssl.SSLSocket | None = None

    def open(self, deadline: Deadline) -> None:
        """Connect and start TLS, each as a stage. Raises TransportError."""
        sock = connected(self._stages, deadline, self._look_up, self._proxy)
        try:
            self._sock = secured(self._stages, sock, self._policy, deadline.at_most(_TLS_SECONDS))
        except BaseException:
            sock.close()
            raise
        self._is_fresh = True
        if self._stages.is_watched:
            self.tls_facts = tls.facts(self._sock)

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and the server has not closed it since the last response."""
        if self._sock is None or self._is_fresh:
            return self._sock is not None  # what can be read before a request are session tickets of TLS 1.3
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return not (self._sock.pending() or selector.select(0))

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def request(  # noqa: PLR0913  the parts of a request
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        deadline: Deadline,
        *,
        before_end: Callable[[], object] = bool,
    ) -> Response:
        """Send a request and read the response. `before_end` is called just before the last bytes of the request.

        Raises OSError, WireError, and what `body` and `before_end` raise; then the connection is closed.
        """
        self.is_body_sent = self._is_fresh = False
        try:
            return self._exchange(method, target, headers, body, deadline, before_end)
        except BaseException as error:
            self.close()
            if isinstance(error, http.client.HTTPException):
                is_end = isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead)
                raise WireError(Kind.CLOSED if is_end else Kind.PROTOCOL_ERROR, type(error).__name__) from error
            raise

    def _exchange(  # noqa: PLR0913, PLR0917  the parts of a request
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        deadline: Deadline,
        before_end: Callable[[], object],
    ) -> Response:
        if self._sock is None:
            raise WireError(Kind.CLOSED)
        head = self._head(method, target, headers, body)
        held = b""
        for piece in _of_size(head, body):
            if held:
                try:
                    self._send(held, deadline)
                except TimeoutError:
                    raise
                except OSError:
                    return self._early_response(method)
            held = piece
        before_end()
        self.is_body_sent = True
        try:
            self._send(held, deadline)
        except TimeoutError:
            raise
        except OSError:  # the server may have answered before it closed the connection
            deadline = deadline.at_most(_LAST_ANSWER_SECONDS)
        return self._read(method, deadline)

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> bytes:
        server = self._stages.server
        host = f"[{server.host}]" if ":" in server.host else server.host
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {host if server.port == _PORT else f'{host}:{server.port}'}",
            f"User-Agent: smtpsetup/{__version__}",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {body.size}",
        ]
        if not all(re.fullmatch(r"[ -~]+", line) for line in lines) or " " in target:
            raise ValueError("a line break or a blank inside a request's header")
        for line in lines:
            self._tell("> ", line)
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _send(self, data: bytes, deadline: Deadline) -> None:
        if self._sock is None:
            raise WireError(Kind.CLOSED)
        self._sock.settimeout(deadline.remaining())
        self._sock.sendall(data)

    def _early_response(self, method: str) -> Response:
        """The refusal that the server sent before it closed the connection. Raises WireError where there is none."""
        try:
            response = self._read(method, Deadline(_LAST_ANSWER_SECONDS))
        except (OSError, http.client.HTTPException) as error:
            raise WireError(Kind.CLOSED) from error
        self.close()
        if response.status < _REFUSED:
            raise WireError(Kind.PROTOCOL_ERROR, f"{response.status} before the end of the request")
        return response

    def _read(self, method: str, deadline: Deadline) -> Response:
        if self._sock is None:
            raise WireError(Kind.CLOSED)
        # it uses only `makefile`
        response = http.client.HTTPResponse(TimedSocket(self._sock, deadline), method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            while response.status < _FINAL:  # RFC 9110 section 15.2: others may come before the answer
                response.headers = None  # type: ignore[assignment]  # so that it reads the next one
                response.begin()
            self._tell("< ", f"{response.status} {response.reason}")
            content = response.read(_LIMIT + 1)
        except (ValueError, OverflowError) as error:  # of a chunk whose size is none, or of an answer without an end
            raise WireError(Kind.PROTOCOL_ERROR, "no proper answer") from error
        if content and response.status >= _REFUSED:
            self._tell("< ", content[:_SHOWN].decode("utf-8", "replace"))
        if response.will_close or len(content) > _LIMIT:
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, response.reason, headers, content[:_LIMIT])

    def _tell(self, direction: str, line: str) -> None:
        if self._trace:
            self._trace(direction + plain_text(self._masks.applied(line)))


def _small(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, none of which is too large to be sent at once."""
    for piece in pieces:
        yield from (piece[start : start + _CHUNK] for start in range(0, len(piece), _CHUNK))


def _of_size(head: bytes, body: Body) -> Iterator[bytes]:
    """The request in pieces that fill a packet where possible. Raises ValueError where the body has another size."""
    held, held_size, size = [head], len(head), 0
    for piece in _small(body.pieces()):
        size += len(piece)
        if held_size + len(piece) > _CHUNK:
            yield b"".join(held)
            held, held_size = [], 0
        held.append(piece)
        held_size += len(piece)
    if size != body.size:
        raise ValueError("a request's body has another size than was said")
    yield b"".join(held)

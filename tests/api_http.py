"""HTTPS with keep-alive for the fake APIs: a request is read, handed to a server, and its answer written."""

from __future__ import annotations

import json
import socket
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Protocol

from tests.certificates import server_context
from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Answer:
    """An answer to a request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Incoming:
    """A request as a fake reads it."""

    method: str
    path: str  # percent-decoded
    query: dict[str, str]
    headers: dict[str, str]  # lower case
    origin: str  # of the port that it came to
    body: bytes = b""
    at_once: int = 1  # requests for the same mailbox that were under way, this one included

    @property
    def token(self) -> str:
        """The bearer token, or nothing."""
        kind, _space, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class Taker(Protocol):
    """What answers requests."""

    def take(self, head: Incoming, read: Callable[[int], bytes], connection: int) -> Answer | None:
        """Answer a request, whose body `read` gives in pieces; None ends the connection."""


class Port(Listener):
    """A port that speaks HTTPS for a server."""

    def __init__(self, server: Taker, host: str = "localhost") -> None:
        self.server = server
        self.open: set[socket.socket] = set()
        super().__init__()
        self.origin = f"https://{host}:{self.port}"

    def talk(self, client: socket.socket, number: int) -> None:
        with server_context().wrap_socket(client, server_side=True) as tls:
            self.open.add(tls)
            try:
                Conversation(tls, self, number)
            finally:
                self.open.discard(tls)

    def stop(self) -> None:
        super().stop()
        self.close_connections()

    def close_connections(self) -> None:
        """Close what is open."""
        for client in list(self.open):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Conversation(BaseHTTPRequestHandler):
    """The requests of a connection, one after the other."""

    protocol_version = "HTTP/1.1"

    def __init__(self, client: socket.socket, port: Port, number: int) -> None:
        self.port = port
        self.number = number
        super().__init__(client, ("127.0.0.1", 0), port)  # type: ignore[arg-type]

    def log_message(self, *_rest: object) -> None:
        """Print nothing."""

    def serve(self) -> None:
        """Answer a request, or end the connection as a rule says."""
        split = urllib.parse.urlsplit(self.path)
        head = Incoming(
            self.command,
            urllib.parse.unquote(split.path),
            dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self.port.origin,
        )
        answer = self.port.server.take(head, self.rfile.read1, self.number)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.headers.get("Connection") == "close":
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815  the names that http.server looks for

"""The sandbox's server: a TLS and a STARTTLS port on loopback, a login, and every mail passed to a callback.

Its certificate comes from an authority made for this run.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import os
import socket
import ssl
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from smtpsetup.core.model import plain_text
from smtpsetup.message.html_to_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage
    from pathlib import Path

HOST = "127.0.0.1"
PASSWORD = "sandbox"  # noqa: S105  public: it opens nothing but the sandbox
SIZE_LIMIT = 50_000_000  # bytes
_CLOSE_SECONDS = 1.0  # for the event loop to close the connections that are open at the end
_SHOWN = ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID")


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """Where the sandbox listens, its authority's certificate and its password."""

    host: str
    tls_port: int
    starttls_port: int
    ca_file: str
    password: str


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """A mail as it was received."""

    number: int
    username: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    file: str | None

    @property
    def message(self) -> EmailMessage:
        """The parsed mail."""
        return email.message_from_bytes(self.content, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """The subject, safe to print."""
        return dict(self.shown_headers).get("Subject", "")

    @property
    def shown_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that a mail program shows, safe to print."""
        return tuple((name, shown) for name in _SHOWN if (shown := self._header(name)))

    def _header(self, name: str) -> str:
        try:
            return plain_text(str(self.message.get(name, "")))
        except (LookupError, ValueError):  # `email` cannot parse some broken headers
            return plain_text(dict(self.message.raw_items()).get(name, ""))

    @property
    def text(self) -> str:
        """The text that a mail program shows, safe to print."""
        try:
            part = self.message.get_body(("plain", "html"))
            content = str(part.get_content()) if part else ""
        except (LookupError, ValueError, AttributeError):  # an unknown character set, or bytes that are not in it
            content = self.content.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
        else:
            content = text_of(content) if part and part.get_content_subtype() == "html" else content
        return "\n".join(plain_text(line) for line in content.splitlines())

    @property
    def attachments(self) -> tuple[str, ...]:
        """Name, type and size of each attachment, safe to print."""
        found = []
        for part in self.message.iter_attachments():
            size = len(part.get_payload(decode=True) or b"")
            found.append(plain_text(f"{part.get_filename() or '?'} ({part.get_content_type()}, {size} bytes)"))
        return tuple(found)


class _Listener(socket.socket):
    """A socket that remembers its connections: asyncio before Python 3.13 does not."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        sock, peer = super().accept()
        self.accepted.add(sock)
        return sock, peer

    @property
    def connections(self) -> list[socket.socket]:
        """The open ones."""
        return [sock for sock in self.accepted if sock.fileno() >= 0]


class Sandbox:
    """The running server, as a context manager. `on_mail` is called with each mail in the server's own thread.

    `keep` saves each mail in `directory`, which gets `ca.pem` in any case. A port of 0 is any free one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: bool = False,
        password: str = PASSWORD,
        ports: tuple[int, int] = (0, 0),
        on_mail: Callable[[CaughtMail], None] | None = None,
    ) -> None:
        self._directory = directory.resolve()
        self._keep = keep
        self._password = password
        self._ports = ports
        self._on_mail = on_mail or (lambda _mail: None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._listeners: list[_Listener] = []
        self.mails: list[CaughtMail] = []

    def __enter__(self) -> SandboxFacts:
        # aiosmtpd does not see that the first port has implicit TLS
        warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS", module="aiosmtpd")
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        authority = trustme.CA(organization_name="smtpsetup sandbox")
        ca_file = self._directory / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", HOST).configure_cert(context)
        self._thread.start()
        try:
            tls_port = self._listen(self._ports[0], partial(self._smtp, auth_require_tls=False), context)
            starttls_port = self._listen(
                self._ports[1], partial(self._smtp, auth_require_tls=True, tls_context=context), None
            )
        except OSError:
            self._stop()
            raise
        return SandboxFacts(HOST, tls_port, starttls_port, str(ca_file), self._password)

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _hang_up(self) -> None:
        """End the sessions as a client does that hangs up, and then whatever is left."""
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.close()  # which has no server if its port was taken
        for sock in self._connections:
            with suppress(OSError):  # the client has hung up
                sock.shutdown(socket.SHUT_RDWR)
        end = self._loop.time() + _CLOSE_SECONDS
        while self._connections and self._loop.time() < end:  # noqa: ASYNC110  asyncio tells of no closed connection
            await asyncio.sleep(0.001)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _listen(self, port: int, factory: Callable[[], SMTP], context: ssl.SSLContext | None) -> int:
        listener = _Listener()
        self._listeners.append(listener)
        if os.name == "posix":  # a port is free at once after its last server
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listening = self._loop.create_server(factory, sock=listener, ssl=context)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self._servers.append(server)
        return int(listener.getsockname()[1])

    @property
    def _connections(self) -> list[socket.socket]:
        return [sock for listener in self._listeners for sock in listener.connections]

    def _smtp(self, **options: Any) -> SMTP:  # noqa: ANN401  aiosmtpd's own options
        return SMTP(
            self,
            hostname="localhost",
            ident="smtpsetup test server",  # without the word `sandbox`: it is the password, which clients mask
            authenticator=self._authenticate,
            auth_required=True,
            enable_SMTPUTF8=True,
            data_size_limit=SIZE_LIMIT,
            loop=self._loop,
            **options,
        )

    def _authenticate(
        self, _server: SMTP, session: Session, _envelope: Envelope, _mechanism: str, auth_data: object
    ) -> AuthResult:
        if not isinstance(auth_data, LoginPassword) or auth_data.password != self._password.encode():
            return AuthResult(success=False, handled=False)
        session.login_name = auth_data.login.decode("utf-8", "replace")  # type: ignore[attr-defined]  # Session takes any attribute
        return AuthResult(success=True)

    def _save(self, content: bytes) -> Path:
        """Write the mail to a new file, numbered after those of earlier runs."""
        number = 1 + max((int(path.stem) for path in self._directory.glob("[0-9][0-9][0-9][0-9].eml")), default=0)
        path = self._directory / f"{number:04d}.eml"
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        return path

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Keep the mail and pass it to `on_mail`."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        number = len(self.mails) + 1
        file = self._save(content) if self._keep else None
        mail = CaughtMail(
            number,
            plain_text(getattr(session, "login_name", "")),
            plain_text(envelope.mail_from or ""),
            tuple(plain_text(recipient) for recipient in envelope.rcpt_tos),
            content,
            str(file) if file else None,
        )
        self.mails.append(mail)
        self._on_mail(mail)
        return f"250 2.0.0 Caught as mail {number}"

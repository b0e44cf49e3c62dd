"""One SMTP session, stage by stage. Every error becomes a `Failure`."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Self

from smtpsetup.core.failure import Failure, Kind, Reply, TransportError, WireError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server, Stage, StageStatus
from smtpsetup.net import dial, tls
from smtpsetup.net.connection import connected, secured
from smtpsetup.net.dial import Deadline
from smtpsetup.net.stages import Stages
from smtpsetup.smtp import sasl
from smtpsetup.smtp.transaction import Channel, seconds_for, submit, try_sender
from smtpsetup.smtp.wire import Wire

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

    from smtpsetup.core.failure import StageResult
    from smtpsetup.core.model import Secret
    from smtpsetup.message.delivery import Delivery, Outcome
    from smtpsetup.net.dial import LookUp
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.net.tls import TlsFacts, TlsPolicy

_SILENCE_SECONDS = 4.0  # without a greeting before the port is tested for implicit TLS
_GREETING_SECONDS = 30.0
_QUIT_SECONDS = 3.0
_READY = 220
_OK = 250
_LOGGED_IN = 235
_MECHANISM_UNKNOWN = 504  # RFC 4954 section 4
_TLS_RECORD = (b"\x15\x03", b"\x16\x03")


class Session:
    """A connection to one server, as a context manager: it sends QUIT if that is still possible, and closes.

    `greeting` is the server's greeting. `tls_facts` describes the connection's TLS, if `on_stage` is given.
    """

    def __init__(  # noqa: PLR0913  independent options, all but one of them keywords
        self,
        server: Server,
        *,
        ehlo_name: str,
        deadline: Deadline,
        policy: TlsPolicy,
        on_stage: Callable[[StageResult], None] | None = None,
        trace: Callable[[str], None] | None = None,
        look_up: LookUp | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.server = server
        self.tls_facts: TlsFacts | None = None
        self.greeting: Reply | None = None
        self._ehlo_name = ehlo_name
        self._deadline = deadline
        self._policy = policy
        self._hidden: list[str] = []
        self._is_secured = False
        self._stages = Stages(server, on_stage)
        self._proxy = proxy
        self._trace = trace
        self._look_up = look_up
        self._wire: Wire | None = None
        self._sock: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        is_refused = isinstance(error, TransportError) and error.failure.kind is Kind.REPLY
        # a client that hangs up after a refused login looks like an attacker to the server's log watchers
        if error is None or is_refused:
            self.quit()
        self.close()

    def mask_secret(self, secret: Secret | None) -> None:
        """Show `***` in place of the secret from the first line on: a server may repeat it from an earlier session."""
        if secret is not None:
            self._hidden.append(secret.reveal())

    @property
    def wire(self) -> Wire:
        """The session's command and reply lines. Raises RuntimeError before `connect`."""
        if self._wire is None:
            raise RuntimeError("the session is not open")
        return self._wire

    @property
    def capabilities(self) -> dict[str, str]:
        """The server's extensions, by EHLO keyword in upper case; empty before EHLO."""
        return dict(self._wire.extensions) if self._wire else {}

    @property
    def certificate(self) -> bytes | None:
        """The server's certificate (DER), verified or not; None before one was seen."""
        import ssl  # net.tls has loaded it

        if not isinstance(self._sock, ssl.SSLSocket):
            return None
        try:
            return self._sock.getpeercert(binary_form=True)
        except ValueError:  # the server closed the connection during the handshake
            return None

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that the server offers, without malformed names (RFC 4422 section 3.1)."""
        offered = self.wire.extensions.get("AUTH", "").upper().split()
        return tuple(dict.fromkeys(name for name in offered if re.fullmatch("[A-Z0-9_-]{1,20}", name)))

    def connect(self) -> None:
        """Connect, read the greeting, send EHLO, and start TLS as `server.security` says. Raises TransportError."""
        self._sock = connected(self._stages, self._deadline, self._look_up, self._proxy)
        if self.server.security is Security.TLS:
            self._start_tls()
        self._wire = Wire(self._sock, self._deadline, self._trace)
        for secret in self._hidden:
            self._wire.mask(secret)
        with self._stages.stage(Stage.GREETING):
            self.greeting = self._stages.reply = self._read_greeting()
            if self._stages.reply.code != _READY:
                raise self._refused(Stage.GREETING, self._stages.reply)
        self._ehlo()
        if self.server.security is Security.STARTTLS:
            self._upgrade()

    def log_in(self, username: str, secret: Secret, *, with_token: bool = False) -> None:
        """Log in once (RFC 4954), with a password or an access token. Raises TransportError.

        Nothing secret is sent on an unprotected connection, other than to this machine.
        """
        if not self._policy.verifies_the_server:
            raise RuntimeError("a session that believes every certificate does not log in")
        with self._stages.stage(Stage.AUTH):
            if not self._is_secured and not self._is_local():
                raise self._failed(Stage.AUTH, Kind.UNPROTECTED)
            offered = self.mechanisms
            if not offered:
                raise self._failed(Stage.AUTH, Kind.NOT_OFFERED)
            mechanism = sasl.best_mechanism(offered, with_token=with_token)
            if mechanism is None:
                raise self._failed(Stage.AUTH, Kind.NO_COMMON_MECHANISM, offered=offered)
            self._stages.detail = mechanism
            if with_token:
                self._stages.reply = sasl.log_in_with_token(self.wire, mechanism, username, secret, self.server)
            else:
                self._stages.reply = sasl.log_in(self.wire, mechanism, username, secret)
                if self._stages.reply.code == _MECHANISM_UNKNOWN and mechanism == "PLAIN" and "LOGIN" in offered:
                    # the server offered PLAIN, does not know it, and has not seen the password
                    self._stages.detail = "LOGIN"
                    self._stages.reply = sasl.log_in(self.wire, "LOGIN", username, secret)
            if self._stages.reply.code != _LOGGED_IN:
                raise TransportError(Failure(Stage.AUTH, Kind.REPLY, self.server, self._stages.reply, offered=offered))

    def deliver(self, delivery: Delivery, *, lockstep: bool = False) -> Outcome:
        """Send one message. In `lockstep` every command waits for its reply, all within the session's deadline.

        Raises TransportError if no recipient was accepted, SmtpsetupError if the message cannot be read.
        """
        deadline = self._deadline if lockstep else Deadline(seconds_for(delivery.message))
        channel = Channel(self.wire, self.server, self._stages.report)
        outcome = next(submit(channel, iter((delivery,)), deadline_for=lambda _message: deadline, lockstep=lockstep))
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def deliver_all(self, deliveries: Iterator[Delivery], *, lockstep: bool) -> Iterator[Outcome | TransportError]:
        """Send messages in order, each with its own deadline; see `submit`."""
        channel = Channel(self.wire, self.server, self._stages.report)
        return submit(
            channel, deliveries, deadline_for=lambda message: Deadline(seconds_for(message)), lockstep=lockstep
        )

    def try_sender(self, sender: str) -> None:
        """Ask whether mail may be sent from this address, without sending one. Raises TransportError."""
        self.wire.deadline = self._deadline
        try_sender(Channel(self.wire, self.server, self._stages.report), sender)

    def quit(self) -> None:
        """Send QUIT and close. Every message has its outcome by now, so an error here is a warning."""
        if self._wire is None or self._wire.sock is None:
            return
        started = time.monotonic()
        status, reply, detail = StageStatus.OK, None, ""
        try:
            self._wire.deadline = Deadline(_QUIT_SECONDS)
            reply = self._wire.command("QUIT")
        except TimeoutError:
            status, detail = StageStatus.WARNING, _("no answer")
        except (OSError, WireError):
            status, detail = StageStatus.WARNING, _("the server closed the connection first")
        self._stages.report(Stage.QUIT, started, detail, reply, status)
        self.close()

    def close(self) -> None:
        """Close the connection without QUIT."""
        if self._sock is not None:
            self._sock.close()
        if self._wire is not None:
            self._wire.sock = None

    def _start_tls(self) -> ssl.SSLSocket:
        sock = self._sock
        if sock is None:
            raise RuntimeError("the session is not open")
        deadline = self._deadline.at_most(_GREETING_SECONDS)
        self._sock = wrapped = secured(self._stages, sock, self._policy, deadline)
        self._is_secured = True
        if self._stages.is_watched:
            self.tls_facts = tls.facts(wrapped)
        return wrapped

    def _read_greeting(self) -> Reply:
        wire = self.wire
        may_expect_tls = self.server.security is not Security.TLS
        wire.deadline = self._deadline.at_most(_SILENCE_SECONDS if may_expect_tls else _GREETING_SECONDS)
        try:
            try:
                return wire.reply()
            except TimeoutError:
                if not may_expect_tls:
                    raise
                if self._expects_tls():
                    raise self._failed(Stage.GREETING, Kind.TLS_EXPECTED) from None
                wire.deadline = self._deadline.at_most(_GREETING_SECONDS - _SILENCE_SECONDS)
                return wire.reply()
        except WireError as error:
            if wire.unread.startswith(_TLS_RECORD):
                raise self._failed(Stage.GREETING, Kind.TLS_EXPECTED) from error
            if error.kind is Kind.PROTOCOL_ERROR or (error.kind is Kind.CLOSED and error.detail):
                raise self._failed(Stage.GREETING, Kind.NOT_SMTP, error.detail) from error
            raise
        finally:
            wire.deadline = self._deadline

    def _expects_tls(self) -> bool:
        """Whether the port answers a ClientHello on a new connection, that is, speaks implicit TLS."""
        try:
            deadline = self._deadline.at_most(_SILENCE_SECONDS)
            sock = dial.race(dial.resolve(self.server.host, self.server.port, deadline, self._look_up), deadline)
            sock.settimeout(deadline.remaining())
        except OSError:
            return False
        with sock:
            return tls.answers_client_hello(sock, self.server.host)

    def _ehlo(self) -> None:
        with self._stages.stage(Stage.EHLO):
            self._stages.reply = self.wire.ehlo(self._ehlo_name)
            if self._stages.reply.code != _OK:
                raise self._refused(Stage.EHLO, self._stages.reply)
            self._stages.detail = ", ".join(sorted(self.capabilities))

    def _upgrade(self) -> None:
        """Upgrade to TLS by STARTTLS, or fail: the session never continues without it (RFC 8314 section 3.3)."""
        with self._stages.stage(Stage.STARTTLS):
            if "STARTTLS" not in self.capabilities:
                raise self._failed(Stage.STARTTLS, Kind.NOT_OFFERED)
            self._stages.reply = self.wire.command("STARTTLS")
            if self._stages.reply.code != _READY:
                raise self._refused(Stage.STARTTLS, self._stages.reply)
            if self.wire.unread:
                raise self._failed(Stage.STARTTLS, Kind.INJECTION)
        self.wire.upgrade(self._start_tls())
        self._ehlo()

    def _is_local(self) -> bool:
        import ipaddress  # only for connections without TLS

        sock = self._sock
        return sock is not None and ipaddress.ip_address(sock.getpeername()[0]).is_loopback

    def _refused(self, stage: Stage, reply: Reply) -> TransportError:
        return TransportError(Failure(stage, Kind.REPLY, self.server, reply, offered=self.mechanisms))

    def _failed(self, stage: Stage, kind: Kind, detail: str = "", *, offered: tuple[str, ...] = ()) -> TransportError:
        return TransportError(Failure(stage, kind, self.server, detail=detail, offered=offered))

"""A client's connection: TLS, time limits, its end, and lines that are no commands (RFC 3207, RFC 8314)."""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import logging
import ssl
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, AnyStr, NoReturn

from aiosmtpd.smtp import SMTP, TLSSetupException

from smtpsetup.relay.running import GREETING
from smtpsetup.submission.smtp_syntax import BAD_SEQUENCE, Reply

if TYPE_CHECKING:
    from smtpsetup.relay.clients import Address, Client
    from smtpsetup.relay.server import Desk

_COMMAND_LIMIT = 2048  # bytes; RFC 5321 section 4.5.3.1.4 asks for 512, extensions for more
_AUTH_LIMIT = 12_288  # bytes of an AUTH line (RFC 4954 section 4.3)
_READ_LIMIT = 65_536  # bytes that are read ahead
_GUEST_SECONDS_IN_ALL = 120.0  # before which a client has to log in
_GUEST_SECONDS = 60.0  # that a client may be silent before its login
_CLIENT_SECONDS = 300.0  # after it (RFC 5321 section 4.5.3.2.7)
_REPLY_SECONDS = 60.0  # for a client to read a reply
_HTTP = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")  # RFC 9110, 9113

_BUG = Reply(451, "4.3.0", "Internal error; try again later")
BUSY = Reply(421, "4.3.2", "Too many connections; try again later")
STOPPING = Reply(421, "4.3.2", "The relay is stopping; try again later")


class _Limits(dict[str, int]):
    """The longest line of each command, in bytes. What a client sends leaves nothing in it."""

    def __missing__(self, _verb: str) -> int:
        return _COMMAND_LIMIT

    def __setitem__(self, _verb: str, _limit: int) -> None:
        """Ignore a change: aiosmtpd lets MAIL become longer with each EHLO."""


class Connection(SMTP):
    """One connection. aiosmtpd reads the commands and upgrades to TLS.

    `client` is whom the relay takes it for, None for a guest.
    """

    command_size_limit = _COMMAND_LIMIT
    line_length_limit = _READ_LIMIT

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        handler: Any,  # noqa: ANN401  aiosmtpd's handlers are of any type
        *,
        begins_with_tls: bool,
    ) -> None:
        super().__init__(
            handler,
            hostname=desk.host,
            ident=GREETING,
            enable_SMTPUTF8=True,
            data_size_limit=desk.intake.most_bytes,
            tls_context=desk.tls,
            timeout=_GUEST_SECONDS,
            loop=loop,
        )
        self.command_size_limits = _Limits(AUTH=_AUTH_LIMIT)
        self.client: Client | None = None
        self._desk = desk
        self._begins_with_tls = begins_with_tls
        self._is_silent = False  # while aiosmtpd upgrades to TLS and would say so
        self._is_counted = False
        self._ends_at = 0.0  # of the loop's clock
        self._guest_until = loop.time() + _GUEST_SECONDS_IN_ALL
        self.is_receiving = False  # a message, up to the reply to it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or begin again after STARTTLS: what the client said before does not count (RFC 3207 section 4.2)."""
        self.client = None
        if not self._is_counted:
            self._is_counted = True
            self._desk.sessions.add(self)
        if self._begins_with_tls and self.transport is None and isinstance(transport, asyncio.Transport):
            transport.pause_reading()  # until TLS reads
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the session."""
        self._desk.sessions.discard(self)
        super().connection_lost(error)

    @property
    def peer(self) -> str:
        """The client's address."""
        return str(self._address)

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        address = self._address
        return address is not None and address.is_loopback

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What serves the client; it ends with the connection."""
        return self._handler_coroutine

    def close(self, reply: Reply) -> None:
        """End the session with a reply."""
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(reply.wire)
            self.transport.close()

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Let the session end in so many seconds. One timer is kept: a new one for each command would cost more."""
        self._ends_at = self.loop.time() + (duration or self._timeout_duration)
        if self.client is None:
            self._ends_at = min(self._ends_at, self._guest_until)
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_at(self._ends_at, self._timeout_cb)
        elif self._timeout_handle.when() > self._ends_at:
            self._timeout_handle.cancel()
            self._timeout_handle = self.loop.call_at(self._ends_at, self._timeout_cb)

    def _timeout_cb(self) -> None:
        """End a session that was silent, or did not read its replies."""
        if self.loop.time() < self._ends_at:
            self._timeout_handle = self.loop.call_at(self._ends_at, self._timeout_cb)
            return
        if isinstance(self.transport, asyncio.Transport):
            self.transport.write(Reply(421, "4.4.2", "Nothing came for too long").wire)
            if self.transport.get_write_buffer_size() > 0:
                self.transport.abort()
            else:
                self.transport.close()

    async def _handle_client(self) -> None:
        if self._desk.is_stopping or self._desk.is_full(self) or self._address is None:
            if self._begins_with_tls and isinstance(self.transport, asyncio.Transport):
                self.transport.abort()
            self.close(STOPPING if self._desk.is_stopping else BUSY)
            return
        if self._begins_with_tls:
            await self._start_tls()
        await super()._handle_client()

    async def _start_tls(self) -> None:
        """Begin TLS before the greeting (RFC 8314 section 3.3), so that the connection counts from its first byte."""
        if isinstance(self.transport, asyncio.Transport):
            self.loop.call_soon(self.transport.resume_reading)  # by then, TLS reads
        self._is_silent = True
        try:
            await super().smtp_STARTTLS("")
        except TLSSetupException as error:
            self._refused_tls(error)
            raise asyncio.CancelledError from error
        finally:
            self._is_silent = False

    async def push(self, status: AnyStr) -> None:
        """Send a line of aiosmtpd's, unless there is nothing to be said."""
        if status and not self._is_silent:
            await super().push(status)

    def eof_received(self) -> bool | None:
        """Carry out what has come before a client closes its side, as a script does that pipes its commands."""
        if self._tls_protocol is not None:
            return super().eof_received()
        return asyncio.StreamReaderProtocol.eof_received(self)

    async def handle_exception(self, error: Exception) -> str:
        """Report a bug, and let the client try again. A client that does not take the certificate is none."""
        if isinstance(error, asyncio.IncompleteReadError):  # it has said all that it will
            self._stop()
        if isinstance(error, TLSSetupException):  # aiosmtpd closes the connection
            self._refused_tls(error)
            return ""
        self._desk.report_bug(error)
        return _BUG.wire.decode().rstrip()

    def _refused_tls(self, error: TLSSetupException) -> None:
        self._desk.report_refused_tls(str(self._address), str(error.__cause__ or ""))
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def _stop(self) -> NoReturn:
        """End the session: nothing that the client has sent besides is looked at."""
        if self.transport is not None:
            self.transport.close()
        raise asyncio.CancelledError

    async def say(self, reply: Reply) -> None:
        """Send a reply."""
        self._writer.write(reply.wire)
        if isinstance(self.transport, asyncio.Transport) and self.transport.get_write_buffer_size():
            self._reset_timeout(_REPLY_SECONDS)
            await self._writer.drain()
        self._reset_timeout(_CLIENT_SECONDS if self.client else _GUEST_SECONDS)

    @property
    def _address(self) -> Address | None:
        """The client's address; None where the system does not give it."""
        peer = self.session.peer if self.session else None
        if not peer:
            return None
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        return getattr(address, "ipv4_mapped", None) or address

    @property
    def _tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection, None where there is none."""
        is_open = self.transport is not None and not self.transport.is_closing()
        found = self.transport.get_extra_info("ssl_object") if self.transport and is_open else None
        return found if isinstance(found, ssl.SSLObject) else None

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """Upgrade to TLS, once."""
        if self._tls is not None:
            await self.say(BAD_SEQUENCE)
        else:
            await super().smtp_STARTTLS(arg)

    async def given_in_base64(self, initial: str, challenge: str) -> bytes | None:
        """What the client gives, with AUTH or when it is asked; None where an error has been replied to."""
        text = initial
        if not initial:
            await self.say(Reply(334, "", b64encode(challenge.encode()).decode()))
            try:
                line = await self._reader.readuntil()
            except asyncio.LimitOverrunError:
                line = b"*" * (_AUTH_LIMIT + 1)
            text = line.rstrip(b"\r\n").decode("ascii", "replace")
        if len(text) > _AUTH_LIMIT:  # the rest of the line is not looked at
            self.close(Reply(500, "5.5.2", "Line too long"))
            self._stop()
        given = None if text == "*" else _decoded(text)
        if given is None:
            await self.say(Reply(501, "5.5.2", "Cancelled" if text == "*" else "That is not base64"))
        return given

    async def _is_no_client(self, _arg: str | None) -> None:
        """End a session that is a request of a web browser, so that no page can make it send mail."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        self._stop()

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: ARG002, N802  aiosmtpd's name
        """End the session."""
        self.close(Reply(221, "2.0.0", "Bye"))
        self._stop()

    async def smtp_VRFY(self, arg: str) -> None:  # noqa: ARG002, N802  aiosmtpd's name
        """Say nothing of addresses (RFC 5321 section 3.5.3)."""
        await self.say(Reply(252, "2.5.2", "Send it a mail to find out"))


for _verb in _HTTP:
    setattr(Connection, f"smtp_{_verb}", Connection._is_no_client)  # noqa: SLF001  its own
logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's, which would show what clients send


def _decoded(text: str) -> bytes | None:
    """The bytes of base64, `=` standing for none (RFC 4954 section 4); None where it is not base64."""
    try:
        return b"" if text == "=" else b64decode(text.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        return None

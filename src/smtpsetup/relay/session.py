"""A client's session: who may send what, and the message on its way into the outbox (RFC 6409, 4954, 3207)."""

from __future__ import annotations

import asyncio
import binascii
import collections
import ipaddress
import logging
import ssl
from base64 import b64decode
from typing import TYPE_CHECKING

from aiosmtpd.smtp import MISSING, SMTP, Envelope, Session, TLSSetupException

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Secret
from smtpsetup.relay.content import content
from smtpsetup.relay.intake import NoRoomError, TooLargeError
from smtpsetup.relay.login import Verdict
from smtpsetup.relay.running import GREETING
from smtpsetup.submission.smtp_syntax import BAD_SEQUENCE, BAD_SYNTAX, OK, Reply, path_of, refusal_of

if TYPE_CHECKING:
    from smtpsetup.relay.clients import Address, Client
    from smtpsetup.relay.server import Desk
    from smtpsetup.submission.smtp_syntax import Path

MOST_RECIPIENTS = 1000
_COMMAND_LIMIT = 2048  # bytes; RFC 5321 section 4.5.3.1.4 asks for 512, extensions for more
_AUTH_LIMIT = 12_288  # bytes of an AUTH line (RFC 4954 section 4.3)
_READ_LIMIT = 65_536  # bytes that are read ahead
_GUEST_SECONDS = 60.0  # that a client may be silent before its login
_CLIENT_SECONDS = 300.0  # after it (RFC 5321 section 4.5.3.2.7)
_CONTENT_SECONDS = 180.0  # for a piece of the message (RFC 5321 section 4.5.3.2.5)
_REPLY_SECONDS = 60.0  # for a client to read a reply
_OLD_TLS = ("TLSv1", "TLSv1.1")
_HTTP = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")  # RFC 9110, 9113

_LOGIN_FIRST = Reply(530, "5.7.0", "Log in first: this relay takes mail from its own clients only")
_TLS_FIRST = Reply(538, "5.7.11", "Use STARTTLS first: a password is not taken in clear text over a network")
_TOO_LARGE = Reply(552, "5.3.4", "The message is larger than this relay takes")
NO_ROOM = Reply(452, "4.3.1", "The disk is full; try again later")
_WRONG = Reply(535, "5.7.8", "The user name or password is wrong")
_TOO_MANY_WRONG = Reply(421, "4.7.0", "Too many wrong logins; try again in a minute")
_BUG = Reply(451, "4.3.0", "Internal error; try again later")
BUSY = Reply(421, "4.3.2", "Too many connections; try again later")
STOPPING = Reply(421, "4.3.2", "The relay is stopping; try again later")


class RelaySession(SMTP):
    """One connection. aiosmtpd reads the commands and upgrades to TLS; this decides, and reads the message."""

    command_size_limit = _COMMAND_LIMIT
    line_length_limit = _READ_LIMIT
    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            _Hooks(self),
            hostname=desk.host,
            ident=GREETING,
            enable_SMTPUTF8=True,
            data_size_limit=desk.intake.most_bytes,
            tls_context=desk.tls,
            timeout=_GUEST_SECONDS,
            loop=loop,
        )
        self.command_size_limits = collections.defaultdict(lambda: _COMMAND_LIMIT, AUTH=_AUTH_LIMIT)
        self._desk = desk
        self._client: Client | None = None
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._is_counted = False
        self._ends_at = 0.0  # of the loop's clock
        self.is_receiving = False  # a message, up to the reply to it

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or begin again after STARTTLS: what the client said before does not count (RFC 3207 section 4.2)."""
        self._client = None
        if not self._is_counted:
            self._is_counted = True
            self._desk.sessions.add(self)
        super().connection_made(transport)
        self._admit_by_address()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the session."""
        self._desk.sessions.discard(self)
        super().connection_lost(error)

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
        if self._desk.is_stopping or len(self._desk.sessions) > self._desk.most_connections:
            self.close(STOPPING if self._desk.is_stopping else BUSY)
            return
        await super()._handle_client()

    async def handle_exception(self, error: Exception) -> str:
        """Report a bug, and let the client try again. A client that does not take the certificate is none."""
        if isinstance(error, TLSSetupException):  # aiosmtpd closes the connection
            self._desk.report_refused_tls(str(self._address), str(error.__cause__ or ""))
            return ""
        self._desk.report_bug(error)
        return _BUG.wire.decode().rstrip()

    async def say(self, reply: Reply) -> None:
        """Send a reply."""
        self._writer.write(reply.wire)
        if isinstance(self.transport, asyncio.Transport) and self.transport.get_write_buffer_size():
            self._reset_timeout(_REPLY_SECONDS)
            await self._writer.drain()
        self._reset_timeout(_CLIENT_SECONDS if self._client else _GUEST_SECONDS)

    @property
    def _address(self) -> Address:
        peer = self.session.peer if self.session else None
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0]) if peer else ipaddress.ip_address("127.0.0.1")
        return getattr(address, "ipv4_mapped", None) or address

    @property
    def _tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection, None where there is none."""
        found = self.transport.get_extra_info("ssl_object") if self.transport else None
        return found if isinstance(found, ssl.SSLObject) else None

    def _may_log_in(self) -> bool:
        """Whether a password is taken: over TLS, or from this machine."""
        return self._tls is not None or self._address.is_loopback

    def _admit_by_address(self) -> None:
        """Let a device in that cannot log in, from an address that was named for it."""
        address = self._address
        known = self._desk.current.clients.values()
        self._client = next((client for client in known if client.comes_from(address)), None)

    # greeting and login

    def offered(self) -> list[str]:
        """What EHLO offers now."""
        tls = ["STARTTLS"] if self.tls_context and self._tls is None else []
        login = ["AUTH PLAIN LOGIN"] if self._may_log_in() else []
        size = f"SIZE {self._desk.intake.most_bytes}"
        return [self.hostname, "PIPELINING", size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", *tls, *login]

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """Upgrade to TLS, once."""
        if self._tls is not None:
            await self.say(BAD_SEQUENCE)
        else:
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """Check a login by PLAIN or LOGIN."""
        mechanism, _blank, initial = (arg or "").partition(" ")
        if self.session is None or not self.session.host_name:
            await self.say(BAD_SEQUENCE)
        elif not self._may_log_in():
            await self.say(_TLS_FIRST)
        elif mechanism.upper() not in ("PLAIN", "LOGIN"):
            await self.say(Reply(504, "5.5.4", "Known are PLAIN and LOGIN"))
        elif self.session.authenticated or self._sender is not None:
            await self.say(BAD_SEQUENCE)
        else:
            given = await (self._plain(initial) if mechanism.upper() == "PLAIN" else self._login(initial))
            if given is not None:
                await self._log_in(*given)

    async def _plain(self, initial: str) -> tuple[str, Secret] | None:
        """The name and password of PLAIN (RFC 4616), None where an error has been replied to."""
        data = _decoded(initial) if initial else await self.challenge_auth("")
        if data is MISSING:
            return None
        parts = (data or b"").decode("utf-8", "surrogateescape").split("\0")
        if len(parts) != len(("authzid", "authcid", "passwd")):
            await self.say(Reply(501, "5.5.2", "PLAIN needs a user name and a password"))
            return None
        return parts[1], Secret(parts[2])

    async def _login(self, initial: str) -> tuple[str, Secret] | None:
        """The name and password of LOGIN, which devices know that know nothing else."""
        name = _decoded(initial) if initial else await self.challenge_auth(self.AuthLoginUsernameChallenge)
        if name is None:
            await self.say(Reply(501, "5.5.2", "The user name is not base64"))
            return None
        if name is MISSING:
            return None
        password = await self.challenge_auth(self.AuthLoginPasswordChallenge)
        if password is MISSING:
            return None
        texts = [part.decode("utf-8", "surrogateescape") for part in (name, password)]
        return texts[0], Secret(texts[1])

    async def _log_in(self, name: str, password: Secret) -> None:
        self._reset_timeout(_CLIENT_SECONDS)
        answer = await self._desk.logins.check(self._desk.current.clients, self._address, name, password)
        if answer.verdict is Verdict.TOO_MANY:
            self._desk.report_login(name, str(self._address), answer.verdict)
            self.close(_TOO_MANY_WRONG)
            return
        if answer.client is None or self.session is None:
            self._desk.report_login(name, str(self._address), Verdict.WRONG)
            await self.say(_WRONG)
            return
        tls = self._tls
        if tls is not None and tls.version() in _OLD_TLS and not answer.client.old_tls:
            await self.say(Reply(535, "5.7.11", "This client has to use TLS 1.2 or newer"))
            return
        self._client = answer.client
        self.session.authenticated = True
        await self.say(Reply(235, "2.7.0", "Logged in"))

    # the envelope

    def _set_rset_state(self) -> None:
        super()._set_rset_state()  # type: ignore[no-untyped-call]  # aiosmtpd's
        self._sender, self._recipients = None, []

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        """Begin a mail."""
        await self.say(self._mail_reply(arg or ""))

    def _mail_reply(self, words: str) -> Reply:  # noqa: PLR0911  one return for each refusal
        if self.session is None or not self.session.host_name or self._sender is not None:
            return BAD_SEQUENCE
        client = self._known_client()
        if client is None:
            return _LOGIN_FIRST
        path = path_of("FROM", words)
        if isinstance(path, Reply):
            return path
        if refusal := self._refused_parameters(path):
            return refusal
        if path.address and not client.may_send_from(path.address):
            return self._desk.intake.not_its_sender(client)
        try:
            self._desk.intake.check_sender(client, path.address)
        except SmtpsetupError as error:
            return refusal_of(error)
        if self._desk.intake.has_used_up(client):
            return self._desk.intake.used_up(client)
        self._sender = path.address
        return OK

    def _known_client(self) -> Client | None:
        """The client as it is now, None where it was removed or has a new password meanwhile."""
        client = self._client
        now = self._desk.current.clients.get(client.name) if client else None
        return now if client and now and now.password_hash == client.password_hash else None

    def _refused_parameters(self, path: Path) -> Reply | None:
        size = path.parameters.get("SIZE", "0")
        if not (size.isascii() and size.isdigit() and len(size) <= len(str(2**63))):
            return BAD_SYNTAX
        if path.parameters.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):
            return Reply(555, "5.5.4", "BODY can be 7BIT or 8BITMIME")
        if int(size) > self._desk.intake.most_bytes:
            return _TOO_LARGE
        return None if self._desk.intake.has_room(int(size)) else NO_ROOM

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        """Add a recipient."""
        await self.say(self._recipient_reply(arg or ""))

    def _recipient_reply(self, words: str) -> Reply:  # noqa: PLR0911  as above
        client = self._known_client()
        if client is None:
            return _LOGIN_FIRST
        if self._sender is None:
            return BAD_SEQUENCE
        path = path_of("TO", words)
        if isinstance(path, Reply):
            return path
        if not path.address:
            return BAD_SYNTAX
        if len(self._recipients) >= MOST_RECIPIENTS:
            return Reply(452, "4.5.3", "Too many recipients")
        try:
            self._desk.intake.check_recipient(client, self._sender, path.address)
        except SmtpsetupError as error:
            return refusal_of(error)
        self._recipients.append(path.address)
        return OK

    # the message

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """Read the message, and reply once it is on the disk."""
        client = self._known_client()
        if arg:
            await self.say(BAD_SYNTAX)
        elif client is None:
            await self.say(_LOGIN_FIRST)
        elif self._sender is None:
            await self.say(BAD_SEQUENCE)
        elif not self._recipients:
            await self.say(Reply(554, "5.5.1", "No valid recipients"))
        else:
            self.is_receiving = True
            try:
                reply = await self._received(client, self._sender, tuple(self._recipients))
                self._set_rset_state()
                await self.say(reply)
            finally:
                self.is_receiving = False
            if self._desk.is_stopping:
                self.close(STOPPING)

    async def _received(self, client: Client, sender: str, recipients: tuple[str, ...]) -> Reply:
        """Take the message. What cannot be kept is read to its end all the same (RFC 5321 section 4.2.5)."""
        await self.say(Reply(354, "", "End the message with a line that is a single dot"))
        incoming = self._desk.intake.begin()
        refusal: Reply | None = None
        try:
            async for piece in content(self._reader):
                self._reset_timeout(_CONTENT_SECONDS)
                if refusal is None:
                    try:
                        await incoming.add(piece)
                    except TooLargeError:
                        refusal = _TOO_LARGE
                        incoming.close()
                    except NoRoomError:
                        refusal = NO_ROOM
                        incoming.close()
            self._reset_timeout(_CLIENT_SECONDS)
            return refusal or await self._desk.intake.accept(client, sender, recipients, incoming)
        finally:
            incoming.close()

    async def _is_no_client(self, _arg: str | None) -> None:
        """End a session that is a request of a web browser, so that no page can make it send mail."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


for _verb in _HTTP:
    setattr(RelaySession, f"smtp_{_verb}", RelaySession._is_no_client)  # noqa: SLF001  its own
logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's, which would show what clients send


class _Hooks:
    """What aiosmtpd asks its handler."""

    def __init__(self, session: RelaySession) -> None:
        self._session = session

    async def handle_EHLO(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, _responses: list[str]
    ) -> list[str]:
        """The reply to EHLO."""
        session.host_name = hostname
        offered = self._session.offered()
        return [f"250{'-' if number < len(offered) else ' '}{line}" for number, line in enumerate(offered, start=1)]


def _decoded(text: str) -> bytes | None:
    """The bytes of base64, `=` standing for none (RFC 4954 section 4); None where it is not base64."""
    try:
        return b"" if text == "=" else b64decode(text.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        return None

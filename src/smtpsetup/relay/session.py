"""A client's session: who may send what, and the message on its way into the outbox (RFC 6409, 4954, 3207)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Secret
from smtpsetup.relay.connection import STOPPING, Connection
from smtpsetup.relay.content import content
from smtpsetup.relay.intake import NoRoomError, TooLargeError, refusal_for
from smtpsetup.relay.login import Verdict
from smtpsetup.submission.smtp_syntax import BAD_SEQUENCE, BAD_SYNTAX, OK, Reply, path_of

if TYPE_CHECKING:
    import asyncio

    from aiosmtpd.smtp import SMTP, Envelope, Session

    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.server import Desk
    from smtpsetup.submission.smtp_syntax import Path

MOST_RECIPIENTS = 1000
_NO_SUCCESS = 400
_CLIENT_SECONDS = 300.0  # for what the relay itself does (RFC 5321 section 4.5.3.2.7)
_CONTENT_SECONDS = 180.0  # for a piece of the message (RFC 5321 section 4.5.3.2.5)
_OLD_TLS = ("TLSv1", "TLSv1.1")

_LOGIN_FIRST = Reply(530, "5.7.0", N_("Log in first: this relay takes mail from its own clients only"))
_TLS_FIRST = Reply(538, "5.7.11", "Use STARTTLS first: a password is not taken in clear text over a network")
_TOO_LARGE = Reply(552, "5.3.4", N_("The message is too large for this relay"))
_NO_ROOM = Reply(452, "4.3.1", N_("The disk is full; try again later"))
_WRONG = Reply(535, "5.7.8", "The user name or password is wrong")
_TOO_MANY_WRONG = Reply(421, "4.7.0", "Too many wrong logins; try again in a minute")


class RelaySession(Connection):
    """A session: what its client may send, and the message."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, *, begins_with_tls: bool = False) -> None:
        super().__init__(desk, loop, _Hooks(self), begins_with_tls=begins_with_tls)
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._refused: set[str] = set()  # the kinds of refusals that have been reported

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or begin again after STARTTLS."""
        super().connection_made(transport)
        self._admit_by_address()

    def _may_log_in(self) -> bool:
        """Whether a password is taken: over TLS, or from this machine."""
        return self._tls is not None or self.is_local

    def _admit_by_address(self) -> None:
        """Let a device in that cannot log in, from an address that was named for it."""
        address = self._address
        if address is None:
            return
        known = [client for client in self._desk.current.clients.values() if client.comes_from(address)]
        # of overlapping networks the narrowest counts, and of equal ones the first by name
        self.client = max(known, key=lambda client: client.closeness(address), default=None)

    # greeting and login

    def offered(self) -> list[str]:
        """What EHLO offers now."""
        tls = ["STARTTLS"] if self.tls_context and self._tls is None else []
        login = ["AUTH PLAIN LOGIN"] if self._may_log_in() else []
        size = f"SIZE {self._desk.intake.most_bytes}"
        return [self.hostname, "PIPELINING", size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", *tls, *login]

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  aiosmtpd's name
        """Check a login by PLAIN or LOGIN."""
        mechanism, _blank, initial = (arg or "").partition(" ")
        if self.session is None or not self.session.host_name:
            await self.say(BAD_SEQUENCE)
        elif not self._may_log_in():
            await self.say(_TLS_FIRST)
        elif mechanism.upper() not in ("PLAIN", "LOGIN"):
            await self.say(Reply(504, "5.5.4", "Only PLAIN and LOGIN are supported"))
        elif self.session.authenticated or self._sender is not None:
            await self.say(BAD_SEQUENCE)
        else:
            given = await (self._plain(initial) if mechanism.upper() == "PLAIN" else self._login(initial))
            if given is not None:
                await self._log_in(*given)

    async def _plain(self, initial: str) -> tuple[str, Secret] | None:
        """The name and password of PLAIN (RFC 4616), None where an error has been replied to."""
        data = await self.given_in_base64(initial, "")
        if data is None:
            return None
        parts = data.decode("utf-8", "surrogateescape").split("\0")
        if len(parts) != len(("authzid", "authcid", "passwd")):
            await self.say(Reply(501, "5.5.2", "PLAIN needs a user name and a password"))
            return None
        return parts[1], Secret(parts[2])

    async def _login(self, initial: str) -> tuple[str, Secret] | None:
        """The name and password of LOGIN, which devices know that know nothing else."""
        name = await self.given_in_base64(initial, "Username:")
        password = await self.given_in_base64("", "Password:") if name is not None else None
        if name is None or password is None:
            return None
        return name.decode("utf-8", "surrogateescape"), Secret(password.decode("utf-8", "surrogateescape"))

    async def _log_in(self, name: str, password: Secret) -> None:
        self._reset_timeout(_CLIENT_SECONDS)
        address = self._address
        if address is None:
            self._stop()
        self._desk.current.refresh()
        answer = await self._desk.logins.check(self._desk.current.clients, address, name, password)
        if answer.verdict is Verdict.TOO_MANY:
            if self._desk.logins.is_to_be_told(address):
                self._desk.report_login(name, address, answer.verdict)
            self.close(_TOO_MANY_WRONG)
            self._stop()
        if answer.client is None or self.session is None:
            self._desk.report_login(name, address, Verdict.WRONG)
            await self.say(_WRONG)
            return
        tls = self._tls
        if tls is not None and tls.version() in _OLD_TLS and not answer.client.old_tls:
            await self.say(Reply(535, "5.7.11", "This client has to use TLS 1.2 or newer"))
            return
        self.client = answer.client
        self.session.authenticated = True
        await self.say(Reply(235, "2.7.0", "Logged in"))

    async def _tell(self, reply: Reply) -> None:
        """Send a reply about a mail; the first of each kind that is no success is reported, too."""
        kind = f"{reply.code} {reply.status}"
        if reply.code >= _NO_SUCCESS and kind not in self._refused:
            self._refused.add(kind)
            self._desk.report_refusal(self.client, self.peer, reply)
        await self.say(reply)

    # the envelope

    def _set_rset_state(self) -> None:
        super()._set_rset_state()  # type: ignore[no-untyped-call]  # aiosmtpd's
        self._sender, self._recipients = None, []

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        """Begin a mail."""
        await self._tell(self._mail_reply(arg or ""))

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
            return refusal_for(error)
        if self._desk.intake.counts.has_used_up(client):
            return self._desk.intake.used_up(client)
        self._sender = path.address
        return OK

    def _known_client(self) -> Client | None:
        """The client as it is now, None where it was removed or has a new password meanwhile."""
        client = self.client
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
        return None if self._desk.intake.has_room(int(size)) else _NO_ROOM

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802  aiosmtpd's name
        """Add a recipient."""
        await self._tell(self._recipient_reply(arg or ""))

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
            return refusal_for(error)
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
                await self._tell(reply)
            finally:
                self.is_receiving = False
            if self._desk.is_stopping:
                self.close(STOPPING)
                self._stop()

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
                        refusal = _NO_ROOM
                        incoming.close()
            self._reset_timeout(_CLIENT_SECONDS)
            return refusal or await self._desk.intake.accept(client, sender, recipients, incoming)
        finally:
            incoming.close()


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

"""SMTP with Python's own smtplib, only for comparison: `smtpsetup test --transport smtplib`.

smtplib connects, starts TLS and reads the greeting in one call, so that these are one stage here. Its replies are
cleaned and masked before they are shown.
"""

from __future__ import annotations

import smtplib
import ssl
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.failure import Failure, Kind, Refused, Reply, StageResult, TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security, Stage, StageStatus, TransportKind
from smtpsetup.message.delivery import Outcome
from smtpsetup.net import tls
from smtpsetup.net.masks import Masks
from smtpsetup.net.stages import failure_from
from smtpsetup.sending.transports.smtp import policy_for, proxy_for
from smtpsetup.smtp import sasl
from smtpsetup.smtp.wire import clean_reply

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.message.delivery import Delivery
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.sending.conditions import Conditions

_OK = 2  # the first digit decides (RFC 5321 section 4.3.2)


class SmtplibTransport:
    """The account's server over Python's smtplib."""

    has_envelope = True

    def planned_stages(self, account: Account, *, login_only: bool) -> tuple[Stage, ...]:
        """The stages of `Transport.planned_stages` that smtplib distinguishes."""
        starttls = (Stage.STARTTLS,) if account.server.security is Security.STARTTLS else ()
        login = () if account.auth is Auth.NONE else (Stage.AUTH,)
        mail = (Stage.MAIL, Stage.RCPT, *(() if login_only else (Stage.DATA,)))
        return (Stage.CONNECT, Stage.EHLO, *starttls, *login, *mail, Stage.QUIT)

    def session(self, account: Account, conditions: Conditions) -> SmtplibSession:
        """See `Transport.session`. smtplib speaks SMTP alone, and knows no proxy."""
        if account.transport is not TransportKind.SMTP or proxy_for(account):
            raise SmtpsetupError(
                "config.invalid",
                _("Python's smtplib cannot reach {server} for this account.").format(server=account.server),
                causes=(_("It speaks SMTP over a direct connection only."),),
                hints=(_("Test without `--transport smtplib`."),),
            )
        return SmtplibSession(account, conditions)


class _NotAReplyError(smtplib.SMTPException):
    """A line that is no reply; its text is the whole line, of which smtplib keeps only a part."""


class _Plain(smtplib.SMTP):
    """smtplib's client, connected; `trace` gets the lines of both sides."""

    def __init__(self, account: Account, conditions: Conditions, masks: Masks, **options: Any) -> None:  # noqa: ANN401  smtplib's own
        self._masks = masks
        self._trace = conditions.trace
        server, name = account.server, parse_address(account.address).domain
        super().__init__(server.host, server.port, local_hostname=name, timeout=conditions.seconds, **options)

    def putcmd(self, cmd: str, args: str = "") -> None:
        self._tell(f"> {cmd} {args}".rstrip())
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:  # as smtplib makes it
            self.file = self.sock.makefile("rb")  # type: ignore[union-attr]
        line = self.file.peek().partition(b"\n")[0].rstrip(b"\r")
        code, message = super().getreply()
        if code < 0:
            self.close()
            raise _NotAReplyError(str(clean_reply(code, [line], self._masks).text))
        for text in message.splitlines() or [b""]:
            self._tell(f"< {clean_reply(code, [text], self._masks)}")
        return code, message

    def _tell(self, line: str) -> None:
        if self._trace:
            self._trace(self._masks.applied(line))


class _Secured(_Plain, smtplib.SMTP_SSL):
    """The same with implicit TLS."""


class SmtplibSession:
    """A session of smtplib with an account's server."""

    def __init__(self, account: Account, conditions: Conditions) -> None:
        self._account = account
        self._conditions = conditions
        self._policy = policy_for(account)
        self._masks = Masks()
        self._connected: _Plain | None = None
        self._reply: Reply | None = None
        self.tls_facts: TlsFacts | None = None
        self.capabilities: dict[str, str] = {}

    @property
    def _client(self) -> _Plain:
        if self._connected is None:
            raise RuntimeError("the session is not open")
        return self._connected

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object, /) -> None:
        if self._connected and (
            error is None or (isinstance(error, TransportError) and error.failure.kind is Kind.REPLY)
        ):
            started = time.monotonic()
            with suppress(OSError, smtplib.SMTPException):
                self._tell(Stage.QUIT, StageStatus.OK, started, reply=self._cleaned(self._client.quit()))
        self.close()

    def open(self, secret: Secret | None) -> None:
        """See `Session.open`. Raises SmtpsetupError for a password that smtplib cannot send."""
        if secret is not None:
            self._masks.add(secret.reveal())
        server = self._account.server
        with self._stage(Stage.CONNECT):
            if server.security is Security.TLS:
                self._connected = _Secured(self._account, self._conditions, self._masks, context=self._policy.context)
            else:
                self._connected = _Plain(self._account, self._conditions, self._masks)
            self._look_at_tls()
        with self._stage(Stage.EHLO):
            self._greet()
        if server.security is Security.STARTTLS:
            with self._stage(Stage.STARTTLS):
                if not self._client.has_extn("starttls"):
                    raise TransportError(Failure(Stage.STARTTLS, Kind.NOT_OFFERED, server))
                self._require(Stage.STARTTLS, self._client.starttls(context=self._policy.context))
                self._look_at_tls()
                self._greet()
        if self._account.auth is not Auth.NONE and secret is not None:
            with self._stage(Stage.AUTH):
                self._log_in(secret)

    def _greet(self) -> None:
        self._require(Stage.EHLO, self._client.ehlo())
        self.capabilities = {name.upper(): value for name, value in self._client.esmtp_features.items()}

    def _look_at_tls(self) -> None:
        if isinstance(self._client.sock, ssl.SSLSocket):
            tls.check_fingerprint(self._client.sock, self._policy)
            self.tls_facts = tls.facts(self._client.sock)

    def _log_in(self, secret: Secret) -> None:
        """Log in once, with one mechanism: smtplib's own `login` would try the next one, and may lock the account."""
        sock: socket.socket | None = self._client.sock
        if not isinstance(sock, ssl.SSLSocket) and not (sock and sock.getpeername()[0] in ("127.0.0.1", "::1")):
            raise TransportError(Failure(Stage.AUTH, Kind.UNPROTECTED, self._account.server))
        offered = tuple(self.capabilities.get("AUTH", "").upper().split())
        with_token = self._account.auth is Auth.OAUTH2
        mechanism = sasl.best_mechanism(offered, with_token=with_token)
        if mechanism is None:
            kind = Kind.NO_COMMON_MECHANISM if offered else Kind.NOT_OFFERED
            raise TransportError(Failure(Stage.AUTH, kind, self._account.server, offered=offered))
        client, username, password = self._client, self._account.username, secret.reveal()
        client.user, client.password = username, password
        responses = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login, "CRAM-MD5": client.auth_cram_md5}
        first = "" if mechanism in responses else sasl.token_response(mechanism, username, secret, self._account.server)
        try:
            answer = client.auth(
                mechanism, responses.get(mechanism, lambda challenge=None: first if challenge is None else "")
            )
        except UnicodeEncodeError as error:
            raise SmtpsetupError(
                "config.invalid",
                _(
                    "Python's smtplib can log in only with a user name and a password in ASCII, and these have other "
                    "characters."
                ),
                hints=(_("Test without `--transport smtplib`. A script of your own would need another library, too."),),
            ) from error
        self._reply = self._cleaned(answer)

    def prove_sender(self) -> None:
        """See `Session.prove_sender`."""
        address = parse_address(self._account.address).wire
        with self._stage(Stage.MAIL):
            self._require(Stage.MAIL, self._client.mail(address, self._utf8_option(address)))
        with self._stage(Stage.RCPT):
            self._require(Stage.RCPT, self._client.rcpt(address))
        self._client.rset()

    def deliver(self, delivery: Delivery, *, lockstep: bool = False) -> Outcome:  # noqa: ARG002  smtplib knows no other way
        """See `Session.deliver`."""
        envelope, message, client = delivery.envelope, delivery.message, self._client
        content = b"".join(message.chunks())
        options = [f"SIZE={len(content)}"] if client.has_extn("size") else []
        if client.has_extn("8bitmime") and not (message.is_ascii and message.header.isascii()):
            options.append("BODY=8BITMIME")
        accepted: list[str] = []
        refused: list[Refused] = []
        with self._stage(Stage.MAIL):
            options += self._utf8_option("".join((envelope.sender, *envelope.recipients)))
            self._require(Stage.MAIL, client.mail(envelope.sender, options))
        with self._stage(Stage.RCPT):
            for recipient in envelope.recipients:
                reply = self._cleaned(client.rcpt(recipient))
                if reply.code // 100 == _OK:
                    accepted.append(recipient)
                else:
                    refused.append(Refused(recipient, Failure(Stage.RCPT, Kind.REPLY, self._account.server, reply)))
            self._reply = reply
            if not accepted:
                raise TransportError(refused[0].failure, tuple(refused))
        with self._stage(Stage.DATA):
            self._hand_over(delivery, content, tuple(refused))
        if refused:
            delivery.accepted_without(tuple(entry.address for entry in refused))
        else:
            delivery.accepted()
        return Outcome(tuple(accepted), tuple(refused), self._reply)

    def _utf8_option(self, addresses: str) -> list[str]:
        """The option of MAIL where an address is not ASCII (RFC 6531). Raises TransportError."""
        if addresses.isascii():
            return []
        if not self._client.has_extn("smtputf8"):
            raise TransportError(Failure(Stage.MAIL, Kind.SMTPUTF8_NOT_OFFERED, self._account.server))
        self._client.command_encoding = "utf-8"
        return ["SMTPUTF8"]

    def _hand_over(self, delivery: Delivery, content: bytes, refused: tuple[Refused, ...]) -> None:
        """Send the message itself. Raises TransportError; SMTPDataError where DATA is refused."""
        delivery.before_dot()
        try:
            self._reply = self._cleaned(self._client.data(content))
        except smtplib.SMTPDataError:
            delivery.not_accepted()
            raise
        except (OSError, smtplib.SMTPException) as error:
            failure = Failure(
                Stage.DATA, Kind.CLOSED, self._account.server, detail="after the final dot", is_unknown=True
            )
            raise TransportError(failure, refused) from error
        if self._reply.code // 100 != _OK:
            delivery.not_accepted()
            raise self._refused(Stage.DATA, self._reply)

    def deliver_all(self, deliveries: Iterator[Delivery], *, lockstep: bool) -> Iterator[Outcome | TransportError]:
        """See `Session.deliver_all`. A message is taken once the one before it has its outcome."""
        for delivery in deliveries:
            try:
                outcome: Outcome | TransportError = self.deliver(delivery, lockstep=lockstep)
            except TransportError as error:
                if error.failure.kind is not Kind.REPLY:
                    raise
                self._client.rset()
                outcome = error
            yield outcome

    def close(self) -> None:
        """See `Session.close`."""
        if self._connected:
            self._connected.close()

    def _require(self, stage: Stage, answer: tuple[int, bytes]) -> None:
        self._reply = self._cleaned(answer)
        if self._reply.code // 100 != _OK:
            raise self._refused(stage, self._reply)

    def _refused(self, stage: Stage, reply: Reply) -> TransportError:
        return TransportError(Failure(stage, Kind.REPLY, self._account.server, reply))

    def _cleaned(self, answer: tuple[int, bytes]) -> Reply:
        return clean_reply(answer[0], answer[1].splitlines() or [b""], self._masks)

    def _tell(
        self, stage: Stage, status: StageStatus, started: float, detail: str = "", reply: Reply | None = None
    ) -> None:
        if self._conditions.on_stage:
            self._conditions.on_stage(StageResult(stage, status, (time.monotonic() - started) * 1000, detail, reply))

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage, report its result, and turn smtplib's errors into a TransportError."""
        started = time.monotonic()
        self._reply = None
        try:
            yield
        except TransportError as error:
            failed = error
        except smtplib.SMTPResponseException as error:
            raw = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
            failed = self._refused(
                Stage.GREETING if stage is Stage.CONNECT else stage, self._cleaned((error.smtp_code, raw))
            )
        except _NotAReplyError as error:
            is_greeting = stage is Stage.CONNECT
            kind = Kind.NOT_SMTP if is_greeting else Kind.PROTOCOL_ERROR
            failure = Failure(Stage.GREETING if is_greeting else stage, kind, self._account.server, detail=str(error))
            failed = TransportError(failure)
        except smtplib.SMTPServerDisconnected as error:
            failed = TransportError(
                Failure(
                    Stage.GREETING if stage is Stage.CONNECT else stage,
                    Kind.CLOSED,
                    self._account.server,
                    detail=str(error),
                )
            )
        except smtplib.SMTPNotSupportedError:
            failed = TransportError(Failure(stage, Kind.NOT_OFFERED, self._account.server))
        except OSError as error:
            failed = TransportError(failure_from(error, _stage_of(error, stage), self._account.server))
        else:
            self._tell(stage, StageStatus.OK, started, reply=self._reply)
            return
        failure = failed.failure
        self._tell(failure.stage, StageStatus.FAILED, started, failure.detail, failure.reply)
        raise failed


def _stage_of(error: OSError, stage: Stage) -> Stage:
    """The stage of a connection that an error belongs to."""
    import socket

    if isinstance(error, socket.gaierror):
        return Stage.DNS
    return Stage.TLS if isinstance(error, ssl.SSLError) else stage

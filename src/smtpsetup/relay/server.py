"""The running relay: its sockets, its sessions, and its end."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from smtpsetup.core.errors import reason_of
from smtpsetup.relay import exposure, running
from smtpsetup.relay.certificate import allow_old
from smtpsetup.relay.commit import Committer
from smtpsetup.relay.connection import STOPPING, Connection
from smtpsetup.relay.day_counts import DayCounts
from smtpsetup.relay.intake import Intake
from smtpsetup.relay.login import Logins, Verdict
from smtpsetup.relay.running import Where
from smtpsetup.relay.session import RelaySession
from smtpsetup.state import process, systemd
from smtpsetup.state.termination import ending_signals
from smtpsetup.worker import flusher
from smtpsetup.worker.flusher import Flusher

if TYPE_CHECKING:
    import ssl

    from smtpsetup.outbox.mail import NewMail
    from smtpsetup.relay.clients import Address, Client
    from smtpsetup.relay.current import Current
    from smtpsetup.submission.smtp_syntax import Reply

MOST_CONNECTIONS = 500
MOST_OF_ONE_ADDRESS = 100
"""Connections from one address of a network, so that one device cannot take all places."""
_FILES_OF_ONE = 3  # a connection's socket and the file of its message, and some for the outbox
_END_SECONDS = 20.0  # for messages that are coming in when the relay stops
_BACKLOG = 128
_WATCH_SECONDS = 2.0
_AGAIN_SECONDS = 60.0  # before the same trouble is reported again
_STUCK_SECONDS = 60.0  # after which systemd is no longer told that the relay is well


class Reporter(flusher.Reporter, Protocol):
    """Where the relay tells what happens."""

    def listening(self, place: Where) -> None:
        """It listens."""

    def taken(self, number: int, mail: NewMail) -> None:
        """A mail is in the outbox."""

    def wrong_login(self, name: str, address: str, verdict: Verdict) -> None:
        """A login was wrong."""

    def refused(self, client: str, reply: str) -> None:
        """A client, named or by its address, got this reply instead of 250."""

    def refused_tls(self, address: str, reason: str) -> None:
        """A client began TLS and did not go through with it."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The sockets to listen on, bound, and the TLS that is offered there, None for none.

    Connections to those in `with_tls` begin with it.
    """

    plain: tuple[socket.socket, ...]
    with_tls: tuple[socket.socket, ...]
    tls: ssl.SSLContext | None


@dataclass
class Desk:
    """What the sessions share."""

    host: str
    tls: ssl.SSLContext | None
    current: Current
    logins: Logins
    intake: Intake
    reporter: Reporter
    most_connections: int = MOST_CONNECTIONS
    is_stopping: bool = False
    sessions: set[Connection] = field(default_factory=set)

    def is_full(self, session: Connection) -> bool:
        """Whether there are too many connections, in all or from this session's network address."""
        if len(self.sessions) > self.most_connections:
            return True
        if session.is_local:
            return False
        return sum(other.peer == session.peer for other in self.sessions) > MOST_OF_ONE_ADDRESS

    def report_bug(self, error: Exception) -> None:
        """Report a bug, without its text, which may have content of a mail."""
        self.reporter.trouble(f"internal.bug: {type(error).__name__}")

    def report_refusal(self, client: Client | None, address: str, reply: Reply) -> None:
        """Report a reply that is no success: a first mail fails at it, and its program may not show it."""
        self.reporter.refused(client.name if client else address, reply.text)

    def report_refused_tls(self, address: str, reason: str) -> None:
        """Report a client that began STARTTLS and did not go through with it."""
        self.reporter.refused_tls(address, reason)

    def report_login(self, name: str, address: Address, verdict: Verdict) -> None:
        """Report a login that was wrong. Only a known name is told: a device may have its password in that field."""
        self.reporter.wrong_login(name if name in self.current.clients else "", str(address), verdict)


def run(current: Current, directory: str, listening: Listening, reporter: Reporter) -> None:
    """Run the relay until SIGINT, SIGTERM or SIGHUP. Raises OSError, OutboxDamagedError."""
    most_files = process.raise_file_limit()
    most = min(MOST_CONNECTIONS, most_files // _FILES_OF_ONE)
    asyncio.run(_Relay(current, directory, listening, reporter, most).run())


class _Relay:
    def __init__(
        self, current: Current, directory: str, listening: Listening, reporter: Reporter, most_connections: int
    ) -> None:
        self._directory = directory
        self._listening = listening
        self._reported: dict[str, float] = {}
        self._reporter = reporter
        ports = frozenset(int(sock.getsockname()[1]) for sock in (*listening.plain, *listening.with_tls))
        self._flusher = Flusher(current, directory, reporter, partial(exposure.refuse_itself, ports=ports))
        counts = DayCounts(directory)
        self._committer = Committer(current.config.outbox, directory, self._committed, counts)
        intake = Intake(current, directory, self._committer, counts)
        host = os.uname().nodename if hasattr(os, "uname") else "localhost"
        self._desk = Desk(host or "localhost", listening.tls, current, Logins(), intake, reporter, most_connections)

    def _committed(self, mails: list[tuple[int, NewMail]]) -> None:
        self._flusher.wake({(mail.account, mail.config) for _number, mail in mails})
        for number, mail in mails:
            self._reporter.taken(number, mail)

    async def run(self) -> None:
        """Listen, until a signal comes."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._report_loop)
        stop = asyncio.Event()
        for number in ending_signals():
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, stop.set)
        servers = await self._listen(loop)
        try:
            self._flusher.start()
            self._begin()
            watching = asyncio.create_task(self._watch())
            await stop.wait()
            watching.cancel()
        finally:
            systemd.notify("STOPPING=1")
            await self._end(servers)

    def _report_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Report what the event loop has met, such as too many open files; each text once a minute."""
        text, now = str(context.get("message", "")), time.monotonic()
        if now - self._reported.get(text, float("-inf")) > _AGAIN_SECONDS:
            self._reported[text] = now
            error = context.get("exception")
            self._reporter.trouble(f"{text} ({reason_of(error) if isinstance(error, OSError) else error!r:.200})")

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Server]:
        sockets = [(sock, False) for sock in self._listening.plain] + [
            (sock, True) for sock in self._listening.with_tls
        ]
        return [
            await loop.create_server(
                partial(RelaySession, self._desk, loop, begins_with_tls=begins_with_tls), sock=sock, backlog=_BACKLOG
            )
            for sock, begins_with_tls in sockets
        ]

    def _begin(self) -> None:
        """Say that the relay listens: to systemd, to `relay --status`, and to whoever looks."""
        listening = self._listening
        host, port = listening.plain[0].getsockname()[:2]
        tls_port = listening.with_tls[0].getsockname()[1] if listening.with_tls else 0
        place = Where(str(host), int(port), int(tls_port), listening.tls is not None, is_running=True)
        running.write(self._directory, place)
        systemd.notify("READY=1")
        self._reporter.listening(place)

    async def _watch(self) -> None:
        """Tell systemd's watchdog that all parts move; allow old TLS as long as a client needs it."""
        watchdog = systemd.watchdog_seconds()
        was_old = False
        while True:
            is_old = any(client.old_tls for client in self._desk.current.clients.values())
            if self._listening.tls and is_old != was_old:
                allow_old(self._listening.tls, is_allowed=is_old)
                was_old = is_old
            still = max(time.monotonic() - self._flusher.alive_at, self._committer.busy_seconds)
            if watchdog and still < _STUCK_SECONDS:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(min(_WATCH_SECONDS, watchdog / 2 or _WATCH_SECONDS))

    async def _end(self, servers: list[asyncio.Server]) -> None:
        """Take no further mail; finish what is coming in and what is being sent."""
        self._desk.is_stopping = True
        for server in servers:
            server.close()
        receiving = [session.task for session in self._desk.sessions if session.is_receiving and session.task]
        for session in list(self._desk.sessions):
            if not session.is_receiving:
                session.close(STOPPING)
        if receiving:
            await asyncio.wait(receiving, timeout=_END_SECONDS)
        for session in list(self._desk.sessions):
            session.close(STOPPING)
        self._desk.logins.close()
        self._desk.intake.close()
        self._committer.close()
        await asyncio.get_running_loop().run_in_executor(None, self._flusher.stop)


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address of this machine. Raises OSError."""
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock

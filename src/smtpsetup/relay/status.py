"""Whether a relay listens and can take mail, and what its accounts wait for."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.core.errors import reason_of
from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.opening import opened
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.relay import clients, running
from smtpsetup.relay.running import GREETING, Where

if TYPE_CHECKING:
    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.mail import Mail

_SECONDS = 5.0  # for the greeting
_FREE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """An account whose mail waits for its server or its login. Times are seconds since 1970."""

    account: str
    waiting: int
    code: str
    reply: str
    next_attempt: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """Where a relay listens, `""` for nowhere; how many clients it has and mails that wait.

    `fault` is why it can take no mail, `""` where it can.
    """

    address: str
    is_listening: bool
    fault: str
    clients: int
    waiting: int
    failed: int
    upstream: tuple[Upstream, ...]


def status(directory: str, settings: OutboxSettings) -> Status:
    """The status of the relay with that state directory. Raises SmtpsetupError, OSError.

    While a shared outbox is away, the relay takes mail all the same: then what is told is about this machine.
    """
    place = running.read(directory)
    is_listening = place.is_running and _greets(place)
    address = running.shown(place.host, place.port) if is_listening else ""
    mails: list[Mail] = []
    fault = ""
    try:
        with SqliteOutbox(directory) as outbox:
            with outbox.transaction():  # it can be written
                pass
            mails = outbox.mails()
        with suppress(SharedOutboxError):
            if settings.is_shared:
                with opened(settings, directory) as shared:
                    mails += shared.mails()
    except OutboxDamagedError as error:
        fault = f"{error.path}: outbox.damaged"
    except OSError as error:
        fault = f"{error.filename or directory}: {reason_of(error)}"
    if not fault and shutil.disk_usage(directory).free < _FREE_BYTES:
        fault = f"{directory}: {reason_of(OSError(28, 'No space left on device'))}"
    failed = sum(mail.next_attempt is None and mail.state is not MailState.SENDING for mail in mails)
    count = len(clients.load(directory))
    return Status(address, is_listening, fault, count, len(mails) - failed, failed, tuple(_upstream(mails)))


def _upstream(mails: list[Mail]) -> list[Upstream]:
    """What each account's mail waits for, where its last attempt failed."""
    by_account: dict[str, list[Mail]] = {}
    for mail in mails:
        if mail.state is MailState.WAITING and mail.last_code and mail.next_attempt is not None:
            by_account.setdefault(mail.account, []).append(mail)
    return [
        Upstream(
            name,
            len(waiting),
            waiting[-1].last_code,
            waiting[-1].last_reply,
            min((mail.next_attempt for mail in waiting if mail.next_attempt is not None), default=None),
        )
        for name, waiting in sorted(by_account.items())
    ]


def where(directory: str) -> Where:
    """Where programs reach the relay with that state directory, or would if it were started again."""
    found = running.read(directory)
    if _is_unspecified(found.host):
        return found._replace(host=running.own_address() or socket.gethostname())
    return found


def _is_unspecified(host: str) -> bool:
    """Whether this stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _greets(place: Where) -> bool:
    """Whether a relay answers there."""
    end = time.monotonic() + _SECONDS
    host = place.host
    if _is_unspecified(host):
        host = "127.0.0.1" if "." in host else "::1"
    with suppress(OSError), socket.create_connection((host, place.port), timeout=_SECONDS) as sock:
        greeting = b""
        while b"\n" not in greeting and time.monotonic() < end and (more := sock.recv(512)):
            greeting += more
        sock.sendall(b"QUIT\r\n")
        return greeting.startswith(b"220 ") and GREETING.encode() in greeting
    return False

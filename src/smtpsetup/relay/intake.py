"""From the bytes of a message to a mail in the outbox, without a word to the provider."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_CONFIG
from smtpsetup.core.i18n import N_
from smtpsetup.message import raw_header, spool
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail import NewMail
from smtpsetup.relay.commit import LARGE, UsedUpError  # what is larger is written to the disk as it comes
from smtpsetup.submission import submission
from smtpsetup.submission.smtp_syntax import Reply, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.commit import Committer
    from smtpsetup.relay.current import Current
    from smtpsetup.relay.day_counts import DayCounts
    from smtpsetup.submission.submission import Request

MOST_BYTES = 52_428_800
"""The largest message that is taken, in bytes: more than any provider of the table takes."""
_FREE_BYTES = 50_000_000  # that stay free on the disk, so that what is in the outbox can be sent
_CHECKED_EACH = 1_048_576  # bytes, after which the room on the disk is looked at again
_PREPARED_APART = 32_768  # bytes from which on a mail is prepared in a thread of its own
_PREPARERS = 4
_MOST_HOPS = 100  # RFC 5321 section 6.3 asks for at least that many


class TooLargeError(Exception):
    """The message is larger than MOST_BYTES."""


class NoRoomError(Exception):
    """The disk has no room for the message."""


class Intake:
    """Takes messages of clients into the outbox."""

    most_bytes = MOST_BYTES

    def __init__(self, current: Current, directory: str, committer: Committer, counts: DayCounts) -> None:
        self.counts = counts
        self._current = current
        self._directory = directory
        self._committer = committer
        self._host = os.uname().nodename if hasattr(os, "uname") else ""
        self._preparers = ThreadPoolExecutor(max_workers=_PREPARERS, thread_name_prefix="prepare")

    def close(self) -> None:
        """End the threads, once they have done what they had begun."""
        self._preparers.shutdown(wait=True)

    def has_room(self, size: int) -> bool:
        """Whether the disk has room for so many more bytes, kept and spooled."""
        return shutil.disk_usage(self._directory).free - 2 * size > _FREE_BYTES

    def begin(self) -> Incoming:
        """A message that is about to come."""
        return Incoming(self, self._preparers, self._directory)

    def check_sender(self, client: Client, sender: str) -> None:
        """Raise SmtpsetupError where there is no account for the client's mail."""
        submission.account_of(self._current.config, self._request(client, sender, ()))

    def check_recipient(self, client: Client, sender: str, recipient: str) -> None:
        """Raise SmtpsetupError for a name without an address, and for anything but one address."""
        submission.check_recipient(self._current.config, self._request(client, sender, ()), recipient)

    def used_up(self, client: Client) -> Reply:
        """The reply to a client that has."""
        return Reply(452, "4.7.1", f"This client may send {client.per_day} mails in 24 hours; try again later")

    def not_its_sender(self, client: Client) -> Reply:
        """The reply to a sender that the client may not use."""
        return Reply(553, "5.7.1", f"This client may send from {', '.join(client.senders)} only")

    async def accept(self, client: Client, sender: str, recipients: tuple[str, ...], incoming: Incoming) -> Reply:
        """Put a message into the outbox. Returns the reply, which is 250 once it is on the disk."""
        prepare = partial(self._prepared, client, self._request(client, sender, recipients), incoming)
        try:
            if incoming.size >= _PREPARED_APART:  # a small mail costs less to prepare than to hand to one more thread
                mail = await asyncio.get_running_loop().run_in_executor(self._preparers, prepare)
                prepare = partial(_given, mail)
            number = await self._committer.commit(prepare, incoming.size, client)
        except Exception as error:  # noqa: BLE001  `_refusal` raises what it does not know
            return self._refusal(client, error)
        return Reply(250, "2.0.0", f"Kept as number {number}; it is sent at once")

    def _refusal(self, client: Client, error: Exception) -> Reply:
        """The reply to a client whose message could not be kept. Raises what is a bug."""
        match error:
            case _NotItsSenderError():
                return self.not_its_sender(client)
            case UsedUpError():
                return self.used_up(client)
            case _TooManyHopsError():
                return Reply(554, "5.4.6", "The mail has passed too many servers already")
            case SmtpsetupError():
                return refusal_for(error)
            case OSError():
                return Reply(452, "4.3.1", "The message cannot be written to the disk; try again later")
            case OutboxDamagedError():
                return Reply(451, "4.3.0", "The outbox of the relay is damaged; try again later")
        raise error

    def _request(self, client: Client, sender: str, recipients: tuple[str, ...]) -> Request:
        return submission.Request(
            recipients,
            client.account or None,
            sender,
            "",
            from_header=False,
            user="",
            host=self._host,
            config=self._current.named,
        )

    def _prepared(self, client: Client, request: Request, incoming: Incoming) -> NewMail:
        """The corrected mail. Raises SmtpsetupError, OSError, _NotItsSenderError."""
        with incoming.in_use():
            fields, rest = raw_header.split(spool.with_crlf(incoming.chunks()))
            body = spool.Spool(rest, directory=self._directory, in_memory=LARGE)
        if sum(field.key == "received" for field in fields) > _MOST_HOPS:
            raise _TooManyHopsError
        named = submission.senders_of(fields)
        if not all(client.may_send_from(address) for address in named):
            raise _NotItsSenderError
        if client.senders and not named and not request.sender:
            request = request._replace(sender=client.senders[0])
        prepared = submission.prepared(self._current.config, request, fields, body)
        shown = (prepared.sender, prepared.delivery.envelope.sender)
        if not all(client.may_send_from(address) for address in shown if address):
            raise _NotItsSenderError
        if prepared.unreachable:
            raise next(iter(prepared.unreachable.values()))
        account, delivery = prepared.account, prepared.delivery
        return NewMail(
            account.name,
            delivery.envelope,
            delivery.message,
            delivery.message_id,
            delivery.subject,
            holds=account.hold_unknown,
            config=request.config,
            client=client.name,
            queued_at=time.time(),
        )


def refusal_for(error: SmtpsetupError) -> Reply:
    """An error as a reply in English, which most programs can show: those with 7 bits, too."""
    if error.code == "rcpt.unknown":
        return Reply(550, "5.1.1", N_("This name has no address here; use a full address"))
    if error.exit_code == EX_CONFIG:  # the client is to try again, once that is mended
        return Reply(451, "4.3.5", f"The relay cannot take it now: {error.code}")
    reply = refusal_of(error)
    if error.code == "config.address-malformed":
        return reply._replace(text="That is no mail address")
    return reply._replace(text=f"The relay cannot take it: {error.code}")


def _given(mail: NewMail) -> NewMail:
    return mail


class _TooManyHopsError(Exception):
    """The mail has passed too many servers: it goes round (RFC 5321 section 6.3)."""


class _NotItsSenderError(Exception):
    """From has an address that the client may not use."""


class Incoming:
    """A message on its way in: on the disk, but for a small one."""

    def __init__(self, intake: Intake, writers: ThreadPoolExecutor, directory: str) -> None:
        self._intake = intake
        self._writers = writers
        self._spool = spool.Spool(directory=directory, in_memory=LARGE)
        self._checked_at = 0
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._spool.size

    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]:
        """Gives the message piece by piece."""
        return self._spool.chunks

    async def add(self, piece: bytes) -> None:
        """Add a piece. Raises TooLargeError, NoRoomError."""
        size = self._spool.size + len(piece)
        if size > self._intake.most_bytes:
            raise TooLargeError
        try:
            if size <= LARGE:
                self._spool.append(piece)
                return
            if size - self._checked_at >= _CHECKED_EACH:
                self._checked_at = size
                if not self._intake.has_room(size):
                    raise NoRoomError
            # a slow disk must not hold up the other clients
            await asyncio.get_running_loop().run_in_executor(self._writers, self._append, piece)
        except OSError as error:
            raise NoRoomError from error

    def _append(self, piece: bytes) -> None:
        with self.in_use():
            self._spool.append(piece)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the file open within the block: a session may end while another thread has it. Raises OSError."""
        with self._lock:
            if self._is_closed:
                raise OSError(errno.EBADF, "the session has ended")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_unused()

    def close(self) -> None:
        """Free the memory or the file, as soon as nobody uses it."""
        with self._lock:
            self._is_closed = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_closed and not self._users:
            self._spool.close()

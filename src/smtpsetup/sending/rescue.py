"""Saving a mail that can be neither sent nor kept in the outbox to a file, on any disk that has room."""

from __future__ import annotations

import functools
import os
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.message.message import Envelope, Message


class NotKeptError(SmtpsetupError):
    """A mail could be neither sent nor kept in the outbox; `path` is the file with it, None where no disk has room."""

    needs_all_hints = True

    def __init__(
        self,
        code: str,
        reason: str,
        path: str | None,
        *,
        cause: SmtpsetupError | None = None,
        hints: tuple[str, ...] = (),
    ) -> None:
        told = _("The mail was not sent, and it could not be kept in the outbox: {reason}.").format(reason=reason)
        if path is None:
            how = _("It is not saved anywhere else either: send it again once there is room.")
        else:
            told = f"{told} " + _("It is saved in {path}.").format(path=path)
            how = _("Send it from there later: `smtpsetup-sendmail -t -i < {path}`.").format(path=shlex.quote(path))
        super().__init__(code, told, causes=(cause.message,) if cause else (), hints=(how, *hints))
        self.path = path
        self._again = functools.partial(NotKeptError, code, reason, cause=cause, hints=hints)

    def saved_in(self, path: str) -> NotKeptError:
        """The same error for a mail that is in this file."""
        return self._again(path)


def _resent(envelope: Envelope) -> bytes:
    """Header fields that keep the envelope of a saved mail: Resent-From and Resent-Bcc, which is never sent.

    The last field ends their block, so that older Resent- fields of the mail itself are not read as recipients
    (RFC 5322 section 3.6.6).
    """
    sender = f"Resent-From: {envelope.sender}\r\n" if envelope.sender else ""
    named = ", ".join(
        "".join(char if char.isprintable() or "\ud800" <= char <= "\udfff" else " " for char in one)
        for one in envelope.recipients
    )
    recipients = f"Resent-Bcc: {named}\r\n" if envelope.recipients else ""
    return f"{sender}{recipients}X-Saved-By: smtpsetup\r\n".encode("utf-8", "surrogateescape")


def saved(message: Message, envelope: Envelope) -> str | None:
    """Save a mail, with its recipients in Resent-Bcc, synced to disk. Returns its path, None for no room."""
    import tempfile  # rarely needed

    from smtpsetup.state import files

    for directory in _directories():
        path = ""
        try:
            private_dir.become_owner_of(directory)
            if directory == paths.state_dir():
                private_dir.check(directory)
            handle, path = tempfile.mkstemp(prefix="smtpsetup-unsent-", suffix=".eml", dir=directory)
            with os.fdopen(handle, "wb") as file:
                file.write(_resent(envelope))
                for chunk in message.chunks():
                    file.write(chunk)
                file.flush()
                files.sync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.unlink(path)
        else:
            return path
    return None


def _directories() -> Iterator[str]:
    """Where a mail can be saved, the best place first: what survives a restart, then the rest; never `/`."""
    shared = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108  mkstemp makes a file that nobody else can open
    for directory in (paths.state_dir(), os.path.expanduser("~"), os.environ.get("TMPDIR"), *shared):
        if directory and os.path.realpath(directory) != "/":
            yield directory

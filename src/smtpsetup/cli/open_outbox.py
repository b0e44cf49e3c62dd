"""Opening the outbox for a command, with errors that say what to do."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.sqlite import reserve, snapshot
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.setup import outbox_errors
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.outbox.store import Outbox


def state_directory() -> str:
    """The directory that holds the outbox. Raises SmtpsetupError where HOME is not set."""
    directory = paths.state_dir()
    if directory is None:
        raise SmtpsetupError(
            "config.invalid",
            _("It is not known where your outbox is: HOME is not set."),
            hints=(_("Set HOME, or name the directory in SMTPSETUP_STATE_DIR."),),
        )
    return directory


@contextmanager
def open_outbox(*, is_durable: bool = True, is_for_sending: bool = False) -> Iterator[Outbox]:
    """The outbox; one opened for sending may use the reserve of a full disk.

    Raises SmtpsetupError (exit code 74) where it cannot be used.
    """
    directory = state_directory()
    is_full = is_for_sending and reserve.is_needed(directory) and reserve.give(directory)
    try:
        with SqliteOutbox(directory, is_durable=is_durable) as opened:
            if is_full:
                opened.be_frugal()
            yield opened
        if is_for_sending:
            reserve.keep(directory)
    except OutboxDamagedError as error:
        raise outbox_errors.damaged(error) from error
    except private_dir.UnsafePathError as error:
        raise outbox_errors.untrusted_path(error, exit_code=EX_IOERR) from error
    except OSError as error:
        raise outbox_errors.unavailable(error.filename or directory, directory, error) from error


@contextmanager
def open_to_read() -> Iterator[Outbox]:
    """The outbox or, where the disk is full or read-only, a copy of it. Raises as `open_outbox`."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_outbox())
        except SmtpsetupError as error:
            if not (snapshot.is_read_only(state_directory()) or reserve.is_needed(state_directory())):
                raise
            try:
                opened = stack.enter_context(snapshot.copied(state_directory()))
            except (OSError, OutboxDamagedError):
                raise error from None
        yield opened

"""Opening the outbox for a command, with errors that say what to do."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from smtpsetup.cli.state import tell
from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.outbox.opening import opened
from smtpsetup.outbox.sqlite import reserve, snapshot
from smtpsetup.setup import outbox_errors
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.config.outbox_settings import OutboxSettings
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
def open_outbox(
    settings: OutboxSettings, *, is_durable: bool = True, is_for_sending: bool = False, accounts: Iterable[str] = ()
) -> Iterator[Outbox]:
    """The outbox; one opened for sending may use the reserve of a full disk.

    A shared one gets what this machine has kept for it first; `accounts` are those whose sent mail is counted there.
    Raises SmtpsetupError (exit code 74, or 75 and 78 for a shared one) where it cannot be used.
    """
    directory = state_directory()
    if settings.is_shared:
        with _open_shared(settings, directory, accounts, is_durable=is_durable) as shared:
            yield shared
        return
    is_full = is_for_sending and reserve.is_needed(directory) and reserve.give(directory)
    with _told(directory):
        with opened(settings, directory, is_durable=is_durable) as outbox:
            if is_full:
                outbox.be_frugal()
            yield outbox
        if is_for_sending:
            reserve.keep(directory)


@contextmanager
def _open_shared(
    settings: OutboxSettings, directory: str, accounts: Iterable[str], *, is_durable: bool
) -> Iterator[Outbox]:
    from smtpsetup.outbox.hand_on import count_here, hand_on  # only for a shared outbox
    from smtpsetup.outbox.postgresql.store import PostgresqlOutbox

    with _told(directory):
        try:
            with PostgresqlOutbox(settings, directory, is_durable=is_durable) as shared:
                fault = hand_on(directory, shared, accounts).fault
                if fault is not None:
                    tell(_not_handed_on(fault, directory).message)
                yield shared
        except SharedOutboxError as error:
            told = error.explained()
            if kept := count_here(directory):  # what a person wants to know first
                text = ngettext(
                    "{n} mail is kept on this machine meanwhile: `smtpsetup outbox list --here`.",
                    "{n} mails are kept on this machine meanwhile: `smtpsetup outbox list --here`.",
                    kept,
                )
                told.message = f"{told.message} {text.format(n=kept)}"
            raise told from error


def _not_handed_on(fault: Exception, directory: str) -> SmtpsetupError:
    """The error for mail of this machine that could not be handed on."""
    try:
        with _told(directory):
            raise fault
    except SmtpsetupError as error:
        return error


@contextmanager
def shared_errors() -> Iterator[None]:
    """Turn the errors of a shared outbox into SmtpsetupError."""
    try:
        yield
    except SharedOutboxError as error:
        raise error.explained() from error


@contextmanager
def _told(directory: str) -> Iterator[None]:
    """Turn the errors of an outbox into SmtpsetupError."""
    try:
        yield
    except OutboxDamagedError as error:
        raise outbox_errors.damaged(error) from error
    except private_dir.UnsafePathError as error:
        raise outbox_errors.untrusted_path(error, exit_code=EX_IOERR) from error
    except OSError as error:
        raise outbox_errors.unavailable(error.filename or directory, directory, error) from error


@contextmanager
def open_to_read(settings: OutboxSettings) -> Iterator[Outbox]:
    """The outbox or, where the disk is full or read-only, a copy of it. Raises as `open_outbox`."""
    with ExitStack() as stack:
        try:
            outbox = stack.enter_context(open_outbox(settings))
        except SmtpsetupError as error:
            if settings.is_shared or not (
                snapshot.is_read_only(state_directory()) or reserve.is_needed(state_directory())
            ):
                raise
            try:
                outbox = stack.enter_context(snapshot.copied(state_directory()))
            except (OSError, OutboxDamagedError):
                raise error from None
        yield outbox

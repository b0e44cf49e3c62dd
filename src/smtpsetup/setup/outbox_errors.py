"""The errors of an outbox that cannot be used, for the commands that open it and for `doctor`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from smtpsetup.core.errors import ExplainedOSError, SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.outbox.errors import OutboxDamagedError
    from smtpsetup.state.private_dir import UnsafePathError


def untrusted_path(error: UnsafePathError, *, exit_code: int | None = None) -> SmtpsetupError:
    """The error for a path that somebody else could change. `exit_code` is None for that of `config.permissions`."""
    path = error.filename
    hint = _(
        "Look at it: `ls -ld {path}`. It must belong to you or to root, and nobody else may be able to change it: "
        "`chmod go-w {path}`."
    )
    return SmtpsetupError(
        "config.permissions",
        _("{path} cannot be trusted: {reason}.").format(path=path, reason=reason_of(error)),
        hints=(hint.format(path=shlex.quote(str(path))),),
        exit_code=exit_code,
    )


def unavailable(path: str, directory: str, error: OSError) -> SmtpsetupError:
    """The error for an outbox, at `path` in the state `directory`, that cannot be read or written."""
    if isinstance(error, ExplainedOSError):
        return error.explained()
    return SmtpsetupError(
        "outbox.unavailable",
        _("The outbox {path} cannot be used: {reason}.").format(path=path, reason=reason_of(error)),
        hints=(
            _("Check the free space and the permissions there: `ls -ld {path}`.").format(path=shlex.quote(directory)),
        ),
    )


def damaged(error: OutboxDamagedError) -> SmtpsetupError:
    """The error for an outbox that is not a valid database any more."""
    return SmtpsetupError(
        "outbox.damaged",
        _("The outbox {path} is damaged.").format(path=error.path),
        causes=(_("A disk that failed or was full, or a power cut on a disk that does not keep its promises."),),
        hints=(_("Save what can be read of it: `smtpsetup outbox repair`. The damaged file is kept."),),
    )

"""Saving a mail that could be neither sent nor kept, since the calling program does not have it any more."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_IOERR, EX_USAGE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Log
from smtpsetup.message import raw_header
from smtpsetup.message.message import Envelope, Message
from smtpsetup.sending.rescue import saved as saved_in_file
from smtpsetup.state import mail_log

if TYPE_CHECKING:
    from smtpsetup.message.raw_header import Field
    from smtpsetup.message.spool import Spool
    from smtpsetup.submission.submission import Request


def saved(error: Exception, request: Request, fields: tuple[Field, ...], body: Spool) -> tuple[str, ...]:
    """Save the mail as it came. Returns the lines to report.

    A mail without recipients, or one that is in a file already, is not saved.
    """
    if isinstance(error, SmtpsetupError) and error.exit_code in (EX_USAGE, EX_IOERR):
        return ()
    in_header = raw_header.recipients_in(fields)[0] if request.from_header else []
    recipients = (*request.recipients, *in_header)
    header = raw_header.as_bytes(fields)
    if isinstance(error, raw_header.EndlessFieldError):
        header = header.removesuffix(b"\r\n")  # the rest of the header is in the body
    path = saved_in_file(Message(header, body.chunks, body.size, body.is_ascii), Envelope("", recipients))
    code = error.code if isinstance(error, SmtpsetupError) else "internal.bug"
    mail_log.append_line(
        Log.FILE,
        paths.state_dir(),
        {"recipients": ",".join(recipients), "size": body.size, "error": code, "saved": path or "nowhere"},
    )
    if path is None:
        return (_("The mail was not sent, and there is no room to save it."),)
    return (
        _("The mail was not sent; it is saved in {path}.").format(path=path),
        _("Send it from there once that is mended: `smtpsetup-sendmail -t -i < {path}`.").format(
            path=shlex.quote(path)
        ),
    )

"""What `smtpsetup-sendmail` says on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.submission.submission import RawSubmitted

_NAME = "smtpsetup-sendmail"


def say(line: str, *, name: str = _NAME) -> None:
    """Write a line, without control characters. A closed standard error is not an error."""
    from smtpsetup.core.model import plain_text

    try:
        sys.stderr.write(plain_text(f"{name}: {line}" if name else line) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        from smtpsetup.terminal.streams import silence

        silence(sys.stderr)


def trace(line: str) -> None:
    """Write a line of the conversation with the server."""
    say(line, name="")


def tell(error: SmtpsetupError) -> None:
    """Write an error: what happened, the server's reply, causes and hints."""
    reply = error.failure.reply if error.failure else None
    lines = [f"{error.message} ({error.code})", *([str(reply)] if reply else []), *error.causes]
    for number, line in enumerate("\n".join(lines).splitlines()):
        say(f"  {line}" if number else line, name="" if number else _NAME)
    for hint in error.hints:
        say(f"  -> {hint}", name="")


def report(done: RawSubmitted) -> int:
    """Write what a person has to know of a mail that was sent or kept; the exit code."""
    from smtpsetup.core.i18n import gettext as _

    for refused in done.errors:
        tell(refused)
    if not done.is_noted:
        say(_("The mail was sent, but that could not be noted in the outbox: the mail may be sent once more."))
    if done.is_waiting:
        _tell_if_nobody_flushes()
    return done.errors[0].exit_code if done.errors else 0


def _tell_if_nobody_flushes() -> None:
    """Say once a day that mail waits and no scheduler runs `outbox flush`."""
    from smtpsetup.core.i18n import gettext as _
    from smtpsetup.setup import schedule  # only where mail waits

    if schedule.claim_daily_reminder() and schedule.installed_scheduler() is None:
        say(_("Mail waits in the outbox, and nothing on this machine sends it."))
        say("  -> " + _("Have it flushed every minute: `{command}`.").format(command=schedule.how_to()), name="")

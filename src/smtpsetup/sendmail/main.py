"""`smtpsetup-sendmail`, which programs call as /usr/sbin/sendmail.

It imports neither click nor rich, so that it starts as fast as a small script.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.sendmail.options import Options

_EX_SOFTWARE = 70
_EX_INTERRUPTED = 130


def main() -> None:
    """The console script."""
    from smtpsetup.state.process import forbid_core_dumps, use_own_home
    from smtpsetup.terminal.streams import replace_closed

    replace_closed()
    forbid_core_dumps()
    use_own_home()
    try:
        sys.exit(run(sys.argv[1:], os.path.basename(sys.argv[0])))
    except KeyboardInterrupt:
        sys.exit(_EX_INTERRUPTED)


def run(arguments: list[str], name: str = "smtpsetup-sendmail") -> int:
    """Run a call of sendmail. Returns the exit code (sysexits.h)."""
    from smtpsetup.core.errors import SmtpsetupError, reason_of
    from smtpsetup.core.exit_codes import EX_IOERR, EX_USAGE
    from smtpsetup.sendmail.options import parse
    from smtpsetup.sendmail.report import say, tell

    if arguments == ["--help"]:
        sys.stdout.write(f"{_usage()}\n")
        return 0
    try:
        options = parse(arguments, name)
    except ValueError as error:
        say(str(error))
        return EX_USAGE
    try:
        return _run_mode(options)
    except SmtpsetupError as error:
        tell(error)
        return error.exit_code
    except OSError as error:
        say(f"{error.filename or ''} {reason_of(error)}")
        return EX_IOERR
    except Exception as error:  # noqa: BLE001  the boundary: a bug is reported in one line
        say(f"internal.bug: {type(error).__name__}")
        if options.is_verbose:
            import traceback

            traceback.print_tb(error.__traceback__)
        return _EX_SOFTWARE


def _refused() -> int:
    """Refuse to run on Windows: who may use which account is decided by POSIX users and owners."""
    from smtpsetup.core.exit_codes import EX_UNAVAILABLE
    from smtpsetup.core.i18n import gettext as _
    from smtpsetup.sendmail.report import say

    say(_("This program does not work on Windows, which has no sendmail. The mail was not taken."))
    say("  -> " + _("Send it with `smtpsetup send`."), name="")
    return EX_UNAVAILABLE


def _usage() -> str:
    from smtpsetup.core.i18n import gettext as _

    return _(
        "smtpsetup-sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-a ACCOUNT] [-C FILE]\n"
        "                   [-v] [--] [RECIPIENT]...\n"
        "smtpsetup-sendmail -bs | -bp | -q | -bv RECIPIENT...\n\n"
        "Sends the message on standard input, as /usr/sbin/sendmail does.\n"
        "-t takes the recipients from its header, -i lets a line with a single dot be\n"
        "part of it, -bs speaks SMTP on standard input and output, -bp lists the\n"
        "outbox, -q sends what waits there, -bv shows where mail to a name would go.\n"
        "Set an account up with `smtpsetup configure`."
    )


def _run_mode(options: Options) -> int:
    if sys.platform == "win32":
        return _refused()
    if options.mode == "i":
        return 0
    if options.mode in ("p", "q"):
        return _smtpsetup(options, {"p": "list", "q": "flush"}[options.mode])
    return {"m": _send, "s": _serve, "v": _verify}[options.mode](options)


def _smtpsetup(options: Options, command: str) -> int:
    """Run an outbox command of smtpsetup."""
    from smtpsetup.cli.main import run as run_smtpsetup
    from smtpsetup.sendmail.hand_over import named_config

    named = named_config(options) if options.config else ""
    config = ["--config", named] if named else []
    verbose = ["-v"] if options.is_verbose else []
    return run_smtpsetup([*config, "outbox", command, *verbose, "--no-input"])


def _send(options: Options) -> int:
    """Send the mail on standard input."""
    # imported before the mail is read: from its end on, the time until it is committed counts
    from smtpsetup.message import spool
    from smtpsetup.sendmail.hand_over import hand_over, request_of
    from smtpsetup.sendmail.report import report

    lines = spool.with_crlf(spool.pieces(sys.stdin.buffer))
    return report(hand_over(options, request_of(options), lines if options.ignores_dots else spool.up_to_dot(lines)))


def _serve(options: Options) -> int:
    """Take mails by SMTP on standard input and output."""
    from smtpsetup.core.exit_codes import EX_TEMPFAIL
    from smtpsetup.sendmail.hand_over import request_of
    from smtpsetup.sendmail.smtp_handler import SmtpHandler
    from smtpsetup.submission.smtp_server import SmtpServer

    server = SmtpServer(sys.stdin.buffer, sys.stdout.buffer, request_of(options).host, SmtpHandler(options))
    return 0 if server.run() else EX_TEMPFAIL


def _verify(options: Options) -> int:
    """Show where mail to each recipient would go; the exit code of the first that has no address."""
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.i18n import gettext as _
    from smtpsetup.sendmail.hand_over import config_of, request_of
    from smtpsetup.sendmail.report import say
    from smtpsetup.submission.submission import resolve

    config, _named = config_of(options)
    request = request_of(options)
    exit_code = 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for recipient in options.recipients:
        try:
            found = resolve(config, request, recipient)
        except SmtpsetupError as error:
            say(f"{recipient}... {error.message}")
            exit_code = exit_code or error.exit_code
        else:
            sys.stdout.write(
                _("{name}... goes to {addresses}").format(name=recipient, addresses=", ".join(found)) + "\n"
            )
    return exit_code

"""`smtpsetup-sendmail`, which programs call as /usr/sbin/sendmail.

It imports neither click nor rich, so that it starts as fast as a small script.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.message.raw_header import Field
    from smtpsetup.message.spool import Spool
    from smtpsetup.submission.submission import RawSubmitted

_EX_SOFTWARE = 70
_EX_INTERRUPTED = 130
# flags of other sendmails; only -b, -I (as newaliases), -oi, and those in _TEXTS and _SWITCHES have an effect here
_FLAGS = "a:b:A:B:C:d:e:f:F:h:iL:mnN:o:O:p:r:R:tvV:X:GIUE"


_TEXTS = {"-b": "mode", "-a": "account", "-C": "config", "-f": "sender", "-r": "sender", "-F": "full_name"}
_SWITCHES = {"-t": "from_header", "-i": "ignores_dots", "-v": "is_verbose"}


class Options:
    """The options of a call. `mode` is m to send, p to list, q to flush, or i (newaliases), which does nothing."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.account: str | None = None
        self.config: str | None = None
        self.sender: str | None = None
        self.full_name = ""
        self.from_header = False
        self.ignores_dots = False
        self.is_verbose = False
        self.recipients: tuple[str, ...] = ()


def main() -> None:
    """The console script."""
    from smtpsetup.state.process import forbid_core_dumps
    from smtpsetup.terminal.streams import replace_closed

    replace_closed()
    forbid_core_dumps()
    try:
        sys.exit(run(sys.argv[1:], os.path.basename(sys.argv[0])))
    except KeyboardInterrupt:
        sys.exit(_EX_INTERRUPTED)


def run(arguments: list[str], name: str = "smtpsetup-sendmail") -> int:
    """Run a call of sendmail. Returns the exit code (sysexits.h)."""
    from smtpsetup.core.errors import SmtpsetupError, reason_of
    from smtpsetup.core.exit_codes import EX_IOERR, EX_USAGE

    if arguments == ["--help"]:
        sys.stdout.write(f"{_usage()}\n")
        return 0
    try:
        options = parse(arguments, name)
    except ValueError as error:
        _say(f"smtpsetup-sendmail: {error}")
        return EX_USAGE
    try:
        return _run_mode(options)
    except SmtpsetupError as error:
        _tell(error)
        return error.exit_code
    except OSError as error:
        _say(f"smtpsetup-sendmail: {error.filename or ''} {reason_of(error)}")
        return EX_IOERR
    except Exception as error:  # noqa: BLE001  the boundary: a bug is reported in one line
        _say(f"smtpsetup-sendmail: internal.bug: {type(error).__name__}")
        if options.is_verbose:
            import traceback

            traceback.print_tb(error.__traceback__)
        return _EX_SOFTWARE


def _usage() -> str:
    from smtpsetup.core.i18n import gettext as _

    return _(
        "smtpsetup-sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-a ACCOUNT] [-C FILE]\n"
        "                   [-v] [--] [RECIPIENT]...\n"
        "smtpsetup-sendmail -bp | -q\n\n"
        "Sends the message on standard input, as /usr/sbin/sendmail does.\n"
        "-t takes the recipients from its header, -i lets a line with a single dot be\n"
        "part of it, -bp lists the outbox, -q sends what waits there.\n"
        "Set an account up with `smtpsetup configure`."
    )


def _run_mode(options: Options) -> int:
    if options.mode == "i":
        return 0
    return (
        _smtpsetup(options, {"p": "list", "q": "flush"}[options.mode]) if options.mode in ("p", "q") else _send(options)
    )


def _say(line: str) -> None:
    """Write a line to standard error, without control characters. A closed standard error is not an error."""
    from smtpsetup.core.model import plain_text

    try:
        sys.stderr.write(f"{plain_text(line)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        from smtpsetup.terminal.streams import silence

        silence(sys.stderr)


def parse(arguments: list[str], name: str) -> Options:
    """The options of a command line. Raises ValueError with a text for people."""
    import getopt

    from smtpsetup.core.i18n import gettext as _

    options = Options({"mailq": "p", "newaliases": "i"}.get(name, "m"))
    known, flushes = _without_queue_flags(arguments)
    try:
        flags, recipients = getopt.gnu_getopt(known, _FLAGS)
    except getopt.GetoptError as error:
        raise ValueError(
            _("{error}. Known are: -t -i -f -F -a -C -v -bp -q; others of sendmail's have no effect.").format(
                error=error
            )
        ) from error
    for flag, value in flags:
        if flag in _TEXTS:
            setattr(options, _TEXTS[flag], value)
        elif flag in _SWITCHES or (flag, value) == ("-o", "i"):
            setattr(options, _SWITCHES.get(flag, "ignores_dots"), True)
        elif flag == "-I":
            options.mode = "i"
    if flushes and not recipients and not options.from_header:
        options.mode = "q"
    if options.mode not in ("m", "p", "q", "i"):
        raise ValueError(_("-b{mode} is not possible: this sendmail only hands mail over.").format(mode=options.mode))
    options.recipients = tuple(recipients)
    return options


def _without_queue_flags(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without -q, and whether it was there. Its value is optional, which getopt does not support."""
    known: list[str] = []
    flushes = False
    for place, argument in enumerate(arguments):
        if argument == "--":
            return known + arguments[place:], flushes
        is_value = (
            bool(known) and len(known[-1]) == len("-f") and known[-1].startswith("-") and f"{known[-1][1]}:" in _FLAGS
        )
        if not is_value and argument.startswith("-q"):
            flushes = True
        else:
            known.append(argument)
    return known, flushes


def _smtpsetup(options: Options, command: str) -> int:
    """Run an outbox command of smtpsetup."""
    from smtpsetup.cli.main import run as run_smtpsetup

    named = _named_config(options) if options.config else ""
    config = ["--config", named] if named else []
    verbose = ["-v"] if options.is_verbose else []
    return run_smtpsetup([*config, "outbox", command, *verbose, "--no-input"])


def _send(options: Options) -> int:
    # imported before the mail is read, so that it is committed as soon as possible after its end
    from smtpsetup.config import accounts
    from smtpsetup.core.i18n import gettext as _
    from smtpsetup.sending.send_spooled import KeptError
    from smtpsetup.submission import submission

    fields, body, fault = _read(is_ended_by_dot=not options.ignores_dots)
    request = submission.Request(
        options.recipients,
        options.account,
        options.sender,
        options.full_name,
        from_header=options.from_header,
        user=_user(),
        host=_host(),
    )
    try:
        _raise(fault)
        named = _named_config(options)
        trace = _say if options.is_verbose else None
        done = submission.submit_raw(
            accounts.load_named(named), request._replace(config=named), fields, body, trace=trace
        )
    except KeptError as kept:
        if not kept.is_sent:
            _say("smtpsetup-sendmail: " + _("The mail is in the outbox."))
        raise
    except Exception as unsent:
        from smtpsetup.sendmail import rescue  # only what went wrong

        for hint in rescue.saved(unsent, request, fields, body):
            _say(f"smtpsetup-sendmail: {hint}")
        raise
    finally:
        body.close()
    return _report(done)


def _read(*, is_ended_by_dot: bool) -> tuple[tuple[Field, ...], Spool, SmtpsetupError | None]:
    """The header and the body, and an error for a mail that can be saved, but not sent."""
    from smtpsetup.message import raw_header, spool

    lines = spool.with_crlf(spool.pieces(sys.stdin.buffer))
    try:
        fields, rest = raw_header.split(spool.up_to_dot(lines) if is_ended_by_dot else lines)
    except raw_header.EndlessFieldError as error:
        return error.fields, spool.Spool(error.rest), error
    return fields, spool.Spool(rest), None


def _raise(error: SmtpsetupError | None) -> None:
    if error is not None:
        raise error


def _report(done: RawSubmitted) -> int:
    """Write to standard error what a person has to know. Returns the exit code."""
    from smtpsetup.core.i18n import gettext as _

    for refused in done.errors:
        _tell(refused)
    if not done.is_noted:
        _say(
            "smtpsetup-sendmail: "
            + _("The mail was sent, but that could not be noted in the outbox: the mail may be sent once more.")
        )
    if done.is_waiting:
        _tell_if_nobody_flushes()
    return done.errors[0].exit_code if done.errors else 0


def _tell_if_nobody_flushes() -> None:
    """Say once a day that mail waits and no scheduler runs `outbox flush`."""
    from smtpsetup.core.i18n import gettext as _
    from smtpsetup.setup import schedule  # only where mail waits

    if schedule.claim_daily_reminder() and schedule.installed_scheduler() is None:
        _say("smtpsetup-sendmail: " + _("Mail waits in the outbox, and nothing on this machine sends it."))
        _say("  -> " + _("Have it flushed every minute: `smtpsetup outbox schedule --install`."))


def _named_config(options: Options) -> str:
    """The path of the configuration that was named, `""` for the usual one.

    Raises SmtpsetupError for one that -C may not name.
    """
    from smtpsetup.config import paths

    if not options.config:
        named = os.environ.get("SMTPSETUP_CONFIG")
        return os.path.abspath(os.path.expanduser(named)) if named else ""
    # strangers may control this flag (PHP's fifth parameter of mail), and a configuration names commands to run
    own = paths.own_config_file()
    for known in (paths.system_config_file(), *([own] if own else [])):
        if os.path.realpath(options.config) == os.path.realpath(known):
            return known
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.i18n import gettext as _

    hint = _("In a script of your own, name it in the variable SMTPSETUP_CONFIG instead.")
    message = _("-C may name only this machine's configuration or your own, not {path}.").format(path=options.config)
    raise SmtpsetupError("config.permissions", message, hints=(hint,))


def _host() -> str:
    """This machine's name."""
    return os.uname().nodename if hasattr(os, "uname") else ""


def _user() -> str:
    """The caller's login name."""
    try:
        import pwd  # POSIX only

        return pwd.getpwuid(os.getuid()).pw_name.lower()
    except (ImportError, KeyError):
        return os.environ.get("LOGNAME", os.environ.get("USER", "")).lower()


def _tell(error: SmtpsetupError) -> None:
    """Write an error to standard error: what happened, the server's reply, causes and hints."""
    reply = error.failure.reply if error.failure else None
    lines = [f"smtpsetup-sendmail: {error.message} ({error.code})", *([str(reply)] if reply else []), *error.causes]
    for number, line in enumerate("\n".join(lines).splitlines()):
        _say(f"  {line}" if number else line)
    for hint in error.hints:
        _say(f"  -> {hint}")

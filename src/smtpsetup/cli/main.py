"""The group of commands, loaded one at a time, and the only place where a command's error becomes an exit code."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from smtpsetup import __version__
from smtpsetup.cli import views
from smtpsetup.cli.command import Group
from smtpsetup.cli.state import COMPLETION_VARIABLE, State, tell
from smtpsetup.core import i18n
from smtpsetup.core.errors import (
    InterruptedAfterTheDotError,
    InterruptedUnkeptError,
    SmtpsetupError,
    is_termination,
    reason_of,
)
from smtpsetup.core.exit_codes import EX_BUG, EX_DATAERR, EX_INTERRUPTED, EX_IOERR, EX_TERMINATED
from smtpsetup.core.i18n import gettext as _
from smtpsetup.state import process
from smtpsetup.terminal import streams
from smtpsetup.terminal.streams import silence

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: (module, line in the list of commands); the lines are here so that --help need not import every command
COMMANDS = {
    "identify": ("identify", _("Who runs an address's mail, and what to switch on first.")),
    "configure": ("configure", _("Set up an address: find the server, log in to prove it, save.")),
    "test": ("test_account", _("Send a real test mail, stage by stage.")),
    "send": ("send", _("Send a mail from a script.")),
    "outbox": ("outbox", _("The mail that waits: list, show, send now, drop.")),
    "relay": ("relay", _("Lend the account to programs that cannot sign in themselves.")),
    "card": ("card", _("What to enter in a program's mail settings.")),
    "explain": ("explain", _("What an error code means, and how to correct it.")),
    "help": ("help", _("How a task is done: oauth2, cron, relay, secrets.")),
    "doctor": ("doctor", _("Check everything that sending from cron needs.")),
    "providers": ("providers", _("The provider table: list it, show a row, check your own rows.")),
    "accounts": ("accounts", _("List, show and remove what is configured.")),
    "login": ("login", _("Replace an account's saved password.")),
    "logout": ("login", _("Forget an account's saved password.")),
    "completion": ("completion", _("Let the shell complete commands and names.")),
    "sandbox": ("sandbox", _("A local mail server that catches mail, for trying things out.")),
}


class LazyGroup(Group):
    """A group that imports a command only when it is used, for the start-up time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The commands in the order in which a person needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        ctx.ensure_object(State).command = cmd_name
        module = import_module(f"smtpsetup.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        _complete_help(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command to run; the error for a mistyped name suggests similar ones."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(_no_such_command(name), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """The list of commands, without importing them."""
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, line) for name, (_module, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a Tab offers for the command, without importing the commands."""
        from click.shell_completion import CompletionItem  # loaded only for a Tab

        commands = [
            CompletionItem(name, help=line) for name, (_module, line) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


def _no_such_command(name: str) -> str:
    from difflib import get_close_matches  # loaded only for errors

    text = _("No such command {name!r}.").format(name=name)
    similar = sorted(get_close_matches(name, COMMANDS))
    meant = _("Did you mean {names}?").format(names=" / ".join(similar))
    return f"{text} {meant}" if similar else text


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    help=_("Send mail from your own address: find the server, prove the settings, send from scripts."),
)
@click.option("--config", "config_option", metavar=_("FILE"), help=_("Another configuration file."))
@click.version_option(
    __version__, "-V", "--version", message="%(prog)s %(version)s", help=_("Show the version and exit.")
)
@click.pass_context
def cli(ctx: click.Context, config_option: str | None) -> None:
    """Keep --config for the command. Without a command, offer a person to begin, or show the help."""
    state = ctx.ensure_object(State)
    state.config_option = config_option
    if ctx.invoked_subcommand is None:
        if _wants_to_begin(state):
            configure = cli.get_command(ctx, "configure")
            if configure is not None:
                ctx.exit(configure.main([], prog_name="smtpsetup configure", standalone_mode=False, parent=ctx) or 0)
        click.echo(ctx.get_help(), err=True)
        ctx.exit(click.UsageError.exit_code)


def _wants_to_begin(state: State) -> bool:
    """Whether a person at a terminal who has no account yet wants to set one up."""
    if not (state.may_ask and sys.stdout.isatty()) or state.named_config:
        return False
    try:
        if state.config().accounts:
            return False
    except SmtpsetupError:  # the person may have wanted the help
        return False
    from smtpsetup.cli.ask import confirm  # loaded only where something is asked

    return confirm(_("No account is set up yet. Set one up now?"), default=True)


def _complete_help(command: click.Command) -> None:
    """Translate the placeholders of Click's usage lines; list a command with its whole help, which Click would cut."""
    command.options_metavar = _("[OPTIONS]")
    command.short_help = command.short_help or command.help
    if isinstance(command, click.Group):
        command.subcommand_metavar = _("COMMAND [ARGS]...")
        for inner in command.commands.values():
            _complete_help(inner)


_complete_help(cli)


def main() -> None:
    """The console script."""
    streams.replace_closed()
    process.forbid_core_dumps()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a character that the terminal cannot show is escaped, not a UnicodeEncodeError
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line, report its errors, and return its exit code (docs/errors.md)."""
    i18n.translate_click()
    if COMPLETION_VARIABLE in os.environ:
        from smtpsetup.cli import quick_complete  # loaded only for a Tab

        quick_complete.register()
    state = State()
    try:
        try:
            code = _run_click(arguments, state)
        except SmtpsetupError as error:
            code = _report(error, state)
        except click.ClickException as error:
            state.json = state.json or "--json" in arguments
            code = _report_usage_error(error, state)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        return _report_io_error(error, state)
    except Exception as error:  # noqa: BLE001  the boundary: a bug is reported in a sentence, never as a traceback
        if _is_caused_by_interrupt(error):
            return _report_interrupt(error, state)
        return _report(_bug(error, verbose=state.verbose), state)
    return code


def _is_caused_by_interrupt(error: BaseException | None) -> bool:
    """Whether an import turned Ctrl-C into this error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _run_click(arguments: list[str], state: State) -> int:
    undecodable = next(
        (argument for argument in arguments if any("\ud800" <= char <= "\udfff" for char in argument)), None
    )
    if undecodable is not None:
        state.json = "--json" in arguments
        shown = undecodable.encode("utf-8", "backslashreplace").decode("utf-8")
        raise SmtpsetupError(
            "config.invalid", _("The argument {text} is not text in UTF-8.").format(text=shown), exit_code=EX_DATAERR
        )
    try:
        # an exit code if a command raised click's Exit, else None
        code = cli.main(arguments, prog_name="smtpsetup", standalone_mode=False, obj=state)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        return _report_interrupt(stop, state)
    except SystemExit as stop:  # raised by Click when standard output is closed
        return EX_IOERR if stop.code else 0
    return code if isinstance(code, int) else 0


def _report_interrupt(error: BaseException, state: State) -> int:
    told = _interruption(error)
    if state.json:
        state.write_json(None, told)
    tell(told.message)
    return told.exit_code


def _interruption(error: BaseException) -> SmtpsetupError:
    """What Ctrl-C, a signal, or a "no" to a question has stopped."""
    from smtpsetup.cli.ask import DeclinedError  # loaded only where something was stopped

    causes = (error, error.__cause__ or error.__context__)
    code, text, exit_code = "connection.lost", _("Interrupted. Nothing more was changed."), EX_INTERRUPTED
    if any(isinstance(one, InterruptedAfterTheDotError) for one in causes):
        code = "data.lost-before-reply"
        text = _("Interrupted after the whole message had been sent: it may have been delivered.")
    elif is_termination(error):
        text, exit_code = _("Stopped by SIGTERM or SIGHUP. Run the same command again to go on."), EX_TERMINATED
    elif any(isinstance(one, InterruptedUnkeptError) for one in causes):
        text = _("Interrupted. The mail was not sent, and it is not kept in the outbox.")
    elif isinstance(error, DeclinedError):
        code, text = "config.invalid", _("Nothing was changed.")
    return SmtpsetupError(code, text, exit_code=exit_code)


def _report_usage_error(error: click.ClickException, state: State) -> int:
    if state.json:
        state.write_json(None, SmtpsetupError("config.invalid", error.format_message(), exit_code=error.exit_code))
    shown = io.StringIO()
    error.show(shown)
    tell(shown.getvalue().rstrip("\n"))
    return error.exit_code


def _report(error: SmtpsetupError, state: State) -> int:
    if state.json:
        state.write_json(error.result, error)
    views.errors.error(error, verbose=state.verbose)
    return error.exit_code


def _report_io_error(error: OSError, state: State) -> int:
    """Report a failed read or write on this machine; if standard output itself is closed, only the exit code tells."""
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        silence(sys.stderr)
        return EX_IOERR
    place = error.filename or _("this machine")
    report = SmtpsetupError(
        "config.invalid",
        _("Reading from or writing to {place} failed: {reason}.").format(place=place, reason=reason_of(error)),
        hints=(_("Check the free space and the permissions there. What was saved before is still as it was."),),
        exit_code=EX_IOERR,
    )
    try:
        return _report(report, state)
    except OSError:
        silence(sys.stdout)
        return EX_IOERR


def _bug(error: Exception, *, verbose: bool) -> SmtpsetupError:
    """The error for a bug in smtpsetup: its place, without the exception's text, which may hold secrets."""
    import traceback  # loaded only for bugs

    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('smtpsetup/')[2]}:{frames[-1].lineno}" if frames else "?"
    trail = (
        " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
        if verbose
        else ""
    )
    return SmtpsetupError(
        "internal.bug",
        _("There is a mistake in smtpsetup itself ({name} at {place}).").format(name=type(error).__name__, place=place),
        causes=(trail,) if trail else (),
        hints=(
            _(
                "Report it where you got smtpsetup, with the command you ran, this message and the version {version}."
            ).format(version=__version__),
        ),
        exit_code=EX_BUG,
    )

"""`smtpsetup outbox work`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.open_outbox import open_outbox, state_directory
from smtpsetup.cli.output_lines import OutputLines
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.i18n import gettext as _
from smtpsetup.render import relay_lines
from smtpsetup.state import systemd
from smtpsetup.state.termination import ending_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.accounts import Config
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.sending.send_one import SendResult

_WATCH_SECONDS = 2.0
_STUCK_SECONDS = 60.0  # after which systemd is no longer told that the worker is well
_LAST_SECONDS = 1.0


@click.command(
    "work",
    help=_(
        "Send what is in the outbox as it comes, until Ctrl-C or SIGTERM. On as many machines as you like, where they "
        "share an outbox; each needs the accounts under the same names."
    ),
    short_help=_("Send what is in the outbox as it comes, until told to stop."),
)
@click.option("--install", is_flag=True, help=_("Set it up as a systemd service of this user."))
@click.option("--uninstall", is_flag=True, help=_("Stop that service and remove it; the mail stays."))
@click.option("--print", "prints_only", is_flag=True, help=_("With --install: print the unit and change nothing."))
@common_options
def work_command(state: State, install: bool, uninstall: bool, prints_only: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Run a worker, or set one up."""
    if install and uninstall:
        raise click.UsageError(_("Give --install or --uninstall, not both."))
    if prints_only and not install:
        raise click.UsageError(_("--print is for --install."))
    if install:
        _install(state, prints_only=prints_only)
    elif uninstall:
        _uninstall(state)
    else:
        _work(state)


def _install(state: State, *, prints_only: bool) -> None:
    from smtpsetup.worker import unit  # needed for this option only

    own = state.config()
    planned = unit.plan(own.accounts.values(), own.outbox, config=state.config_option)
    if not prints_only:
        unit.install(planned)
    view = {"installed": not prints_only, "files": {planned.path: planned.content}}
    if prints_only:
        state.output(lambda: view, lambda: click.echo(f"# {planned.path}\n{planned.content}", nl=False))
        return
    text = _("Done: the worker runs, and starts with your session. See it: `{command}`.")
    command = f"systemctl --user status {unit.NAME}"
    state.output(lambda: view, lambda: views.human.say(text.format(command=command)))


def _uninstall(state: State) -> None:
    from smtpsetup.worker import unit  # as above

    removed = unit.uninstall()
    text = _("The worker is stopped and removed.") if removed else _("No worker was set up.")
    state.output(lambda: {"removed": removed}, lambda: views.human.say(text))


def _work(state: State) -> None:
    from smtpsetup.worker.current import CurrentConfig
    from smtpsetup.worker.flusher import Flusher

    directory = state_directory()
    reporter = _Reporter(state)
    current = CurrentConfig(state.named_config, directory, reporter.trouble)
    _check(current.config)
    stop = threading.Event()
    for number in ending_signals():
        signal.signal(number, lambda *_signal: stop.set())
    flusher = Flusher(current, directory, reporter)
    flusher.start()
    systemd.notify("READY=1")
    if sys.stderr.isatty():
        reporter.trouble(_("Sending what is in the outbox. Stop with Ctrl-C."))
    try:
        watchdog = systemd.watchdog_seconds()
        while not stop.wait(min(_WATCH_SECONDS, watchdog / 2 or _WATCH_SECONDS)):
            if watchdog and time.monotonic() - flusher.alive_at < _STUCK_SECONDS:
                systemd.notify("WATCHDOG=1")
    finally:
        systemd.notify("STOPPING=1")
        flusher.stop()
        reporter.finish()


def _check(config: Config) -> None:
    """Raise SmtpsetupError where the outbox cannot be used, so that a mistake is told at once.

    A worker that is started while the database is away goes on: it comes back.
    """
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.exit_codes import EX_TEMPFAIL

    try:
        with open_outbox(config.outbox, accounts=config.accounts):
            pass
    except SmtpsetupError as error:
        if error.exit_code != EX_TEMPFAIL or sys.stderr.isatty():
            raise


class _Reporter:
    """Tells what happens: a line for each mail on standard output, and what is wrong on standard error."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._out, self._err = OutputLines(sys.stdout), OutputLines(sys.stderr)

    @property
    def trace(self) -> Callable[[str], None] | None:
        """See `flusher.Reporter`, as for the rest."""
        return self._err.put if self._state.verbose else None

    def result(self, mail: Mail, result: SendResult) -> None:
        shown: str | dict[str, object] = (
            views.relay_json.result(mail, result) if self._state.json else relay_lines.result(mail, result)
        )
        self._out.put(shown if isinstance(shown, str) else views.json.document(self._state.command, shown))

    def trouble(self, text: str) -> None:
        self._err.put(relay_lines.trouble(text))

    def finish(self) -> None:
        """Write what is left to be written."""
        with suppress(OSError):
            self._out.finish(_LAST_SECONDS)
            self._err.finish(_LAST_SECONDS)

"""`smtpsetup sandbox`."""

from __future__ import annotations

import errno
import queue
import signal
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, common_options
from smtpsetup.cli.types import PORT
from smtpsetup.errors import EX_IOERR, SmtpsetupError
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.sandbox.server import CaughtMail, Sandbox, SandboxFacts


@click.command(
    "sandbox", help=_("Run a mail server on this machine that catches mail: with TLS, STARTTLS and a login, to try things out without an account.")
)
@click.option("--tls-port", type=PORT, metavar="PORT", help=_("The port with TLS from the start (default: a free one)."))
@click.option("--starttls-port", type=PORT, metavar="PORT", help=_("The port with STARTTLS (default: a free one)."))
@click.option("--keep", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help=_("Save each mail there as an .eml file."))
@click.option("--count", metavar="N", type=click.IntRange(min=1), help=_("Stop after this many mails."))
@common_options
@click.pass_obj
def sandbox_command(state: State, tls_port: int | None, starttls_port: int | None, keep: Path | None, count: int | None) -> None:
    """Parse, run, show each mail as it comes."""
    from smtpsetup.sandbox.server import Sandbox  # asyncio, aiosmtpd and trustme, only here

    caught: queue.SimpleQueue[CaughtMail] = queue.SimpleQueue()
    with ExitStack() as stack:
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpsetup-sandbox-")))
        sandbox = Sandbox(directory, keep=keep is not None, ports=(tls_port or 0, starttls_port or 0), on_mail=caught.put)
        facts = stack.enter_context(_listening(sandbox))
        signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))  # so that it cleans up after either
        _show_ready(state, facts)
        with suppress(KeyboardInterrupt):  # the way to stop it
            seen = 0
            while count is None or seen < count:
                _show_mail(state, caught.get())
                seen += 1


@contextmanager
def _listening(sandbox: Sandbox) -> Iterator[SandboxFacts]:
    """The sandbox, or an error that says which port is taken."""
    try:
        facts = sandbox.__enter__()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SmtpsetupError(
            "config.invalid",
            _("Another program listens on that port already."),
            hints=(_("Choose other ports, or leave `--tls-port` and `--starttls-port` out: then free ones are taken."),),
            exit_code=EX_IOERR,
        ) from error
    try:
        yield facts
    finally:
        sandbox.__exit__(None, None, None)


def _show_ready(state: State, facts: SandboxFacts) -> None:
    if state.json:
        state.write_json(views.json.sandbox(facts))
        return
    views.human.sandbox(facts)


def _show_mail(state: State, mail: CaughtMail) -> None:
    if state.json:
        state.write_json(views.json.caught_mail(mail))
        return
    views.human.caught_mail(mail)

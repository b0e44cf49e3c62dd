"""`smtpsetup sandbox`."""

from __future__ import annotations

import errno
import queue
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, WholeNumberType, common_options
from smtpsetup.cli.types import PORT
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.sandbox.faults import FAULTS, REHEARSALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.sandbox.fault_server import FaultServer
    from smtpsetup.sandbox.server import CaughtMail, Sandbox, SandboxFacts


@click.command(
    "sandbox",
    help=_(
        "Run a mail server on this machine that catches mail: with TLS, STARTTLS and a login, to try things out "
        "without an account."
    ),
)
@click.option(
    "--tls-port", type=PORT, metavar=_("PORT"), help=_("The port with TLS from the start (default: a free one).")
)
@click.option("--starttls-port", type=PORT, metavar=_("PORT"), help=_("The port with STARTTLS (default: a free one)."))
@click.option(
    "--keep",
    metavar=_("DIR"),
    type=click.Path(file_okay=False, path_type=Path),
    help=_("Save each mail there as an .eml file."),
)
@click.option("--count", metavar="N", type=WholeNumberType(min=1), help=_("Stop after this many mails."))
@click.option("--fault", metavar=_("CODE"), help=_("Fail in the way of this error code, to see what that looks like."))
@click.option("--list-faults", is_flag=True, help=_("List the codes that can be rehearsed, and how."))
@common_options
@click.pass_obj
def sandbox_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    tls_port: int | None,
    starttls_port: int | None,
    keep: Path | None,
    count: int | None,
    fault: str | None,
    list_faults: bool,  # noqa: FBT001  as above
) -> None:
    """Parse, run, show each mail as it comes."""
    if list_faults:
        _list_faults(state)
        return
    if fault is not None:
        _rehearse(state, fault, (tls_port or 0, starttls_port or 0))
        return
    from smtpsetup.sandbox.server import Sandbox  # asyncio, aiosmtpd and trustme, only here

    caught: queue.SimpleQueue[CaughtMail] = queue.SimpleQueue()
    with ExitStack() as stack:
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpsetup-sandbox-")))
        sandbox = Sandbox(
            directory, keep=keep is not None, ports=(tls_port or 0, starttls_port or 0), on_mail=caught.put
        )
        facts = stack.enter_context(_listening(sandbox))
        _end_when_asked()
        _show_ready(state, facts)
        with suppress(KeyboardInterrupt):  # the way to stop it
            seen = 0
            while count is None or seen < count:
                _show_mail(state, caught.get())
                seen += 1


def _list_faults(state: State) -> None:
    if state.json:
        state.write_json(views.json.faults(FAULTS, REHEARSALS))
        return
    views.sandbox.faults(FAULTS, REHEARSALS)


def _rehearse(state: State, code: str, ports: tuple[int, int]) -> None:
    """Run a server that fails, until Ctrl-C."""
    if code in REHEARSALS:
        raise click.BadParameter(
            _("No server has a part in {code}. See it with: {command}").format(code=code, command=REHEARSALS[code]),
            param_hint="--fault",
        )
    if code not in FAULTS:
        raise click.BadParameter(
            _("{code} cannot be rehearsed; `smtpsetup sandbox --list-faults` shows what can.").format(code=code),
            param_hint="--fault",
        )
    from smtpsetup.sandbox.fault_server import FaultServer  # trustme, only here

    fault = FAULTS[code]
    tls_port, starttls_port = (typed or needed for typed, needed in zip(ports, fault.ports, strict=True))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpsetup-sandbox-")))
        facts = stack.enter_context(_listening(FaultServer(directory, fault, ports=(tls_port, starttls_port))))
        _end_when_asked()
        if state.json:
            state.write_json({**views.json.sandbox(facts), "fault": code, "needs": fault.needs or None})
        else:
            views.sandbox.failing(facts, code, fault)
        with suppress(KeyboardInterrupt):  # the way to stop it
            threading.Event().wait()


def _end_when_asked() -> None:
    """Clean up after SIGTERM as after Ctrl-C, which a shell's job in the background has ignored."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@contextmanager
def _listening(sandbox: Sandbox | FaultServer) -> Iterator[SandboxFacts]:
    """The sandbox, or an error that says which port is taken."""
    try:
        facts = sandbox.__enter__()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise SmtpsetupError(
            "config.invalid",
            _("Another program listens on that port already."),
            hints=(
                _("Choose other ports, or leave `--tls-port` and `--starttls-port` out: then free ones are taken."),
            ),
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
    views.sandbox.ready(facts)


def _show_mail(state: State, mail: CaughtMail) -> None:
    if state.json:
        state.write_json(views.json.caught_mail(mail))
        return
    views.sandbox.caught_mail(mail)

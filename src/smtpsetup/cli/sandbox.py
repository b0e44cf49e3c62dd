"""`smtpsetup sandbox`."""

from __future__ import annotations

import errno
import itertools
import queue
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import by_click, fault_codes
from smtpsetup.cli.libraries import libraries_needed
from smtpsetup.cli.state import State, WholeNumberType, common_options
from smtpsetup.cli.types import PORT
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_IOERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import TransportKind
from smtpsetup.sandbox.faults import FAULTS, REHEARSALS, api_fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from smtpsetup.sandbox.fault_server import FaultServer
    from smtpsetup.sandbox.server import CaughtMail, Sandbox, SandboxFacts


@click.command(
    "sandbox",
    cls=Command,
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
@click.option(
    "--fault",
    metavar=_("CODE"),
    shell_complete=by_click(fault_codes),
    help=_("Fail in the way of this error code, to see what that looks like."),
)
@click.option(
    "--transport",
    type=click.Choice([str(kind) for kind in TransportKind]),
    help=_("With --fault: show the error as it is over SMTP, Graph or Gmail."),
)
@click.option("--list-faults", is_flag=True, help=_("List the codes that can be rehearsed, and how."))
@common_options
def sandbox_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    tls_port: int | None,
    starttls_port: int | None,
    keep: Path | None,
    count: int | None,
    fault: str | None,
    transport: str | None,
    list_faults: bool,  # noqa: FBT001  as above
) -> None:
    """Run the sandbox and show each mail that it catches."""
    if list_faults:
        state.output(
            lambda: views.sandbox_json.faults(FAULTS, REHEARSALS), lambda: views.sandbox.faults(FAULTS, REHEARSALS)
        )
        return
    if fault is not None:
        _rehearse(state, fault, transport, (tls_port or 0, starttls_port or 0))
        return
    if transport is not None:
        raise click.UsageError(_("--transport goes with --fault."))
    with _libraries_needed():
        from smtpsetup.sandbox.server import Sandbox  # loads asyncio, aiosmtpd and trustme

    caught: queue.SimpleQueue[CaughtMail] = queue.SimpleQueue()
    with ExitStack() as stack:
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpsetup-sandbox-")))
        sandbox = Sandbox(
            directory, keep=keep is not None, ports=(tls_port or 0, starttls_port or 0), on_mail=caught.put
        )
        facts = stack.enter_context(_listening(sandbox))
        _stop_on_signals()
        state.output(lambda: views.sandbox_json.sandbox(facts), lambda: views.sandbox.ready(facts))
        with suppress(KeyboardInterrupt):  # the way to stop it
            for _number in itertools.count() if count is None else range(count):
                _show_mail(state, caught.get())


def _show_mail(state: State, mail: CaughtMail) -> None:
    state.output(lambda: views.sandbox_json.caught_mail(mail), lambda: views.sandbox.caught_mail(mail))


def _rehearse(state: State, code: str, transport: str | None, ports: tuple[int, int]) -> None:
    """Run a server that fails as the error code tells, until Ctrl-C. Raises click.BadParameter."""
    if code in REHEARSALS:
        raise click.BadParameter(
            _("No server has a part in {code}. See it with: {command}").format(code=code, command=REHEARSALS[code]),
            param_hint="--fault",
        )
    fault = FAULTS.get(code) if transport in (None, TransportKind.SMTP) else api_fault(code, str(transport))
    if fault is None:
        raise click.BadParameter(
            _("{code} cannot be rehearsed; `smtpsetup sandbox --list-faults` shows what can.").format(code=code),
            param_hint="--fault",
        )
    with _libraries_needed():
        from smtpsetup.sandbox.fault_server import FaultServer  # loads trustme

    tls_port, starttls_port = (typed or needed for typed, needed in zip(ports, fault.ports, strict=True))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpsetup-sandbox-")))
        facts = stack.enter_context(_listening(FaultServer(directory, fault, ports=(tls_port, starttls_port))))
        _stop_on_signals()
        state.output(
            lambda: {**views.sandbox_json.sandbox(facts), "fault": code, "needs": fault.needs or None},
            lambda: views.sandbox.failing(facts, code, fault),
        )
        with suppress(KeyboardInterrupt):  # the way to stop it
            threading.Event().wait()


def _libraries_needed() -> AbstractContextManager[None]:
    return libraries_needed("sandbox", _("The sandbox needs the library {name}, which is not installed."))


def _stop_on_signals() -> None:
    """Let SIGTERM stop the sandbox as Ctrl-C does, and SIGINT also where a shell started it in the background."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@contextmanager
def _listening(sandbox: Sandbox | FaultServer) -> Iterator[SandboxFacts]:
    """Run the sandbox. Raises SmtpsetupError where a port is in use."""
    with ExitStack() as stack:
        try:
            facts = stack.enter_context(sandbox)
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
        yield facts

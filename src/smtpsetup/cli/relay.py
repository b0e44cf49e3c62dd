"""`smtpsetup relay`."""

from __future__ import annotations

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Group
from smtpsetup.cli.libraries import libraries_needed
from smtpsetup.cli.open_outbox import state_directory
from smtpsetup.cli.relay_clients import add_client_command, list_command, remove_command, renew_command
from smtpsetup.cli.relay_place import choose_place, system_option
from smtpsetup.cli.state import State, common_options
from smtpsetup.cli.types import PORT
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay.running import USUAL_HOST, USUAL_PORT


@click.group(
    "relay",
    cls=Group,
    invoke_without_command=True,
    help=_(
        "Lend the account to programs that cannot sign in themselves: a mail server on this machine that takes their "
        "mail, keeps it in the outbox and sends it. It runs until Ctrl-C. Add a program with `relay add-client NAME`; "
        "`smtpsetup card` shows what to enter there."
    ),
    short_help=_("Lend the account to programs that cannot sign in themselves."),
)
@click.option(
    "--host", default=USUAL_HOST, metavar=_("ADDRESS"), help=_("Where to listen (default: this machine only).")
)
@click.option("--port", default=USUAL_PORT, type=PORT, metavar=_("PORT"), help=_("The port (default: 2525)."))
@click.option("--tls", "wants_tls", is_flag=True, help=_("Offer STARTTLS, with a certificate that smtpsetup makes."))
@click.option("--tls-port", type=PORT, metavar=_("PORT"), help=_("Another port, with TLS from the start."))
@click.option("--tls-cert", metavar=_("FILE"), help=_("Offer TLS with this certificate and its chain (PEM)."))
@click.option("--tls-key", metavar=_("FILE"), help=_("The key of that certificate (PEM)."))
@click.option("--status", is_flag=True, help=_("Say whether the relay listens and can take mail; exit code 0 if so."))
@click.option("--strict", is_flag=True, help=_("With --status: fail also where an account cannot send."))
@click.option("--install", is_flag=True, help=_("Set it up as a systemd service, started by its socket."))
@click.option("--uninstall", is_flag=True, help=_("Stop that service and remove it; the mail and the clients stay."))
@click.option("--print", "prints_only", is_flag=True, help=_("With --install: print the units and change nothing."))
@system_option
@common_options
@click.pass_context
def relay_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    ctx: click.Context,
    state: State,
    host: str,
    port: int,
    wants_tls: bool,  # noqa: FBT001  as above
    tls_port: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    status: bool,  # noqa: FBT001  as above
    strict: bool,  # noqa: FBT001  as above
    install: bool,  # noqa: FBT001  as above
    uninstall: bool,  # noqa: FBT001  as above
    prints_only: bool,  # noqa: FBT001  as above
    system: bool,  # noqa: FBT001  as above
) -> None:
    """Run the relay, or say how it is."""
    if ctx.invoked_subcommand is not None:
        return
    choose_place(state, is_system=system)
    if strict and not status:
        raise click.UsageError(_("--strict goes with --status."))
    if prints_only and not install:
        raise click.UsageError(_("--print goes with --install."))
    if status:
        _show_status(state, is_strict=strict)
        return
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError(_("Give both --tls-cert and --tls-key."))
    with libraries_needed("relay", _("The relay needs the library {name}, which is not installed.")):
        from smtpsetup.cli import relay_run  # loads asyncio and aiosmtpd

    if uninstall:
        relay_run.uninstall(state, is_system=system)
        return
    options = relay_run.Options(host, port, tls_port, tls_cert, tls_key, wants_tls=wants_tls or tls_port is not None)
    if install:
        relay_run.install(state, options, is_system=system, prints_only=prints_only)
    else:
        relay_run.run(state, options)


for _command in (add_client_command, list_command, renew_command, remove_command):
    relay_command.add_command(_command)


def _show_status(state: State, *, is_strict: bool) -> None:
    """Show the status. Ends with 75 where the relay takes no mail or, with `is_strict`, where an account sends none."""
    from smtpsetup.relay.status import status  # needed for this option only

    found = status(state_directory(), state.config().outbox)
    state.output(lambda: views.relay_json.status(found), lambda: views.relay.status(found))
    if not found.is_listening or found.fault or (is_strict and (found.upstream or found.failed)):
        raise click.exceptions.Exit(EX_TEMPFAIL)

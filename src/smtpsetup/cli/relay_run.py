"""Running the relay in the foreground, or setting it up as a service."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.cli import views
from smtpsetup.cli.open_outbox import open_outbox, state_directory
from smtpsetup.cli.output_lines import OutputLines
from smtpsetup.cli.relay_place import require_account
from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_UNAVAILABLE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.relay import certificate, clients, exposure, running, server, units
from smtpsetup.relay.current import Current
from smtpsetup.relay.login import Verdict
from smtpsetup.render import relay_lines
from smtpsetup.setup import outbox_errors
from smtpsetup.state import systemd

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.outbox.mail import Mail, NewMail
    from smtpsetup.relay.certificate import CertificateFiles
    from smtpsetup.relay.running import Where
    from smtpsetup.sending.send_one import SendResult


_LAST_SECONDS = 1.0
_FIRST_FREE_PORT = 1024  # that everybody may listen on


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen, and with which TLS; `tls_cert` and `tls_key` are files, None for a certificate of our own."""

    host: str
    port: int
    tls_port: int | None
    tls_cert: str | None
    tls_key: str | None
    wants_tls: bool

    @property
    def has_tls(self) -> bool:
        """Whether TLS is offered."""
        return self.wants_tls or self.tls_cert is not None


def run(state: State, options: Options) -> None:
    """Run the relay until Ctrl-C or SIGTERM. Raises SmtpsetupError."""
    directory = state_directory()
    with open_outbox(OutboxSettings()):  # for its errors; a shared one may be away
        pass
    try:
        with running.only_one(directory):
            _run_alone(state, options, directory)
    except BlockingIOError as error:
        place = running.read(directory)
        raise SmtpsetupError(
            "config.invalid",
            _("A relay is running already, on {address}.").format(address=running.shown(place.host, place.port)),
            hints=(_("Stop it first: Ctrl-C where it runs, or `smtpsetup relay --uninstall` where it is a service."),),
            exit_code=EX_UNAVAILABLE,
        ) from error


def _run_alone(state: State, options: Options, directory: str) -> None:
    reporter = _Reporter(state)
    current = Current(state.named_config, directory, reporter.trouble)
    accounts = current.config.accounts
    require_account(state, current.config)
    given = systemd.sockets()
    hosts = [str(sock.getsockname()[0]) for sock in (*given.plain, *given.tls)] or [options.host]
    exposure.check(hosts, current.clients, has_tls=options.has_tls)
    files = _certificate(options, directory) if options.has_tls or given.tls else None
    tls = certificate.context(files) if files else None
    plain = given.plain or [_bound(options.host, options.port)]
    with_tls = given.tls or ([_bound(options.host, options.tls_port)] if options.tls_port else [])
    ports = {int(sock.getsockname()[1]) for sock in (*plain, *with_tls)}
    for account in accounts.values():
        exposure.refuse_itself(account, ports)
    reporter.certificate = certificate.fingerprint(files.certificate) if files else ""
    reporter.clients = len(current.clients)
    is_exposed = any(not exposure.is_loopback(host) for host in hosts)
    for text in exposure.warnings(current.clients, is_exposed=is_exposed):
        reporter.trouble(text)
    try:
        server.run(current, directory, server.Listening(tuple(plain), tuple(with_tls), tls), reporter)
    except OutboxDamagedError as error:
        raise outbox_errors.damaged(error) from error
    finally:
        reporter.finish()
    if not state.json and sys.stderr.isatty():
        with open_outbox(OutboxSettings()) as outbox:
            views.relay.stopped(sum(mail.next_attempt is not None for mail in outbox.mails()))


def _certificate(options: Options, directory: str) -> CertificateFiles:
    if options.tls_cert is not None and options.tls_key is not None:
        return certificate.CertificateFiles(options.tls_cert, options.tls_key)
    return certificate.made_files(directory, options.host)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound there. Raises SmtpsetupError."""
    try:
        return server.bound(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = _("Another program listens on port {port} already.").format(port=port)
            hints: tuple[str, ...] = (
                _("Choose another port, here and in your programs: `smtpsetup relay --port {port}`.").format(
                    port=port + 1
                ),
            )
        else:
            message = _("The relay cannot listen on {host}, port {port}: {reason}.").format(
                host=host, port=port, reason=reason_of(error)
            )
            hints = (_("Give an address of this machine as `--host`."),)
            if port < _FIRST_FREE_PORT:
                hints = (_("Ports below 1024 need root: take another as `--port`, such as 2525."),)
        raise SmtpsetupError("config.invalid", message, hints=hints, exit_code=EX_UNAVAILABLE) from error


def install(state: State, options: Options, *, is_system: bool, prints_only: bool) -> None:
    """Write the units of systemd and start them, or only print them. Raises SmtpsetupError."""
    config = state.config()
    require_account(state, config)
    exposure.check([options.host], clients.load(state_directory()), has_tls=options.has_tls)
    given = ("--tls-cert", options.tls_cert, "--tls-key", options.tls_key) if options.tls_cert else ()
    tls = ("--tls",) if options.wants_tls and not given else ()
    planned = units.plan(
        options.host,
        (options.port, options.tls_port),
        (*tls, *(word for word in given if word)),
        config.accounts.values(),
        config=state.config_option,
        is_system=is_system,
    )
    if not prints_only:
        units.install(planned)
    state.output(
        lambda: {"installed": not prints_only, "files": dict(planned.files)},
        lambda: views.relay.installed(planned, is_system=is_system, prints_only=prints_only),
    )


def uninstall(state: State, *, is_system: bool) -> None:
    """Stop the service and remove its units. Raises SmtpsetupError."""
    removed = units.uninstall(is_system=is_system)
    state.output(lambda: {"removed": removed}, lambda: views.relay.uninstalled(removed))


class _Reporter:
    """Tells what happens: a line for each mail on standard output, and what is wrong on standard error."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._out, self._err = OutputLines(sys.stdout), OutputLines(sys.stderr)
        self.certificate = ""
        self.clients = 0

    @property
    def trace(self) -> Callable[[str], None] | None:
        """See `server.Reporter`."""
        return self._complain if self._state.verbose else None

    def finish(self) -> None:
        """Write what is left to be written."""
        self._out.finish(_LAST_SECONDS)
        self._err.finish(_LAST_SECONDS)

    def listening(self, place: Where) -> None:
        """See `server.Reporter`, as for the rest."""
        self._state.output(
            lambda: views.relay_json.running(place, self.certificate),
            lambda: views.relay.listening(place, self.certificate, self.clients),
        )
        sys.stdout.flush()  # a journal or a file is read while the relay runs

    def taken(self, number: int, mail: NewMail) -> None:
        self._write(relay_lines.taken(number, mail) if not self._state.json else views.relay_json.taken(number, mail))

    def result(self, mail: Mail, result: SendResult) -> None:
        self._write(relay_lines.result(mail, result) if not self._state.json else views.relay_json.result(mail, result))

    def wrong_login(self, name: str, address: str, verdict: Verdict) -> None:
        self._complain(relay_lines.wrong_login(name, address, is_last=verdict is Verdict.TOO_MANY))

    def refused(self, client: str, reply: str) -> None:
        self._complain(relay_lines.refused(client, reply))

    def refused_tls(self, address: str, reason: str) -> None:
        self._complain(relay_lines.refused_tls(address, reason))

    def trouble(self, text: str) -> None:
        self._complain(relay_lines.trouble(text))

    def _write(self, shown: str | dict[str, object]) -> None:
        if isinstance(shown, str):
            self._out.put(shown)
        else:
            self._out.put(views.json.document(self._state.command, shown))

    def _complain(self, line: str) -> None:
        self._err.put(line)

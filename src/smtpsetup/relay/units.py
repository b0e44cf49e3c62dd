"""The relay as a service of systemd: sockets that start it, and the service (systemd.socket(5), systemd.exec(5))."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_UNAVAILABLE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.setup import schedule
from smtpsetup.state.systemd import TLS_NAME
from smtpsetup.worker.unit import HARDENED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smtpsetup.config.account import Account

_UNIT = "smtpsetup-relay"
_SYSTEM_DIRECTORY = "/etc/systemd/system"
_WATCHDOG_SECONDS = 120
_STOP_SECONDS = 60
_HARDENED_SYSTEM = """DynamicUser=yes
StateDirectory=smtpsetup-relay
StateDirectoryMode=0700
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictNamespaces=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
"""


@dataclass(frozen=True, slots=True)
class Units:
    """The units: each file with its content, and the commands that start them.

    `crontab` is the line that starts the same relay by cron instead.
    """

    files: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, ...], ...]
    crontab: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the units."""
        return tuple(os.path.basename(path) for path, _content in self.files)


def plan(  # noqa: PLR0913  what the command line says
    host: str, ports: tuple[int, int | None], options: tuple[str, ...], accounts: Iterable[Account], *,
    config: str | None, is_system: bool,
) -> Units:  # fmt: skip
    """The units for a relay at these ports, the second with TLS from the start; `options` are those of `relay` besides.

    `config` is the path that --config named. Raises SmtpsetupError where the service could not read a secret.
    """
    directory = _SYSTEM_DIRECTORY if is_system else _user_directory()
    sockets = {f"{_UNIT}.socket": _socket(host, ports[0], "relay")}
    if ports[1] is not None:
        sockets[f"{_UNIT}-tls.socket"] = _socket(host, ports[1], TLS_NAME)
    words = [*schedule.program_words(), "relay", *(("--system",) if is_system else ()), *options]
    if is_system:
        _check_program(words[0])
        environment = ""
    else:
        environment = schedule.unit_environment(schedule.environment(config))
    service = (
        "[Unit]\nDescription=smtpsetup relay: takes mail from programs that cannot sign in themselves\n"
        f"Requires={' '.join(sockets)}\nAfter=network.target {' '.join(sockets)}\n\n"
        f"[Service]\nType=notify\n{environment}{schedule.exec_start(shlex.join(words))}"
        f"Sockets={' '.join(sockets)}\nWatchdogSec={_WATCHDOG_SECONDS}\nTimeoutStopSec={_STOP_SECONDS}\n"
        "Restart=on-failure\nRestartSec=5\nLimitNOFILE=8192\n"
        f"{''.join(_credentials(accounts, is_system=is_system))}{HARDENED}{_HARDENED_SYSTEM if is_system else ''}\n"
        f"[Install]\nWantedBy={'multi-user.target' if is_system else 'default.target'}\n"
    )
    units = {**sockets, f"{_UNIT}.service": service}
    systemctl = ("systemctl",) if is_system else ("systemctl", "--user")
    commands = ((*systemctl, "daemon-reload"), (*systemctl, "enable", "--now", *units))
    files = tuple((os.path.join(directory, name), content) for name, content in units.items())
    places = ("--host", host, "--port", str(ports[0]), *(("--tls-port", str(ports[1])) if ports[1] else ()))
    by_cron = schedule.crontab_command(schedule.environment(config), shlex.join([*words, *places]))
    return Units(files, commands, f"@reboot {by_cron}")


def install(units: Units) -> None:
    """Write the units and start them, replacing earlier ones. Raises SmtpsetupError, OSError."""
    if not shutil.which("systemctl"):
        raise SmtpsetupError(
            "config.invalid",
            _("This machine has no systemd."),
            hints=_other_ways(units),
            exit_code=EX_UNAVAILABLE,
        )
    there = [path for path, _content in units.files if os.path.exists(path)]
    for path, content in units.files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    try:
        for command in units.commands:
            schedule.run_system_command(list(command), hints=_other_ways(units))
    except SmtpsetupError:
        for path, _content in units.files:
            if path not in there:
                os.unlink(path)
        raise


def uninstall(*, is_system: bool) -> list[str]:
    """Stop the service and remove its units. Returns their paths. Raises SmtpsetupError, OSError."""
    directory = _SYSTEM_DIRECTORY if is_system else _user_directory()
    paths = [os.path.join(directory, f"{_UNIT}{suffix}") for suffix in ("-tls.socket", ".socket", ".service")]
    there = [path for path in paths if os.path.exists(path)]
    if there:
        systemctl = ["systemctl", *([] if is_system else ["--user"])]
        names = [os.path.basename(path) for path in there]
        schedule.run_system_command([*systemctl, "disable", "--now", *names], hints=())
        for path in there:
            os.unlink(path)
        schedule.run_system_command([*systemctl, "daemon-reload"], hints=())
    return there


def _other_ways(units: Units) -> tuple[str, ...]:
    """What to do where systemd cannot start the relay."""
    return (
        _("A session of root, su or ssh may have no systemd of its own: log in as the user, and run it again."),
        _("Or let cron start the relay with the machine: `crontab -e`, and this line: `{line}`.").format(
            line=units.crontab
        ),
        _("See what would be set up: add `--print`."),
    )


def _user_directory() -> str:
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "systemd", "user")


def _socket(host: str, port: int, name: str) -> str:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return (
        f"[Unit]\nDescription=smtpsetup relay, port {port}\n\n"
        f"[Socket]\nListenStream={address}\nFileDescriptorName={name}\nService={_UNIT}.service\nNoDelay=yes\n\n"
        "[Install]\nWantedBy=sockets.target\n"
    )


def _credentials(accounts: Iterable[Account], *, is_system: bool) -> Iterator[str]:
    """The lines that give the service its secrets. Raises SmtpsetupError for a secret that it could not read."""
    for account in accounts:
        if account.secret.store is Store.SYSTEMD and account.auth is not Auth.NONE:
            name = account.secret.reference
            yield f"LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}\n"
        elif is_system and account.auth is not Auth.NONE and not _is_readable(account):
            raise _unreadable(account)


def _is_readable(account: Account) -> bool:
    """Whether the machine's service can read an account's secret."""
    path = os.path.realpath(os.path.expanduser(account.secret.reference))
    return account.secret.store is Store.COMMAND or (
        account.secret.store is Store.FILE and path.startswith(os.path.realpath(paths.SYSTEM_RELAY_DIRECTORY) + os.sep)
    )


def _unreadable(account: Account) -> SmtpsetupError:
    configure = f"sudo smtpsetup --config {paths.system_config_file()} configure {shlex.quote(account.address)}"
    if account.auth is Auth.OAUTH2:
        place = f"{paths.SYSTEM_RELAY_DIRECTORY}/{paths.file_name(account.name)}.sign-in"
        hints: tuple[str, ...] = (
            _("Sign in again, and keep the sign-in in a file that the service can read: `{command}`.").format(
                command=f"{configure} --auth oauth2 --password-file {place}"
            ),
        )
    else:
        hints = (
            _("Make it a credential of systemd: `{command}`; type the password, then Ctrl-D.").format(
                command="sudo systemd-creds encrypt --name=mail - /etc/credstore.encrypted/mail"
            ),
            _("Then let the account use it: `{command}`.").format(
                command=f"{configure} --systemd-credential mail --no-verify"
            ),
        )
    return SmtpsetupError(
        "config.invalid",
        _("The service of the machine could not read the password of {account} ({place}).").format(
            account=account.name, place=account.secret.described()
        ),
        hints=hints,
    )


def _check_program(program: str) -> None:
    """Raise SmtpsetupError for a program that only its owner can run."""
    place = os.path.realpath(program)
    while place != os.path.dirname(place):
        if not os.stat(place).st_mode & 0o001 or place in ("/home", "/root"):
            raise SmtpsetupError(
                "config.invalid",
                _("{program} belongs to one user: the service of the machine cannot run it.").format(program=program),
                hints=(
                    _("Install smtpsetup for the machine: `{command}`, or the Debian package.").format(
                        command="sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install 'smtpsetup[relay]'"
                    ),
                ),
            )
        place = os.path.dirname(place)

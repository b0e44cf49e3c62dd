"""The worker as a service of systemd for this user (systemd.service(5), systemd.exec(5))."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_CONFIG, EX_UNAVAILABLE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth
from smtpsetup.setup import schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpsetup.config.account import Account
    from smtpsetup.config.outbox_settings import OutboxSettings

NAME = "smtpsetup-worker.service"
_SYSTEMCTL = ("systemctl", "--user")
_WATCHDOG_SECONDS = 120
_STOP_SECONDS = 60
HARDENED = """NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
UMask=0077
"""
"""What a service of smtpsetup never needs to do (systemd.exec(5))."""


class Unit(NamedTuple):
    """The unit's path and content."""

    path: str
    content: str


def plan(accounts: Iterable[Account], outbox: OutboxSettings, *, config: str | None) -> Unit:
    """The unit of a worker; `config` is the path that --config named."""
    sources = [account.secret for account in accounts if account.auth is not Auth.NONE]
    sources += [source for source in (outbox.secret, outbox.key) if source]
    credentials = dict.fromkeys(source.reference for source in sources if source.store is Store.SYSTEMD)
    load = "".join(f"LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}\n" for name in credentials)
    words = [*schedule.program_words(), "outbox", "work"]
    content = (
        "[Unit]\nDescription=smtpsetup worker: sends what is in the outbox\nAfter=network.target\n\n"
        f"[Service]\nType=notify\n{schedule.unit_environment(schedule.environment(config))}"
        f"{schedule.exec_start(shlex.join(words))}"
        f"WatchdogSec={_WATCHDOG_SECONDS}\nTimeoutStopSec={_STOP_SECONDS}\nRestart=always\nRestartSec=5\n"
        f"RestartPreventExitStatus={EX_CONFIG}\n"
        f"{load}{HARDENED}\n[Install]\nWantedBy=default.target\n"
    )
    return Unit(_path(), content)


def install(unit: Unit) -> None:
    """Write the unit and start the worker, replacing an earlier one. Raises SmtpsetupError, OSError."""
    if not shutil.which("systemctl"):
        raise SmtpsetupError(
            "config.invalid", _("This machine has no systemd."), hints=_other_ways(), exit_code=EX_UNAVAILABLE
        )
    was_there = os.path.exists(unit.path)
    os.makedirs(os.path.dirname(unit.path), exist_ok=True)
    with open(unit.path, "w", encoding="utf-8") as file:
        file.write(unit.content)
    try:
        for rest in (("daemon-reload",), ("enable", NAME), ("restart", NAME)):
            schedule.run_system_command([*_SYSTEMCTL, *rest], hints=_other_ways())
    except SmtpsetupError:
        if not was_there:
            os.unlink(unit.path)
        raise


def uninstall() -> list[str]:
    """Stop the worker and remove its unit. Returns the paths that were removed. Raises SmtpsetupError, OSError."""
    if not os.path.exists(_path()):
        return []
    schedule.run_system_command([*_SYSTEMCTL, "disable", "--now", NAME], hints=())
    os.unlink(_path())
    schedule.run_system_command([*_SYSTEMCTL, "daemon-reload"], hints=())
    return [_path()]


def _other_ways() -> tuple[str, ...]:
    """What to do where systemd cannot start the worker."""
    return (
        _("A session of root, su or ssh may have no systemd of its own: log in as the user, and run it again."),
        _("Or let whatever starts your programs run this, and start it again when it ends: `{command}`.").format(
            command=shlex.join([*schedule.program_words(), "outbox", "work"])
        ),
        _("See what would be set up: add `--print`."),
    )


def _path() -> str:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "systemd", "user", NAME)

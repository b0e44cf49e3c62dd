"""Logging in as a scheduled job would, by running this program in the environment that cron gives its jobs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smtpsetup.config.secret_source import Store
from smtpsetup.core import i18n
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.setup import schedule

if TYPE_CHECKING:
    from smtpsetup.config.account import Account

CRON_PATH = "/usr/bin:/bin"
_WINDOWS = ("SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA")  # without which nothing starts, or finds its files
# 90 for the login, 60 for a password command, 60 for a token that another process renews, 25 for one of its own
_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a login. `error` is None where it worked; `result` is that of `test --json`."""

    error: SmtpsetupError | None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def failed_before_login(self) -> bool:
        """Whether the configuration or the secret could not be read."""
        return self.error is not None and self.error.code.startswith(("secret.", "config."))


def log_in_as_cron(account: Account, *, config: str | None) -> Proof:
    """Log in without a terminal, a session or the user's environment; `config` is the path that --config named.

    With OAuth2 the access token is renewed, to prove that it can be.
    """
    options = ("--login-only", "--renew-token", "--json", "--no-input")
    try:
        exit_code, output = _run([*schedule.program_words(), "test", account.name, *options], config)
        document = json.loads(output)
    except subprocess.TimeoutExpired:
        message = _("There was no answer in {n} seconds.").format(n=int(_SECONDS))
        return Proof(SmtpsetupError("secret.command-failed", message, exit_code=EX_TEMPFAIL))
    except (OSError, ValueError) as error:
        message = _("The program could not be run as cron would: {reason}.").format(reason=error)
        return Proof(SmtpsetupError("internal.bug", message))
    result = document.get("result") or {}
    if document.get("ok"):
        return Proof(None, result)
    error_view = document["error"]
    failure = SmtpsetupError(
        error_view["code"],
        error_view["message"],
        causes=tuple(error_view["causes"]),
        hints=tuple(error_view["hints"]),
        url=error_view["url"],
        exit_code=exit_code,
    )
    return Proof(failure, result)


def _run(argv: list[str], config: str | None) -> tuple[int, str]:
    """The exit code and standard output. Raises OSError, subprocess.TimeoutExpired.

    After a timeout or an interruption the program gets SIGTERM, not SIGKILL: it must be able to save a renewed token.
    """
    home = os.path.expanduser("~")
    with subprocess.Popen(  # noqa: S603  this program itself
        argv,
        env={
            "HOME": home,
            "LOGNAME": os.environ.get("LOGNAME") or os.environ.get("USER") or "",
            "PATH": CRON_PATH,
            "SHELL": "/bin/sh",
            **{name: os.environ[name] for name in _WINDOWS if name in os.environ},
            **schedule.environment(config),
            "SMTPSETUP_LANG": i18n.language(),
        },
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            output, _errors = child.communicate(timeout=_SECONDS)
        except BaseException:
            child.terminate()
            raise
        return child.returncode, output


def crontab_line(account: Account, *, config: str | None) -> str:
    """A line for a crontab that sends a mail with this account."""
    name, to = shlex.quote(account.name), shlex.quote(account.address)
    command = f"{schedule.program()} send -a {name} -s Backup {to}"
    return f"0 3 * * * echo done | {schedule.crontab_command(schedule.environment(config), command)}"


def unit(account: Account, *, config: str | None) -> str:
    """A systemd service that sends a mail with this account, and loads its credential where it has one."""
    lines = schedule.unit_environment(schedule.environment(config))
    if account.secret.store is Store.SYSTEMD:
        name = account.secret.reference
        lines += f"LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}\n"
    command = (
        f"{schedule.program()} send -a {shlex.quote(account.name)} -s Backup --body done {shlex.quote(account.address)}"
    )
    return f"[Service]\nType=oneshot\n{lines}{schedule.exec_start(command)}"


def proving_command(account: Account) -> str:
    """The command that tests an account whose password is a systemd credential."""
    name = account.secret.reference
    user = os.environ.get("LOGNAME") or os.environ.get("USER") or "root"
    properties = f"-p User={user} -p LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}"
    return f"systemd-run --wait --pipe {properties} {schedule.program()} test {shlex.quote(account.name)} --login-only"

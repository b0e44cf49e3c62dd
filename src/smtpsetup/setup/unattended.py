"""Proving that an account works where nobody sits: the same program, in the environment that cron gives it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
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
_SECONDS = (
    240.0  # the login has 90, a password command 60, a token that another process asks for 60, and one of its own 25
)


@dataclass(frozen=True, slots=True)
class Proof:
    """How a login went as cron would make it. `result` is that of `test --json`; `error` is None when it worked."""

    error: SmtpsetupError | None
    result: dict[str, Any]


def variables(config: str | None) -> dict[str, str]:
    """What a scheduled run needs in its environment beside what cron gives it."""
    return schedule.environment() | ({"SMTPSETUP_CONFIG": os.path.abspath(config)} if config else {})


def log_in_as_cron(account: Account, *, config: str | None) -> Proof:
    """Log in with nothing but HOME, LOGNAME, PATH and SHELL in the environment, no terminal and no session.

    An account that signs in with OAuth2 gets a new access token on the way: what is proved is that it can be renewed,
    too.
    """
    home = os.path.expanduser("~")
    user = os.environ.get("LOGNAME") or os.environ.get("USER") or ""
    env = {
        "HOME": home,
        "LOGNAME": user,
        "PATH": CRON_PATH,
        "SHELL": "/bin/sh",
        **variables(config),
        "SMTPSETUP_LANG": i18n.language(),
    }
    argv = [
        *shlex.split(schedule.program()),
        "test",
        account.name,
        "--login-only",
        "--renew-token",
        "--json",
        "--no-input",
    ]
    try:
        exit_code, output = _run(argv, env, home)
        document = json.loads(output)
    except subprocess.TimeoutExpired:
        return Proof(
            SmtpsetupError(
                "secret.command-failed",
                _("There was no answer in {n} seconds.").format(n=int(_SECONDS)),
                exit_code=EX_TEMPFAIL,
            ),
            {},
        )
    except (OSError, ValueError) as error:
        return Proof(
            SmtpsetupError(
                "internal.bug", _("The program could not be run as cron would: {reason}.").format(reason=error)
            ),
            {},
        )
    result = document.get("result") or {}
    if document.get("ok"):
        return Proof(None, result)
    told = document["error"]
    failed = SmtpsetupError(
        told["code"],
        told["message"],
        causes=tuple(told["causes"]),
        hints=tuple(told["hints"]),
        url=told["url"],
        exit_code=exit_code,
    )
    return Proof(failed, result)


def _run(argv: list[str], env: dict[str, str], home: str) -> tuple[int, str]:
    """The exit code and what was printed. Raises OSError, subprocess.TimeoutExpired.

    Whatever ends the wait, the program is asked to end, not killed: it may have asked for a token, and must be able to
    keep it.
    """
    with subprocess.Popen(  # noqa: S603  this program itself
        argv,
        env=env,
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
    """A line for a crontab that sends a mail with this account, as it was proved."""
    name, to = shlex.quote(account.name), shlex.quote(account.address)
    command = f"{schedule.program()} send -a {name} -s Backup {to}"
    return f"0 3 * * * echo done | {schedule.crontab_command(variables(config), command)}"


def unit(account: Account, *, config: str | None) -> str:
    """A systemd service that sends a mail with this account; with its credential, where it has one."""
    lines = schedule.unit_environment(variables(config))
    if account.secret.store is Store.SYSTEMD:
        name = account.secret.reference
        lines += f"LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}\n"
    command = (
        f"{schedule.program()} send -a {shlex.quote(account.name)} -s Backup --body done {shlex.quote(account.address)}"
    )
    return f"[Service]\nType=oneshot\n{lines}{schedule.exec_start(command)}"


def proving_command(account: Account) -> str:
    """The command that proves an account whose password only a unit of systemd can read."""
    name = account.secret.reference
    user = os.environ.get("LOGNAME") or os.environ.get("USER") or "root"
    properties = f"-p User={user} -p LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}"
    return f"systemd-run --wait --pipe {properties} {schedule.program()} test {shlex.quote(account.name)} --login-only"

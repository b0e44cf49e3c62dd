"""A secret that a command prints, such as `pass show mail` or `gpg -d`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text

_SECONDS = 60  # a person may have to touch a key or type into a pinentry
_SHOWN = 200  # characters of the command's standard error


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The first line that the command prints. Raises SmtpsetupError (`secret.command-failed`).

    It runs in the home directory, as it will from cron, without a shell and without standard input.
    """

    def failed(reason: str) -> SmtpsetupError:
        return SmtpsetupError(
            "secret.command-failed",
            _("The command that gives the password of {account} failed: {reason}.").format(
                account=account, reason=reason
            ),
            hints=(
                _("Run it yourself: `{command}`.").format(command=plain_text(reference)),
                _("It is run in your home directory and without a shell; for pipes write {shell}.").format(
                    shell='`cmd /c "…"`' if sys.platform == "win32" else "`sh -c '…'`"
                ),
            ),
        )

    try:
        command = _command(reference)
    except ValueError as error:
        raise failed(reason_of(error)) from error
    if not command:
        raise failed(_("it is empty"))
    try:
        done = subprocess.run(  # noqa: S603  the user's own command
            command, cwd=_home(), stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise failed(_("no answer in {seconds} seconds").format(seconds=_SECONDS)) from error
    except OSError as error:
        name = command if isinstance(command, str) else command[0]
        raise failed(f"{plain_text(name)}: {reason_of(error)}") from error
    if done.returncode != 0:
        said = plain_text(done.stderr.decode("utf-8", "replace").strip())[:_SHOWN]
        status = _("exit status {status}").format(status=done.returncode)
        raise failed(f"{status}: {said}" if said else status)
    try:
        line = done.stdout.decode("utf-8").partition("\n")[0]
    except UnicodeDecodeError as error:
        raise failed(_("what it printed is not UTF-8")) from error
    if sys.platform == "win32":
        line = line.removesuffix("\r")
    if not line:
        raise failed(_("it printed nothing"))
    return line


def _command(reference: str) -> list[str] | str:
    """The words of a command, as a shell splits them. Raises ValueError for a quote without its end.

    On Windows it stays one text: each program there splits its own, and a backslash is part of a path.
    """
    return reference.strip() if sys.platform == "win32" else shlex.split(reference)


def _home() -> str:
    """The home directory, or `/` for a user without one."""
    home = os.path.expanduser("~")
    return home if os.path.isdir(home) else "/"

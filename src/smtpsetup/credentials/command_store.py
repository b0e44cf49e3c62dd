"""A secret that a command prints, such as `pass show mail` or `gpg -d`."""

from __future__ import annotations

import shlex
import subprocess

from smtpsetup.errors import SmtpsetupError
from smtpsetup.i18n import gettext as _
from smtpsetup.model import plain_text

_SECONDS = 60  # a person may have to touch a key or type into a pinentry
_SHOWN = 200  # characters of the command's own complaint


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The first line that the command prints. It runs without a shell and without standard input. Raises SmtpsetupError (`secret.command-failed`)."""

    def failed(reason: str) -> SmtpsetupError:
        return SmtpsetupError(
            "secret.command-failed",
            _("The command that gives the password of {account} failed: {reason}.").format(account=account, reason=reason),
            hints=(
                _("Run it yourself: `{command}`.").format(command=plain_text(reference)),
                _("It is run without a shell; for pipes write `sh -c '…'`."),
            ),
        )

    try:
        argv = shlex.split(reference)
    except ValueError as error:
        raise failed(str(error)) from error
    if not argv:
        raise failed(_("it is empty"))
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603  the user's own command
    except subprocess.TimeoutExpired as error:
        raise failed(_("no answer in {seconds} seconds").format(seconds=_SECONDS)) from error
    except OSError as error:
        raise failed(error.strerror or str(error)) from error
    if done.returncode != 0:
        said = plain_text(done.stderr.decode("utf-8", "replace").strip())[:_SHOWN]
        status = _("exit status {status}").format(status=done.returncode)
        raise failed(f"{status}: {said}" if said else status)
    try:
        lines = done.stdout.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise failed(_("what it printed is not UTF-8")) from error
    if not lines or not lines[0]:
        raise failed(_("it printed nothing"))
    return lines[0]

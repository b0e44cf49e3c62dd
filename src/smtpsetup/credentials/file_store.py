"""A secret in a file that only its owner can read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.state import files

if TYPE_CHECKING:
    from smtpsetup.config.account import Account

_LIMIT = 65536  # bytes


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The file's content. Raises SmtpsetupError (`secret.missing`, `secret.file-permissions`)."""
    path = os.path.expanduser(reference)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        reason = _("it is a symbolic link") if error.errno == errno.ELOOP else reason_of(error)
        raise _unreadable(path, account, reason) from error
    try:
        _check(os.fstat(handle), path)
        data = os.read(handle, _LIMIT + 1)
    finally:
        os.close(handle)
    if len(data) > _LIMIT:
        raise _unreadable(path, account, _("it is too long for a password"))
    try:
        return data.decode("utf-8-sig")  # without the byte order mark that some editors write
    except UnicodeDecodeError as error:
        raise _unreadable(path, account, _("it is not UTF-8")) from error


def _unreadable(path: str, account: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "secret.missing",
        _("The file {path} with the password of {account} cannot be read: {reason}.").format(
            path=path, account=account, reason=reason
        ),
        hints=(_("Write the password into it, readable for you alone: `umask 077; cat > {path}`.").format(path=path),),
    )


def _check(info: os.stat_result, path: str) -> None:
    """Raise SmtpsetupError unless it is a regular file that only its owner, this user or root, can read."""
    if os.name != "posix":
        return
    if not stat.S_ISREG(info.st_mode):
        message, hint = _("{path} is not a regular file."), _("Put the password into a file of its own.")
    elif info.st_uid not in (0, os.geteuid()):
        message, hint = (
            _("The password file {path} belongs to another user."),
            _("Make it yours: `chown {user} {path}`."),
        )
    elif info.st_mode & 0o077:
        message, hint = (
            _("Others may read the password file {path} (mode {mode})."),
            _("Make it private: `chmod 600 {path}`."),
        )
    else:
        return
    facts = {"path": path, "user": os.geteuid(), "mode": f"{stat.S_IMODE(info.st_mode):04o}"}
    raise SmtpsetupError("secret.file-permissions", message.format(**facts), hints=(hint.format(**facts),))


def is_ours(account: Account) -> bool:
    """Whether the file holds an OAuth2 sign-in, or is a password file that smtpsetup itself made."""
    return account.oauth2 is not None or account.secret.reference == paths.own_password_file(account.name)


def write(
    reference: str,
    account: str,
    secret: Secret,
    *,
    may_prompt: bool,  # noqa: ARG001  the stores' one interface
) -> Secret | None:
    """Replace the file's content, mode 0600. Returns the previous one. Raises SmtpsetupError as `read`, OSError."""
    path = os.path.expanduser(reference)
    before = read(reference, account, may_prompt=False) if os.path.exists(path) else None
    files.write_atomically(path, secret.reveal() + "\n")
    return Secret(before.removesuffix("\n")) if before is not None else None


def delete(reference: str, account: str, *, may_prompt: bool) -> bool:  # noqa: ARG001  the stores' one interface
    """Delete the file. Returns whether there was one. Raises OSError."""
    try:
        os.unlink(os.path.expanduser(reference))
    except FileNotFoundError:
        return False
    return True

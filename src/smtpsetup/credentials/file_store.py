"""A secret in a file that only its owner can read."""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.state import files

if TYPE_CHECKING:
    from smtpsetup.config.account import Account

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # those of this system
_LIMIT = 65536  # bytes


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The file's content. Raises SmtpsetupError (`secret.missing`, `secret.file-permissions`)."""
    path = os.path.expanduser(reference)
    try:
        handle = os.open(path, os.O_RDONLY | _FLAGS)
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
    hint = _("Let smtpsetup write it: `smtpsetup login {account}`, or for a new account add `--password-stdin`.")
    return SmtpsetupError(
        "secret.missing",
        _("The file {path} with the password of {account} cannot be read: {reason}.").format(
            path=path, account=account, reason=reason
        ),
        hints=(hint.format(account=shlex.quote(account)),),
    )


def _check(info: os.stat_result, path: str) -> None:
    """Raise SmtpsetupError unless it is a regular file that only its owner, this user or root, can read."""
    if not stat.S_ISREG(info.st_mode):
        raise _refused(path, _("{path} is not a regular file."), _("Put the password into a file of its own."))
    if sys.platform == "win32":
        _check_list(path)
        return
    if info.st_uid not in (0, os.geteuid()):
        hint = _("Make it yours: `chown {user} {path}`.").format(user=os.geteuid(), path=shlex.quote(path))
        raise _refused(path, _("The password file {path} belongs to another user."), hint)
    if info.st_mode & 0o077:
        message = _("Others may read the password file {path} (mode {mode}).")
        hint = _("Make it private: `chmod 600 {path}`.").format(path=shlex.quote(path))
        raise _refused(path, message, hint, mode=f"{stat.S_IMODE(info.st_mode):04o}")


def _refused(path: str, message: str, *hints: str, mode: str = "") -> SmtpsetupError:
    """The error for a file that others may use, or that is no file; `message` has `{path}` and perhaps `{mode}`."""
    return SmtpsetupError("secret.file-permissions", message.format(path=path, mode=mode), hints=hints)


def _check_list(path: str) -> None:
    """Raise SmtpsetupError unless only this user, administrators and the system can read a file on Windows."""
    from smtpsetup.state import windows_acl  # only on its platform

    try:
        is_private = not windows_acl.others_have(path, windows_acl.READ_OR_WRITE)
    except OSError as error:
        message = _("It cannot be found out who may read the password file {path}: {reason}.").format(
            path=path, reason=reason_of(error)
        )
        raise SmtpsetupError("secret.file-permissions", message) from error
    if not is_private:
        raise _refused(path, _("Others may read the password file {path}."), windows_acl.hint(path))


def is_ours(account: Account) -> bool:
    """Whether the file holds an OAuth2 sign-in, or is a password file that smtpsetup itself made."""
    client = account.oauth2
    is_sign_in = client is not None and not client.is_app_only  # a key file is the user's
    return is_sign_in or account.secret.reference == paths.own_password_file(account.name)


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

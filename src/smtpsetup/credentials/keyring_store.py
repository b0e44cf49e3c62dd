"""The operating system's keyring, through one fixed backend of the `keyring` library.

`keyring`'s own choice depends on what is installed and on environment variables, and may be a plain-text file.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

from smtpsetup.config.secret_source import other_places
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.credentials import long_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyring.backend import KeyringBackend

    from smtpsetup.config.account import Account
    from smtpsetup.credentials.secret_service import SecretServiceTrouble

_Value = TypeVar("_Value")
_SECONDS = 10.0  # timeout of a call; then the keyring is treated as locked
_SECONDS_FOR_A_PERSON = 90.0  # timeout of a call that lets a person type the keyring's password into its own window


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The secret of an account.

    Raises SmtpsetupError (`secret.keyring-unavailable`, `secret.keyring-locked`, `secret.missing`).
    """
    try:
        value = _read(account, may_prompt=may_prompt)
    except SmtpsetupError as error:
        moved = _(
            "Or keep the password where scripts can read it: `smtpsetup login {account} --password-file FILE` (mode "
            "0600)."
        )
        error.hints = (*error.hints[:1], moved.format(account=shlex.quote(account)), *error.hints[2:])
        raise
    if value is None:
        raise SmtpsetupError(
            "secret.missing",
            _("The keyring holds no password for {account}.").format(account=account),
            causes=(
                _(
                    "It was removed, or it was saved by another user of this machine: every user has a keyring of "
                    "their own."
                ),
            ),
            hints=(_("Save it: `smtpsetup login {account}`.").format(account=shlex.quote(account)),),
        )
    return value


def _read(account: str, *, may_prompt: bool) -> str | None:
    if sys.platform not in ("win32", "darwin"):
        try:
            return _read_directly(account)
        except SmtpsetupError as error:
            if error.code != "secret.keyring-locked" or not may_prompt:
                raise
    prepare(may_prompt=may_prompt)
    return _read_by_keyring(account)


def _read_by_keyring(account: str) -> str | None:
    return _bounded(lambda: long_secrets.read(_backend(), account), _SECONDS)


def _read_directly(account: str) -> str | None:
    """Read the secret over D-Bus without `keyring`; None if there is none. Raises SmtpsetupError."""
    from smtpsetup.credentials import secret_service  # only on its platform

    _find_bus()
    address = os.environ["DBUS_SESSION_BUS_ADDRESS"]
    attributes = {"service": long_secrets.SERVICE, "username": account}
    try:
        # jeepney connects to the bus without a timeout
        found = _bounded(
            lambda: secret_service.read_secret(address, attributes), 2 * secret_service.SECONDS, on_timeout=_silent
        )
        return found.decode("utf-8", "surrogateescape")
    except secret_service.SecretServiceError as error:
        if error.trouble is secret_service.SecretServiceTrouble.ABSENT:
            return None
        if error.trouble is secret_service.SecretServiceTrouble.NOT_PLAIN:
            return _read_by_keyring(account)
        raise _error_for(error.trouble, error.detail) from error


def _error_for(trouble: SecretServiceTrouble, detail: str) -> SmtpsetupError:
    from smtpsetup.credentials.secret_service import SecretServiceTrouble  # already loaded

    if trouble is SecretServiceTrouble.LOCKED:
        return _locked()
    if trouble is SecretServiceTrouble.TIMEOUT:
        return _silent()
    if trouble is SecretServiceTrouble.NO_SERVICE:
        return _unavailable(_("no secret service, such as gnome-keyring, runs on the session bus"))
    return _unavailable(_("it refuses to give the password ({name})").format(name=detail))


def is_ours(account: Account) -> bool:  # noqa: ARG001  the stores' one interface
    """Always: no other program writes under smtpsetup's service name."""
    return True


def write(reference: str, account: str, secret: Secret, *, may_prompt: bool) -> Secret | None:  # noqa: ARG001  as above
    """Save the secret of an account and read it back. Returns the previous one. Raises SmtpsetupError."""
    value = secret.reveal()
    limit = long_secrets.WINDOWS_LIMIT if sys.platform == "win32" else None
    prepare(may_prompt=may_prompt)
    before = _read_by_keyring(account)
    _bounded(lambda: long_secrets.write(_backend(), account, value, limit), _SECONDS_FOR_A_PERSON)
    if _read_by_keyring(account) != value:
        raise _unavailable(_("what was saved could not be read back"))
    return None if before is None else Secret(before)


def delete(reference: str, account: str, *, may_prompt: bool) -> bool:  # noqa: ARG001  as above
    """Delete the secret of an account. Returns whether there was one. Raises SmtpsetupError."""
    prepare(may_prompt=may_prompt)
    if _read_by_keyring(account) is None:
        return False
    _bounded(lambda: long_secrets.delete(_backend(), account), _SECONDS)
    return True


def prepare(*, may_prompt: bool) -> None:
    """Find the session bus and unlock the keyring; it asks the person only with `may_prompt`. Raises SmtpsetupError."""
    if sys.platform in ("win32", "darwin"):
        return
    _find_bus()
    seconds = _SECONDS_FOR_A_PERSON if may_prompt else _SECONDS
    _bounded(lambda: _unlock(may_prompt=may_prompt), seconds)


def _backend() -> KeyringBackend:
    """The platform's own keyring, independent of `keyring`'s configuration file, variables and priorities."""
    if sys.platform == "win32":
        from keyring.backends.Windows import WinVaultKeyring  # only on its platform

        return WinVaultKeyring()  # type: ignore[no-untyped-call]  # keyring annotates no constructors
    if sys.platform == "darwin":
        from keyring.backends.macOS import Keyring as MacKeyring  # only on its platform

        return MacKeyring()  # type: ignore[no-untyped-call]  # as above
    from keyring.backends.SecretService import Keyring  # only on its platform

    return Keyring()  # type: ignore[no-untyped-call, unused-ignore]  # as above


def _find_bus() -> None:
    """Set DBUS_SESSION_BUS_ADDRESS to the user's bus if it is not set, as under cron and ssh. Raises SmtpsetupError."""
    if sys.platform == "win32" or os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return
    for directory in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
        path = f"{directory}/bus"
        try:
            info = os.stat(path) if directory else None
        except OSError:
            continue
        if info and stat.S_ISSOCK(info.st_mode) and info.st_uid == os.getuid():
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={path}"
            return
    raise _unavailable(_("there is no session bus"))


def _unlock(*, may_prompt: bool) -> None:
    """Raise SmtpsetupError unless the default collection exists and is unlocked.

    Only with `may_prompt` may the keyring ask the person to unlock it, or be created later.
    """
    try:
        import secretstorage  # 40 ms
        from secretstorage import exceptions
    except ModuleNotFoundError as error:  # it needs compiled code, so it is not in a zipapp
        raise _unavailable(_("the library {name} is not installed").format(name=error.name)) from error

    connection = secretstorage.dbus_init()
    try:
        collection = secretstorage.Collection(connection, "/org/freedesktop/secrets/aliases/default")
        if not collection.is_locked():
            return
        if may_prompt and not collection.unlock(timeout=_SECONDS_FOR_A_PERSON):
            return
    except exceptions.ItemNotFoundException as error:
        if may_prompt:
            return  # `keyring` creates the collection when it saves, and asks the person then
        raise _unavailable(_("it is empty and was never set up")) from error
    except TimeoutError as error:
        raise _locked() from error
    finally:
        connection.close()
    raise _locked()


def _bounded(
    action: Callable[[], _Value], seconds: float, on_timeout: Callable[[], SmtpsetupError] | None = None
) -> _Value:
    """Run an action of a keyring library with a timeout in seconds. Its errors become SmtpsetupError."""
    values: list[_Value] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(action())
        except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        timed_out = on_timeout or _locked
        raise timed_out()
    if errors:
        raise _explained(errors[0]) from errors[0]
    return values[0]


def _explained(error: BaseException) -> BaseException:
    name = type(error).__name__
    if isinstance(error, SmtpsetupError) or name == "SecretServiceError":
        return error
    if name in {"KeyringLocked", "LockedException", "PromptDismissedException"}:
        return _locked()
    if isinstance(error, ImportError):
        return _unavailable(_("the Python library for it is missing ({name})").format(name=error.name))
    if sys.platform in ("win32", "darwin"):
        return _unavailable(_("it refuses ({name})").format(name=f"{name}: {error}"))
    return _unavailable(_("no secret service answers on the session bus ({name})").format(name=name))


def _locked() -> SmtpsetupError:
    return SmtpsetupError(
        "secret.keyring-locked",
        _("The keyring is locked."),
        causes=(
            _(
                "It opens when you log in with your password; a login by ssh key, automatic login or cron does not "
                "open it."
            ),
        ),
        hints=(
            _("Log in at the desktop, or unlock it with its own program, then run the command again."),
            _("Or run the command again with the password in another place: `--password-file FILE` (mode 0600)."),
        ),
    )


def _silent() -> SmtpsetupError:
    return SmtpsetupError(
        "secret.keyring-locked",
        _("The keyring does not answer."),
        causes=(_("Its program has hung, or waits for somebody to unlock it in a window that nobody sees."),),
        hints=(
            _("Log in at the desktop and unlock it, or restart it: `systemctl --user restart gnome-keyring-daemon`."),
            _("Or run the command again with the password in another place: `--password-file FILE` (mode 0600)."),
        ),
    )


def _unavailable(reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "secret.keyring-unavailable",
        _("The keyring cannot be used: {reason}.").format(reason=reason),
        causes=(_("Servers, containers, ssh and cron have no desktop session, and the keyring is part of one."),),
        hints=(
            _(
                "On a server, let smtpsetup keep it in a file that only you can read: "
                "`--password-stdin --password-file FILE`."
            ),
            _("Or say where it is: {options}.").format(options=other_places()),
            _("At a desktop, run the command in the session there."),
        ),
    )

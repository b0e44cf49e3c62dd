"""The operating system's keyring, through the `keyring` library, with one backend chosen by name.

`keyring`'s own choice could be a plain-text file or ask several backends in turn, and which it is may change with what
else is installed or with an environment variable. Here it is the platform's secret service or nothing.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
import threading
from typing import TYPE_CHECKING, Any

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.credentials import long_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyring.backend import KeyringBackend

    from smtpsetup.config.account import Account
    from smtpsetup.credentials.secret_service import Trouble

SERVICE = "smtpsetup"
_SECONDS = 10.0  # a keyring that does not answer by then is treated as locked
_SECONDS_FOR_A_PERSON = 90.0  # to type the keyring's password into its own window


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
    value: str | None = _bounded(lambda: long_secrets.read(_backend(), SERVICE, account), _SECONDS)
    return value


def _read_directly(account: str) -> str | None:
    """The secret by way of the session bus alone; None where the keyring has none. Raises SmtpsetupError."""
    from smtpsetup.credentials import secret_service  # one platform a run

    _find_bus()
    address = os.environ["DBUS_SESSION_BUS_ADDRESS"]
    attributes = {"service": SERVICE, "username": account}
    try:
        # jeepney greets the bus without a limit of time, so all of it runs beside
        found: bytes = _bounded(
            lambda: secret_service.secret(address, attributes), 2 * secret_service.SECONDS, on_timeout=_silent
        )
        return found.decode("utf-8", "surrogateescape")
    except secret_service.SecretServiceError as error:
        if error.trouble is secret_service.Trouble.ABSENT:
            return None
        if error.trouble is secret_service.Trouble.NOT_PLAIN:
            value: str | None = _bounded(lambda: long_secrets.read(_backend(), SERVICE, account), _SECONDS)
            return value
        raise _told(error.trouble, error.detail) from error


def _told(trouble: Trouble, detail: str) -> SmtpsetupError:
    from smtpsetup.credentials.secret_service import Trouble  # loaded by now

    if trouble is Trouble.LOCKED:
        return _locked()
    if trouble is Trouble.TIMEOUT:
        return _silent()
    if trouble is Trouble.NO_SERVICE:
        return _unavailable(_("no secret service, such as gnome-keyring, runs on the session bus"))
    return _unavailable(_("it refuses to give the password ({name})").format(name=detail))


def is_ours(account: Account) -> bool:  # noqa: ARG001  the stores' one interface
    """What stands there under smtpsetup's name is smtpsetup's."""
    return True


def write(reference: str, account: str, secret: Secret, *, may_prompt: bool) -> Secret | None:  # noqa: ARG001  as above
    """Save the secret of an account and read it back; the one that was there before. Raises SmtpsetupError."""
    value = secret.reveal()
    limit = long_secrets.WINDOWS_LIMIT if sys.platform == "win32" else None
    prepare(may_prompt=may_prompt)
    before: str | None = _bounded(lambda: long_secrets.read(_backend(), SERVICE, account), _SECONDS)
    _bounded(lambda: long_secrets.write(_backend(), SERVICE, account, value, limit), _SECONDS_FOR_A_PERSON)
    if _bounded(lambda: long_secrets.read(_backend(), SERVICE, account), _SECONDS) != value:
        raise _unavailable(_("what was saved could not be read back"))
    return None if before is None else Secret(before)


def delete(reference: str, account: str, *, may_prompt: bool) -> bool:  # noqa: ARG001  as above
    """Delete the secret of an account; whether there was one. Raises SmtpsetupError."""
    prepare(may_prompt=may_prompt)
    if _bounded(lambda: long_secrets.read(_backend(), SERVICE, account), _SECONDS) is None:
        return False
    _bounded(lambda: long_secrets.delete(_backend(), SERVICE, account), _SECONDS)
    return True


def prepare(*, may_prompt: bool) -> None:
    """Find the session bus and unlock the keyring, asking the person only with `may_prompt`. Raises SmtpsetupError."""
    if sys.platform in ("win32", "darwin"):
        return
    _find_bus()
    seconds = _SECONDS_FOR_A_PERSON if may_prompt else _SECONDS
    _bounded(lambda: _unlock(may_prompt=may_prompt), seconds)


def _backend() -> KeyringBackend:
    """The platform's own keyring, made directly: no configuration file, variable or priority has a say."""
    if sys.platform == "win32":
        from keyring.backends.Windows import WinVaultKeyring  # one platform a run

        return WinVaultKeyring()  # type: ignore[no-untyped-call]  # keyring annotates no constructors
    if sys.platform == "darwin":
        from keyring.backends.macOS import Keyring as MacKeyring  # one platform a run

        return MacKeyring()  # type: ignore[no-untyped-call]  # as above
    from keyring.backends.SecretService import Keyring  # one platform a run

    return Keyring()  # type: ignore[no-untyped-call]  # as above


def _find_bus() -> None:
    """Point the D-Bus library at the user's session bus, which cron and ssh do not name in the environment."""
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
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
    """Raise SmtpsetupError unless the default collection is there and open.

    Without `may_prompt` nothing is asked and nothing is made.
    """
    import secretstorage  # 40 ms
    from secretstorage import exceptions

    connection = secretstorage.dbus_init()
    try:
        collection = secretstorage.Collection(connection, "/org/freedesktop/secrets/aliases/default")
        if not collection.is_locked():
            return
        if may_prompt and not collection.unlock(timeout=_SECONDS_FOR_A_PERSON):
            return
    except exceptions.ItemNotFoundException as error:
        if may_prompt:
            return  # keyring makes the collection when it saves, with a question of its own
        raise _unavailable(_("it is empty and was never set up")) from error
    except TimeoutError as error:
        raise _locked() from error
    finally:
        connection.close()
    raise _locked()


def _bounded(action: Callable[[], Any], seconds: float, on_timeout: Callable[[], SmtpsetupError] | None = None) -> Any:  # noqa: ANN401  whatever the action gives
    """Run an action of a keyring library, for at most so many seconds, and turn what it raises into SmtpsetupError."""
    outcome: list[Any] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(action())
        except BaseException as failure:  # noqa: BLE001  raised again below, in the caller's thread
            error.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        error_for_silence = on_timeout or _locked
        raise error_for_silence()
    if error:
        raise _explained(error[0]) from error[0]
    return outcome[0]


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
                "On a server, run it again with the password in a file that only you can read: `--password-file FILE` "
                "(mode 0600)."
            ),
            _(
                "Or with a command that prints it, a variable or a credential: `--password-command`, "
                "`--password-env`, `--systemd-credential`."
            ),
            _("At a desktop, run the command in the session there."),
        ),
    )

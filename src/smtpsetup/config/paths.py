"""The paths of smtpsetup's files."""

from __future__ import annotations

import os
import sys

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

_UNESCAPED = "@.+-_"
_MAX_NAME = 200  # bytes, of the 255 that a file name may have
SYSTEM_RELAY_DIRECTORY = "/var/lib/smtpsetup-relay"
"""The state directory of the machine's relay."""


def config_dir() -> str:
    """The directory of the user's configuration, as in platformdirs. Raises SmtpsetupError if HOME is not set.

    The XDG rule is implemented here, since importing platformdirs takes a tenth of an `identify` (bench/startup.py).
    """
    if sys.platform in ("win32", "darwin"):
        import platformdirs

        return platformdirs.user_config_dir("smtpsetup", appauthor=False, roaming=True)
    base = _xdg("XDG_CONFIG_HOME", ".config")
    if not os.path.isabs(base):
        raise SmtpsetupError(
            "config.invalid",
            _("It is not known where your configuration is: HOME is not set."),
            hints=(_("Set HOME, or name the file: `smtpsetup --config FILE`."),),
        )
    return os.path.join(base, "smtpsetup")


def state_dir() -> str | None:
    """The state directory: `SMTPSETUP_STATE_DIR`, or that of platformdirs; None if HOME is not set."""
    chosen = os.environ.get("SMTPSETUP_STATE_DIR")
    if chosen:
        return os.path.expanduser(chosen)
    if sys.platform in ("win32", "darwin"):
        import platformdirs

        return platformdirs.user_state_dir("smtpsetup", appauthor=False)
    base = _xdg("XDG_STATE_HOME", ".local/state")
    return os.path.join(base, "smtpsetup") if os.path.isabs(base) else None


def _xdg(variable: str, default: str) -> str:
    """The directory that a variable names, else the default in the home; `""` where the home is not known or is `/`."""
    home = os.path.expanduser("~")
    own = os.path.join(home, default) if home not in ("", "/") else ""
    return os.environ.get(variable, "").strip() or own


def file_name(name: str) -> str:
    """A unique file name for an account's name: percent-encoded, or a digest if that is too long."""
    octets = name.encode("utf-8", "surrogateescape").decode("latin-1")
    encoded = "".join(
        char if char.isascii() and (char.isalnum() or char in _UNESCAPED) else f"%{ord(char):02x}" for char in octets
    )
    if encoded.startswith("."):
        encoded = f"%2e{encoded[1:]}"
    if len(encoded) <= _MAX_NAME:
        return encoded
    import hashlib  # rarely needed

    return hashlib.sha256(octets.encode("latin-1")).hexdigest()


def own_password_file(account: str) -> str:
    """The file that smtpsetup itself makes for an account's password."""
    return os.path.join(config_dir(), "passwords", file_name(account))


def config_file(chosen: str | None = None) -> str:
    """The configuration: `chosen`, `SMTPSETUP_CONFIG`, or `config.toml` in the configuration directory."""
    named = chosen or os.environ.get("SMTPSETUP_CONFIG")
    return os.path.expanduser(named) if named else os.path.join(config_dir(), "config.toml")


def own_config_file() -> str | None:
    """`config.toml` in the configuration directory; None if HOME is not set, as for some daemons."""
    has_home = sys.platform in ("win32", "darwin") or os.path.isabs(_xdg("XDG_CONFIG_HOME", ".config"))
    return os.path.join(config_dir(), "config.toml") if has_home else None


def system_config_file() -> str:
    """The configuration of the system, for users without one of their own."""
    return "/etc/smtpsetup/config.toml"


def own_provider_tables() -> tuple[str, ...]:
    """The provider tables of the system and of the user, which need not exist. The later one wins."""
    own = os.path.join(config_dir(), "providers.toml")
    return (own,) if sys.platform == "win32" else ("/etc/smtpsetup/providers.toml", own)

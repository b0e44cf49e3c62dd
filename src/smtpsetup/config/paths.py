"""Where smtpsetup keeps its files."""

from __future__ import annotations

import os
import sys

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

_PLAIN = "@.+-_"
_LONGEST_NAME = 200  # bytes, of the 255 that a name may have


def config_dir() -> str:
    """The directory of the user's configuration, as platformdirs has it.

    Where the XDG directories rule, its rule is followed here: importing platformdirs would be a tenth of an `identify`
    (bench/startup.py).
    """
    if sys.platform in ("win32", "darwin"):
        import platformdirs  # see above

        return platformdirs.user_config_dir("smtpsetup", appauthor=False, roaming=True)
    base = _xdg("XDG_CONFIG_HOME", "~/.config")
    if not os.path.isabs(base):
        raise SmtpsetupError(
            "config.invalid",
            _("It is not known where your configuration is: HOME is not set."),
            hints=(_("Set HOME, or name the file: `smtpsetup --config FILE`."),),
        )
    return os.path.join(base, "smtpsetup")


def state_dir() -> str | None:
    """The directory of what smtpsetup remembers: `SMTPSETUP_STATE_DIR`, or the one that platformdirs has.

    None where no home is known.
    """
    chosen = os.environ.get("SMTPSETUP_STATE_DIR")
    if chosen:
        return os.path.expanduser(chosen)
    if sys.platform in ("win32", "darwin"):
        import platformdirs  # see above

        return platformdirs.user_state_dir("smtpsetup", appauthor=False)
    base = _xdg("XDG_STATE_HOME", "~/.local/state")
    return os.path.join(base, "smtpsetup") if os.path.isabs(base) else None


def _xdg(variable: str, usual: str) -> str:
    return os.environ.get(variable, "").strip() or os.path.expanduser(usual)


def file_name(name: str) -> str:
    """A name such as an account's as one that every file system takes, another one for each.

    What is not plain is percent-encoded.
    """
    octets = name.encode("utf-8", "surrogateescape").decode("latin-1")
    encoded = "".join(
        char if char.isascii() and (char.isalnum() or char in _PLAIN) else f"%{ord(char):02x}" for char in octets
    )
    if encoded.startswith("."):
        encoded = f"%2e{encoded[1:]}"
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    import hashlib  # nobody calls an account so

    return hashlib.sha256(octets.encode("latin-1")).hexdigest()


def own_password_file(account: str) -> str:
    """The file for an account's password, among those that smtpsetup itself makes."""
    return os.path.join(config_dir(), "passwords", file_name(account))


def has_home() -> bool:
    """Whether there is a place for a user's own files: some daemons' users have none."""
    return sys.platform in ("win32", "darwin") or os.path.isabs(_xdg("XDG_CONFIG_HOME", "~/.config"))


def config_file(chosen: str | None = None) -> str:
    """The configuration: the chosen file, `SMTPSETUP_CONFIG`, or `config.toml` in the configuration directory."""
    named = chosen or os.environ.get("SMTPSETUP_CONFIG")
    return os.path.expanduser(named) if named else os.path.join(config_dir(), "config.toml")


def own_config_file() -> str | None:
    """The user's configuration at its usual place, whatever is named elsewhere; None where no home is known."""
    return os.path.join(config_dir(), "config.toml") if has_home() else None


def system_config_file() -> str:
    """The configuration of the whole machine, for users who have none of their own."""
    return "/etc/smtpsetup/config.toml"


def own_provider_tables() -> tuple[str, ...]:
    """The system's and the user's own rows of the provider table, the later file winning; none need exist."""
    own = os.path.join(config_dir(), "providers.toml")
    return (own,) if sys.platform == "win32" else ("/etc/smtpsetup/providers.toml", own)

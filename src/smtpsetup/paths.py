"""Where smtpsetup keeps its files (CONTRACT section 5)."""

from __future__ import annotations

import os
from pathlib import Path


def config_dir() -> Path:
    """The directory of the user's configuration."""
    import platformdirs  # noqa: PLC0415  only commands that read the configuration need it

    return Path(platformdirs.user_config_dir("smtpsetup", appauthor=False, roaming=True))


def config_file(chosen: str | None = None) -> Path:
    """The configuration: the chosen file, `SMTPSETUP_CONFIG`, or `config.toml` in the configuration directory."""
    named = chosen or os.environ.get("SMTPSETUP_CONFIG")
    return Path(named).expanduser() if named else config_dir() / "config.toml"


def own_provider_table() -> Path:
    """The user's own rows of the provider table; it need not exist."""
    return config_dir() / "providers.toml"

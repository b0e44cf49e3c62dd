"""Whose relay a command is about: the user's, or that of the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.cli.state import State
    from smtpsetup.config.accounts import Config


def system_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --system."""
    text = _("The relay of the machine, with /etc/smtpsetup/config.toml and {directory}.").format(
        directory=paths.SYSTEM_RELAY_DIRECTORY
    )
    return click.option("--system", is_flag=True, help=text)(command)


def choose_place(state: State, *, is_system: bool) -> None:
    """Let the rest of this run use the configuration and the state directory of the machine's relay."""
    if is_system:
        state.config_option = paths.system_config_file()
        # systemd makes a link of it to a directory of the service's own (systemd.exec(5), DynamicUser=)
        os.environ["SMTPSETUP_STATE_DIR"] = os.path.realpath(paths.SYSTEM_RELAY_DIRECTORY)


def require_account(state: State, config: Config) -> None:
    """Raise SmtpsetupError (`config.no-account`) where there is no account to lend."""
    try:
        config.account(next(iter(config.accounts), None))
    except SmtpsetupError as error:
        if state.config_option == paths.system_config_file():
            command = f"sudo smtpsetup --config {paths.system_config_file()} configure"
            error.hints = (_("Set one up for the machine: `{command}`.").format(command=command),)
        raise

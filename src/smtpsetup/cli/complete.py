"""What a Tab in the shell offers: accounts, providers, error codes, faults and clients of the relay.

Each function gets what has been typed so far, and imports only what it needs: a Tab must be quick. Where something
cannot be read, it offers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click


def account_names(typed: str) -> list[str]:
    """The names of the accounts."""
    from smtpsetup.config import accounts, paths
    from smtpsetup.core.errors import SmtpsetupError

    try:
        return _beginning(accounts.load_with_system(paths.config_file(), paths.system_config_file()).accounts, typed)
    except (SmtpsetupError, OSError):
        return []


def provider_ids(typed: str) -> list[str]:
    """The ids of the providers."""
    from smtpsetup.config.known_providers import table_of_today
    from smtpsetup.core.errors import SmtpsetupError

    try:
        return _beginning(table_of_today().ids(), typed)
    except (SmtpsetupError, OSError):
        return []


def error_codes(typed: str) -> list[str]:
    """The error codes."""
    from smtpsetup.core.exit_codes import EXIT_CODES

    return _beginning(sorted(EXIT_CODES), typed)


def fault_codes(typed: str) -> list[str]:
    """The error codes that the sandbox can cause."""
    from smtpsetup.sandbox.faults import FAULTS

    return _beginning(sorted(FAULTS), typed)


def client_names(typed: str) -> list[str]:
    """The names of the relay's clients."""
    from smtpsetup.config import paths
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.relay import clients

    directory = paths.state_dir()
    try:
        return _beginning(clients.load(directory) if directory else (), typed)
    except (SmtpsetupError, OSError):
        return []


def by_click(names: Callable[[str], list[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """The same function with the parameters that Click gives to `shell_complete`."""
    return lambda _ctx, _parameter, typed: names(typed)


def _beginning(names: Iterable[str], typed: str) -> list[str]:
    return [name for name in names if name.startswith(typed)]

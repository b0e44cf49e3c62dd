"""The options of signing in with OAuth2, for `configure` and `login`."""

from __future__ import annotations

import datetime
import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from smtpsetup.cli.types import CheckedType
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = "never"
"""In place of a day: a client secret that does not end."""


class SignInOptions(NamedTuple):
    """The options of signing in as typed; all are at their defaults where none was."""

    client_id: str | None = None
    tenant: str | None = None
    issuer: str | None = None
    scope: str | None = None
    token_command: str | None = None
    by_browser: bool = False
    app_only: bool = False
    secret_expires: str | None = None
    large_mail: bool = False


def _day(value: str) -> str:
    """A day as ISO 8601 has it, or `never`."""
    if value == NEVER:
        return value
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise ValueError(_("A day is written like 2027-11-30.")) from error


def _tenant(value: str) -> str:
    """The domain or the id of an organisation, as it stands in the addresses of its sign-in."""
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", value):
        raise ValueError(_("An organisation is named by its domain, such as example.com, or by its id."))
    return value


def _options() -> tuple[Callable[..., Any], ...]:
    """The decorators, the last one first in the help."""
    return (
        click.option(
            "--large-mail",
            is_flag=True,
            help=_("For Microsoft Graph: ask for the permission that mail over 2 MB needs (Mail.ReadWrite), too."),
        ),
        click.option(
            "--secret-expires",
            type=CheckedType("day", _day),
            metavar=_("DAY"),
            help=_(
                "With --app-only: when the client secret expires (2027-11-30), or `never`; doctor warns before that."
            ),
        ),
        click.option(
            "--app-only",
            is_flag=True,
            help=_(
                "For OAuth2: the program signs in by itself, without a person: with a client secret, a certificate, or "
                "the key of a service account."
            ),
        ),
        click.option(
            "--browser",
            "by_browser",
            is_flag=True,
            help=_("For OAuth2: sign in in a browser, also where a code on any device would do."),
        ),
        click.option(
            "--token-command",
            metavar=_("CMD"),
            help=_("For OAuth2: let this command print the access token, every time it is needed."),
        ),
        click.option("--scope", metavar="SCOPE", help=_("For OAuth2 with --issuer: the permission to ask for.")),
        click.option(
            "--issuer", metavar="URL", help=_("For OAuth2: the sign-in server of a provider that is not in the table.")
        ),
        click.option(
            "--tenant",
            type=CheckedType("tenant", _tenant),
            metavar=_("NAME"),
            help=_("For OAuth2 at Microsoft: the organisation, its domain or id."),
        ),
        click.option("--client-id", metavar="ID", help=_("For OAuth2: the id of your own program at the provider.")),
    )


def sign_in_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of signing in; the command gets them as `how`."""

    @functools.wraps(command)
    def with_options(*arguments: Any, **typed: Any) -> None:  # noqa: ANN401  whatever else the command takes
        how = SignInOptions(**{name: typed.pop(name) for name in SignInOptions._fields})
        for name, value in how._asdict().items():
            if value == "":
                raise click.UsageError(_("{flag} is empty.").format(flag=f"--{name.replace('_', '-')}"))
        command(*arguments, how=how, **typed)

    decorated: Callable[..., Any] = with_options
    for option in _options():
        decorated = option(decorated)
    return decorated


def check_sign_in_options(auth: str | None, how: SignInOptions, source: SecretSource | None) -> None:
    """Raise click.UsageError where options of signing in conflict with other options."""
    if auth not in (None, Auth.OAUTH2) and how != SignInOptions():
        raise click.UsageError(_("The options of signing in, such as --client-id, are for `--auth oauth2`."))
    if how.secret_expires and not how.app_only:
        raise click.UsageError(_("--secret-expires goes with --app-only."))
    if how.app_only and how.by_browser:
        raise click.UsageError(_("--app-only signs in without a person, and without --browser."))
    if how.token_command and (source or how._replace(token_command=None) != SignInOptions()):
        raise click.UsageError(
            _("--token-command goes with no other option of signing in, and with no place for a password.")
        )


def token_source(how: SignInOptions) -> SecretSource | None:
    """The command that prints access tokens, as the place of the secret; None where none was named."""
    return SecretSource(Store.COMMAND, how.token_command) if how.token_command else None

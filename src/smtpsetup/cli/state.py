"""The state of one run of the command line, and the options that every command has."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.cli import views
from smtpsetup.config import paths
from smtpsetup.core.i18n import gettext as _
from smtpsetup.terminal.streams import columns, silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.providers.row import Provider
    from smtpsetup.providers.table import Table
    from smtpsetup.sending.context import Context


COMPLETION_VARIABLE = "_SMTPSETUP_COMPLETE"
"""The name that Click gives it."""


class State:
    """The common options, and access to the configuration, the table and the output."""

    def __init__(self) -> None:
        self.command = "smtpsetup"
        self.config_option: str | None = None
        self.json = False
        self.verbose = False
        self.no_input = False

    @property
    def config_file(self) -> str:
        """The path of the configuration that this run uses."""
        return paths.config_file(self.config_option)

    @property
    def named_config(self) -> str:
        """The path of the configuration that was named, `""` for the usual one."""
        named = self.config_option or os.environ.get("SMTPSETUP_CONFIG")
        return os.path.abspath(self.config_file) if named else ""

    @property
    def may_ask(self) -> bool:
        """Whether standard input is a terminal and --no-input was not given."""
        return not self.no_input and sys.stdin.isatty()

    def config(self) -> Config:
        """Load the configuration. Raises SmtpsetupError."""
        from smtpsetup.config import accounts  # identify needs no accounts

        if self.named_config:
            return accounts.load_named(self.named_config)
        return accounts.load_with_system(self.config_file, paths.system_config_file())

    def table(self) -> Table:
        """The provider table with the person's own rows. Raises SmtpsetupError."""
        from smtpsetup.config.known_providers import table_of_today  # a send that works needs no table

        return table_of_today()

    def provider(self, account: Account) -> Provider | None:
        """The provider of the account's server. Raises SmtpsetupError where a table of the person's own is invalid."""
        from smtpsetup.config.known_providers import provider_of  # as above

        return provider_of(account)

    def context(self, account: Account) -> Context:
        """The context that the account sends with."""
        from smtpsetup.sending.context import context_for  # identify sends nothing

        return context_for(self.config(), account, may_prompt=self.may_ask, trace=self.trace())

    def trace(self) -> Callable[[str], None] | None:
        """The function that prints the SMTP conversation on standard error; None without -v."""
        return _print if self.verbose else None

    def write_json(self, result: object, error: SmtpsetupError | None = None) -> None:
        """Write the JSON document (docs/json.md) on standard output."""
        sys.stdout.write(views.json.document(self.command, result, error) + "\n")
        sys.stdout.flush()

    def output(self, view: Callable[[], object], show: Callable[[], None]) -> None:
        """Write `view()` as the JSON document with --json; without, print with `show()`."""
        if self.json:
            self.write_json(view())
        else:
            show()


def tell(text: str) -> None:
    """Print a sentence on standard error, wrapped where that is a terminal; `views.human.note` without rich."""
    width = columns(sys.stderr)
    if width:
        from smtpsetup.terminal.wrapping import wrapped  # cron has no terminal

        text = wrapped(text, width)
    _print(text)


def _print(line: str) -> None:
    """Print a line on standard error. A closed standard error must not stop a run that sends."""
    try:
        print(line, file=sys.stderr, flush=True)  # noqa: T201  click.echo would raise, and end the run
    except OSError:
        silence(sys.stderr)


class WholeNumberType(click.IntRange):
    """A whole number, with an error message for anything else."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  click's signature
        """The number."""
        try:
            int(value)
        except ValueError:
            self.fail(_("{value!r} is not a whole number.").format(value=value), param, ctx)
        return super().convert(value, param, ctx)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has, and pass the State, which holds their values, as the first argument."""

    def keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401  click's signature
            if value:
                setattr(ctx.ensure_object(State), name, value)

        return callback

    command = click.pass_obj(command)
    for name, flags, text in (
        ("no_input", ("--no-input",), _("Never ask; implied when standard input is not a terminal.")),
        ("verbose", ("-v", "--verbose"), _("Show the conversation with the server on standard error, secrets masked.")),
        ("json", ("--json",), _("Print one JSON document on standard output.")),
    ):
        command = click.option(*flags, is_flag=True, expose_value=False, is_eager=True, callback=keep(name), help=text)(
            command
        )
    return command

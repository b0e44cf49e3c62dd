"""`smtpsetup completion`."""

from __future__ import annotations

import click

from smtpsetup.cli.command import Command
from smtpsetup.cli.state import COMPLETION_VARIABLE, State, common_options
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_UNAVAILABLE
from smtpsetup.core.i18n import gettext as _


@click.command(
    "completion",
    cls=Command,
    help=_(
        "Print what lets a Tab complete commands, options, accounts, providers and error codes. For bash, put `eval "
        '"$(smtpsetup completion bash)"` into ~/.bashrc.'
    ),
    short_help=_("Let the shell complete commands and names."),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
@common_options
def completion_command(state: State, shell: str) -> None:
    """Print the script."""
    from click.shell_completion import get_completion_class  # for this command only

    found = get_completion_class(shell)
    if found is None:
        raise SmtpsetupError("config.invalid", _("There is nothing for {shell}.").format(shell=shell))
    group = click.get_current_context().find_root().command
    try:
        script = found(group, {}, "smtpsetup", COMPLETION_VARIABLE).source()
    except RuntimeError as error:  # Click knows bash from version 4.4 on
        raise SmtpsetupError(
            "config.invalid", _("This shell is too old to be completed: {reason}").format(reason=error),
            exit_code=EX_UNAVAILABLE,
        ) from error  # fmt: skip
    state.output(lambda: {"shell": shell, "script": script}, lambda: click.echo(script))

"""Questions to a person, wrapped for the terminal, with translated yes and no, which Click lacks."""

from __future__ import annotations

import sys
from typing import Any

import click

from smtpsetup.cli.state import tell
from smtpsetup.core.i18n import gettext as _
from smtpsetup.terminal.streams import columns

_CURSOR_COLUMNS = 2  # left free after a question


class DeclinedError(click.Abort):
    """A person answered no, or nothing where an answer was needed. The command ends and has changed nothing."""


def ask(
    question: str,
    *,
    default: Any = None,  # noqa: ANN401  converted by `type`
    show_default: bool = True,
    hide_input: bool = False,
    type: click.ParamType[Any] | None = None,  # noqa: A002  as in click.prompt
) -> Any:  # noqa: ANN401  as above
    """Ask on standard error until the answer is valid. Returns it, converted by `type`.

    Raises click.Abort for Ctrl-C and the end of input.
    """
    choices = f" ({', '.join(map(str, type.choices))})" if isinstance(type, click.Choice) else ""
    shown = f"{question}{choices}{f' [{default}]' if default is not None and show_default else ''}: "
    width = columns(sys.stderr)
    if width:
        from smtpsetup.terminal.wrapping import wrapped  # needed at a terminal only

        shown = wrapped(shown[:-1], max(width - _CURSOR_COLUMNS, 1)) + " "
    while True:
        try:
            typed = click.prompt(
                shown,
                default=default,
                hide_input=hide_input,
                value_proc=str,
                prompt_suffix="",
                show_default=False,
                err=True,
            )
        except click.Abort:
            if width and not hide_input:  # with hide_input Click ends the line itself
                click.echo(err=True)
            raise
        try:
            return type(typed) if type else typed
        except click.UsageError as error:
            tell(_("Error: {message}").format(message=error.message))


def confirm(question: str, *, default: bool) -> bool:
    """Ask a yes/no question, answered in the person's language or with y and n. Raises click.Abort as `ask`."""
    yes = {"y", "yes", *_("y/yes").split("/")}
    no = {"n", "no", *_("n/no").split("/")}
    choices = _("[Y/n]") if default else _("[y/N]")
    while True:
        answer = str(ask(f"{question} {choices}", default="", show_default=False)).strip().casefold()
        if not answer:
            return default
        if answer in yes | no:
            return answer in yes
        tell(_("Answer with y for yes or n for no."))


def ask_number(question: str, highest: int) -> int:
    """A number from 1 to `highest`. Raises DeclinedError for an empty answer."""
    while True:
        typed = str(ask(question, default="", show_default=False)).strip().rstrip(".")
        if not typed:
            raise DeclinedError
        if typed.isdecimal() and 1 <= int(typed) <= highest:
            return int(typed)
        tell(_("Answer with a number from 1 to {n}.").format(n=highest))

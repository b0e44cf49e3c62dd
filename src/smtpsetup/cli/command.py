"""Commands whose help has its options in groups, the environment variables that stand for them, and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Iterable

_NARROWEST, _WIDEST, _MARGIN = 40, 200, 2  # columns
_FLAGS_COLUMNS = 30
_ENVIRONMENT = {"config_option": "SMTPSETUP_CONFIG", "client_id": "SMTPSETUP_<PROVIDER>_CLIENT_ID"}


class Context(click.Context):
    """A context whose help pages fit terminals of 40 to 200 columns; Click's own need 50."""

    def make_formatter(self) -> click.HelpFormatter:
        """A formatter as wide as the terminal."""
        if self.terminal_width is not None:
            return super().make_formatter()
        import shutil  # loaded only for a help page

        columns = shutil.get_terminal_size().columns
        return click.HelpFormatter(width=min(max(columns, _NARROWEST), _WIDEST) - _MARGIN)


class Command(click.Command):
    """A command with the help of this program."""

    context_class = Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, in groups."""
        _format_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        format_examples(ctx, formatter)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    context_class = Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, in groups, and the commands."""
        _format_options(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        format_examples(ctx, formatter)


def command_typed(ctx: click.Context) -> str:
    """What is typed after the program's name for the command, such as `relay add-client`."""
    names: list[str] = []
    inner: click.Context | None = ctx
    while inner and inner.parent:
        names.insert(0, inner.info_name or "")
        inner = inner.parent
    return " ".join(names)


def format_examples(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The examples of the command; nothing where it has none."""
    from smtpsetup.cli.examples import EXAMPLES  # loaded only for a help page

    name = command_typed(ctx)
    if name in EXAMPLES:
        with formatter.section(_("Examples")):
            for line in EXAMPLES[name]:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")


def _format_options(parameters: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    from smtpsetup.cli.option_groups import group_of, titles  # loaded only for a help page

    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record is not None:
            flags, text = record
            name = "help" if "--help" in parameter.opts else parameter.name or ""
            variable = _ENVIRONMENT.get(name)
            entry = (flags, f"{text} [env: {variable}]" if variable else text)
            groups.setdefault(group_of(command_typed(ctx), name), []).append(entry)
    for name, title in titles().items():
        if name in groups:
            with formatter.section(title):
                formatter.write_dl(groups[name], col_max=min(_FLAGS_COLUMNS, formatter.width // 2))

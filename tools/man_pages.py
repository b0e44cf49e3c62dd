"""Write the manual pages of smtpsetup and its commands, made from what `--help` says, into a directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpsetup import DOCUMENTATION
from smtpsetup.cli.examples import EXAMPLES
from smtpsetup.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator


def escaped(text: str) -> str:
    """A text as roff shows it unchanged (groff_man_style(7))."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").split("\n")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in lines)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.replace("\b\n", "").split("\n\n"):
        yield f".PP\n{escaped(paragraph.strip())}"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        shown = parameter.get_help_record(context)
        if shown:
            yield f".TP\n.B {escaped(shown[0])}\n{escaped(shown[1])}"


def _sections(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SH SYNOPSIS\n.B {escaped(name)}\n{escaped(usage)}\n.SH DESCRIPTION"
    yield from _paragraphs(command.help or "")
    yield ".SH OPTIONS"
    yield from _options(command, context)
    if isinstance(command, click.Group) and command is not cli:
        for inner in command.list_commands(context):
            one = command.get_command(context, inner)
            if one is not None:
                below = click.Context(one, parent=context, info_name=inner)
                usage = " ".join(one.collect_usage_pieces(below))
                yield f".SH COMMAND {escaped(inner.upper())}\n.B {escaped(f'{name} {inner}')}\n{escaped(usage)}"
                yield from _paragraphs(one.help or "")
                yield from _options(one, below)


def _examples(name: str) -> Iterator[str]:
    lines = [line for key, lines in EXAMPLES.items() if key == name or key.startswith(f"{name} ") for line in lines]
    if lines:
        yield ".SH EXAMPLES\n.nf\n" + "\n".join(map(escaped, dict.fromkeys(lines))) + "\n.fi"


def page(name: str, summary: str, *parts: str) -> str:
    """A whole page of section 1."""
    title = f'.TH "{escaped(name.upper().replace(" ", "-"))}" 1 "" "smtpsetup" "User Commands"'
    head = f".SH NAME\n{escaped(name.replace(' ', '-'))} \\- {escaped(summary.rstrip('.'))}"
    return "\n".join([title, head, *parts, f".SH SEE ALSO\n{escaped(DOCUMENTATION)}\n"])


def pages() -> Iterator[tuple[str, str]]:
    """The file name and the text of every page."""
    context = click.Context(cli, info_name="smtpsetup", **cli.context_settings)
    entries = [f".TP\n.B {escaped(name)}\n{escaped(line)}" for name, (_module, line) in COMMANDS.items()]
    parts = [*_sections("smtpsetup", cli, context), ".SH COMMANDS", *entries]
    yield "smtpsetup.1", page("smtpsetup", "send mail from your own address", *parts)
    for name, (_module, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        if command is not None:
            below = click.Context(command, parent=context, info_name=name)
            yield (
                f"smtpsetup-{name}.1",
                page(f"smtpsetup {name}", line, *_sections(f"smtpsetup {name}", command, below), *_examples(name)),
            )


def main() -> None:
    """Write the pages into the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the documentation takes from the code: the help pages, the error codes, the providers, the dependencies' cost."""

from __future__ import annotations

import datetime

import click
from click.testing import CliRunner

from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.error_codes import ERROR_CODES
from smtpsetup.errors import exit_code_for
from smtpsetup.explanations import EXPLANATIONS
from smtpsetup.providers import Table


def help_page(*arguments: str) -> str:
    """What `smtpsetup ARGUMENTS --help` prints, as a code block."""
    page = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="smtpsetup", terminal_width=100).output
    return f"```text\n{page.rstrip()}\n```\n"


def command_pages() -> str:
    """Every command with its help page, groups with those of their commands."""
    parts = []
    for name in COMMANDS:
        parts.append(f"## smtpsetup {name}\n\n{help_page(name)}")
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            parts += [f"### smtpsetup {name} {inner}\n\n{help_page(name, inner)}" for inner in command.list_commands(click.Context(command))]
    return "\n".join(parts)


def error_pages() -> str:
    """Every code that can be met, with its exit code, explanation and way out."""
    parts = []
    for code in sorted(ERROR_CODES):
        parts.append(f"## `{code}`\n\nExit code {exit_code_for(code)}.\n")
        explanation = EXPLANATIONS.get(code)
        if explanation:
            parts.append(f"{explanation.message}\n")
            parts += [f"- {cause}" for cause in explanation.causes]
            parts += ["", *(f"{number}. {hint}" for number, hint in enumerate(explanation.hints, start=1)), ""]
    return "\n".join(parts)


def provider_list() -> str:
    """The table's rows, one a line."""
    rows = sorted(Table(datetime.date(2026, 11, 24)).all(), key=lambda row: row.name.lower())
    lines = ["| provider | id | first server | takes | status |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        server = f"{row.servers[0]} {row.servers[0].security}" if row.servers else "-"
        lines.append(f"| {row.name} | `{row.id}` | {server} | {', '.join(row.auth) or '-'} | {row.status} |")
    return "\n".join(lines) + "\n"

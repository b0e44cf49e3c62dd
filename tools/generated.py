"""The parts of the documentation that come from the code: help pages, error codes, providers."""

from __future__ import annotations

import ast
import datetime
import gettext
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

import smtpsetup
from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.core.exit_codes import EXIT_CODES, LASTING
from smtpsetup.diagnosis.advice import AFTER_LOGIN
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.raised_explanations import RAISED
from smtpsetup.diagnosis.rules import RULES
from smtpsetup.providers import schema
from smtpsetup.providers.table import Table
from smtpsetup.sandbox.faults import FAULTS, REHEARSALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.providers.table import Provider


def help_page(*arguments: str) -> str:
    """What `smtpsetup ARGUMENTS --help` prints, as a code block."""
    page = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="smtpsetup", terminal_width=100).output
    return f"```text\n{page.rstrip()}\n```\n"


def command_pages() -> str:
    """The help page of every command and subcommand."""
    parts = []
    for name in COMMANDS:
        parts.append(f"## smtpsetup {name}\n\n{help_page(name)}")
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            parts += [
                f"### smtpsetup {name} {inner}\n\n{help_page(name, inner)}"
                for inner in command.list_commands(click.Context(command))
            ]
    return "\n".join(parts)


_WORDS = {
    "en": ("Exit code {n}.", "Who can change it: {who}.", "See it: `{command}`."),
    "sv": ("Slutkod {n}.", "Vem som kan åtgärda det: {who}.", "Se felet: `{command}`."),
}


def documentation_address() -> str:
    """The line of `smtpsetup/__init__.py` with the address of the documents."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f'DOCUMENTATION = "{project["urls"]["Documentation"].rstrip("/")}"\n'


_ALWAYS = {
    "en": " Also after a 4yz reply, unless its text says that it passes.",
    "sv": " Även efter ett svar 4yz, om inte texten säger att felet går över.",
}
_INSTEAD = {
    "en": "If the server's words or the login say more, it is one of these instead:",
    "sv": "Om serverns ord eller inloggningen säger mer gäller i stället något av detta:",
}


def error_pages(language: str) -> str:
    """Every error code with its exit code, explanation, hints, and how to rehearse it, in a language."""
    catalogue = gettext.translation(
        "smtpsetup", str(Path(smtpsetup.__file__).with_name("locale")), [language], fallback=language == "en"
    )
    exit_code, who, see = _WORDS[language]
    parts = []
    for code in sorted(EXIT_CODES):
        always = _ALWAYS[language] if code in LASTING else ""
        parts.append(f"## `{code}`\n\n{exit_code.format(n=EXIT_CODES[code])}{always}\n")
        explanation = EXPLANATIONS.get(code)
        if explanation is None:
            parts.append(f"{catalogue.gettext(RAISED[code])}\n")
        else:
            parts.append(f"{catalogue.gettext(explanation.message)}\n")
            parts += [f"- {catalogue.gettext(cause)}" for cause in explanation.causes]
            parts += [
                "",
                *(f"{number}. {catalogue.gettext(hint)}" for number, hint in enumerate(explanation.hints, start=1)),
                "",
            ]
            advice = dict.fromkeys(rule.advice for rule in RULES if rule.error == code and rule.advice)
            advice |= dict.fromkeys([AFTER_LOGIN[code]] if code in AFTER_LOGIN else [])
            if advice:
                parts.append(f"{_INSTEAD[language]}\n")
                parts += ["- " + " ".join(map(catalogue.gettext, (*one.causes, *one.hints))) for one in advice]
                parts.append("")
        if explanation and explanation.responsible:
            parts.append(f"{who.format(who=catalogue.gettext(explanation.responsible))}\n")
        if code in FAULTS or code in REHEARSALS:
            parts.append(f"{see.format(command=REHEARSALS.get(code, f'smtpsetup sandbox --fault {code}'))}\n")
    return re.sub(r"\{docs\}/([\w.-]+\.md)", r"[docs/\1](\1)", "\n".join(parts))


FACTS_OF = datetime.date(2026, 11, 26)  # the day as of which documents tell the age of rows


def provider_list() -> str:
    """The table's rows, one a line."""
    rows = sorted(Table(FACTS_OF).all(), key=lambda row: row.name.lower())
    lines = ["| provider | id | first server | takes | status |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        server = f"{row.servers[0]} {row.servers[0].security}" if row.servers else "-"
        lines.append(f"| {row.name} | `{row.id}` | {server} | {', '.join(row.auth) or '-'} | {row.status} |")
    return "\n".join(lines) + "\n"


def provider_ages() -> str:
    """How old and how well supported the rows with servers are, and which of them only suggest."""
    rows = [row for row in Table(FACTS_OF).all() if row.servers]
    ages: dict[str, Callable[[Provider], bool]] = {
        "within a year": lambda row: not row.is_aged,
        "older, and a list that is kept up to date still has it": lambda row: row.is_aged and not row.only_suggests,
        "older than three years, or without a date": lambda row: row.only_suggests,
    }
    lines = ["| newest source | high | medium | low |", "| --- | --- | --- | --- |"]
    for words, is_so in ages.items():
        counts = [sum(is_so(row) and row.confidence == level for row in rows) for level in schema.CONFIDENCE]
        lines.append(f"| {words} | {' | '.join(map(str, counts))} |")
    suggesting = ", ".join(f"`{row.id}`" for row in sorted(rows, key=lambda row: row.id) if row.only_suggests)
    others = [row for row in Table(FACTS_OF).all() if not row.servers]
    closed = sum(row.has_closed for row in others)
    unknown = sum(row.status == "unknown" for row in others)
    return (
        "\n".join(lines)
        + f"\n\nThe rows of the last line only suggest: {suggesting}.\n\n"
        + f"Without servers: {unknown} providers whose settings are not known, {closed} services that have closed, "
        + f"{len(others) - unknown - closed} without SMTP.\n"
    )


def caller_table() -> str:
    """The programs whose mail the tests send through smtpsetup-sendmail: a row for each test marked `caller`."""
    return _table_of_callers("caller", "calls sendmail with", "test_callers.py")


def relay_caller_table() -> str:
    """The programs whose mail the tests send through the relay: a row for each test marked `relay_caller`."""
    files = ("test_relay_callers.py", "test_relay_libraries.py")
    return _table_of_callers("relay_caller", "is told of the relay by", *files)


def _table_of_callers(marker: str, how: str, *files: str) -> str:
    rows = [f"| program | {how} | the test that runs it |", "| --- | --- | --- |"]
    for file in files:
        path = Path(__file__).parents[1] / "tests" / "adapters" / file
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(node, ast.FunctionDef) and ast.unparse(decorator).startswith(f"pytest.mark.{marker}("):
                    program, words = (ast.literal_eval(argument) for argument in decorator.args)
                    rows.append(f"| {program} | `{words}` | {node.name.removeprefix('test_').replace('_', ' ')} |")
    return "\n".join(rows) + "\n"

"""The parts of the documentation that come from the code: help pages, error codes, providers."""

from __future__ import annotations

import ast
import datetime
import gettext
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Callable, Iterator

    from smtpsetup.providers.row import Provider


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


_SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs" / "schema.json").read_text(encoding="utf-8"))
_DEFINITIONS: dict[str, Any] = _SCHEMA["$defs"]
_LISTED_ELSEWHERE = {"error-code": "See [errors.md](errors.md)."}  # too many for a cell


def json_envelope() -> str:
    """The keys of every document, and those of an error and a reply."""
    return f"{_keys('document')}\n" + "\n".join(f"### {name}\n\n{_keys(name)}" for name in ("error", "reply"))


def json_results() -> str:
    """The keys of the results of each command."""
    parts = []
    for name in COMMANDS:
        parts.append(f"## smtpsetup {name}\n")
        for definition in _results(name):
            if _DEFINITIONS[definition]["title"] != name:
                parts.append(f"### {_heading(definition)}\n")
            parts.append(_keys(definition))
    return "\n".join(parts)


def json_parts() -> str:
    """The objects that several results have."""
    shown = {name for command in COMMANDS for name in (*_results(command), *map(_entry, _results(command)))}
    shown |= {"document", "error", "reply"}
    parts = [name for name, kind in _DEFINITIONS.items() if kind.get("type") == "object" and name not in shown]
    return "\n".join(f"### {_heading(name)}\n\n{_keys(name)}" for name in parts)


def json_values() -> str:
    """The kinds of values that have a name."""
    rows = ["| kind | meaning | values |", "| --- | --- | --- |"]
    for name, kind in _DEFINITIONS.items():
        if "enum" in kind or kind.get("type") in ("string", "integer"):
            values = " ".join(f"`{value}`" for value in kind.get("enum", ()))
            rows.append(f"| {kind['title']} | {kind['description']} | {_LISTED_ELSEWHERE.get(name, values)} |")
    return "\n".join(rows) + "\n"


def _results(command: str) -> list[str]:
    """The definitions of what a command prints, its lines without an envelope last."""
    rules = [rule for rule in _DEFINITIONS["document"]["allOf"] if "result" in rule["then"].get("properties", {})]
    (result,) = (
        rule["then"]["properties"]["result"]
        for rule in rules
        if rule["if"]["properties"]["command"]["const"] == command
    )
    names = [_name(one) for one in result.get("anyOf", [result])]
    return names + ([_name(_DEFINITIONS["line"][key]) for key in ("then", "else")] if command == "send" else [])


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix("#/$defs/")


def _entry(name: str) -> str:
    """The definition of an entry, where a definition is a list; else `""`."""
    return _name(_DEFINITIONS[name]["items"]) if _DEFINITIONS[name].get("type") == "array" else ""


def _is_result(name: str) -> bool:
    return any(name in _results(command) for command in COMMANDS)


def _heading(name: str) -> str:
    return f"{'smtpsetup ' if _is_result(name) else ''}{_DEFINITIONS[name]['title']}"


def _link(name: str) -> str:
    definition = _DEFINITIONS[name]
    if definition.get("type") != "object":
        return f"[{definition['title']}](#values)"
    lists = [one for command in COMMANDS for one in _results(command) if _entry(one) == name]
    heading = _heading(lists[0] if lists and not _is_result(name) else name)
    return f"[{definition['title']}](#{re.sub('[^a-z0-9 -]', '', heading.lower()).replace(' ', '-')})"


def _keys(name: str) -> str:
    """What a definition means, and a table of its keys."""
    definition = _DEFINITIONS[name]
    entry = _entry(name)
    is_list = " A list; the keys of an entry:" if entry else ""
    intro = f"{definition['description']}{is_list}"
    same = _name(definition) if "$ref" in definition else entry if _is_result(entry) else ""
    if same:
        return f"{intro.rstrip(':')}{'' if is_list else ' Its keys'} are those of {_link(same)}.\n"
    described = _DEFINITIONS[entry] if entry else definition
    skipped: frozenset[str] = frozenset()
    base = _base(described)
    if base:
        intro += f" The keys of {_link(base)}, and:"
        skipped = frozenset(_DEFINITIONS[base]["properties"])
    rows = ["| key | type | meaning |", "| --- | --- | --- |", *_rows(described, skipped)]
    return f"{intro}\n\n" + "\n".join(rows) + "\n"


def _base(definition: dict[str, Any]) -> str:
    """The definition of which this one has every key, before its own; `""` for none."""
    base = _place(next(iter(definition["properties"].values())))[0]
    places = {_place(written) for written in definition["properties"].values()}
    is_whole = bool(base) and {(base, key) for key in _properties(base)} <= places
    return base if is_whole else ""


def _properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = _DEFINITIONS[name].get("properties", {})
    return found


def _place(written: dict[str, Any]) -> tuple[str, str]:
    """The definition and the key that a key refers to, both `""` where it is written out."""
    name, is_key, key = str(written.get("$ref", "")).removeprefix("#/$defs/").partition("/properties/")
    return (name, key) if is_key else ("", "")


def _rows(described: dict[str, Any], skipped: frozenset[str] = frozenset(), before: str = "") -> Iterator[str]:
    for key, written in described["properties"].items():
        if key in skipped:
            continue
        value = _resolved(written)
        absent = "" if key in described["required"] else ", may be absent"
        yield f"| `{before}{key}` | {_type(value)}{absent} | {value['description']} |"
        inner = [(value, "."), (value.get("items", {}), "[]."), *((one, ".") for one in value.get("anyOf", ()))]
        for one, suffix in inner:
            if "properties" in one:
                yield from _rows(one, before=f"{before}{key}{suffix}")


def _resolved(written: dict[str, Any]) -> dict[str, Any]:
    """A key that refers to the key of another definition is as that one."""
    name, key = _place(written)
    return _resolved(_properties(name)[key]) if name else written


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return _link(_name(value))
    if "const" in value or "enum" in value:
        return " ".join(f"`{json.dumps(one).strip(chr(34))}`" for one in value.get("enum", [value.get("const")]))
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    kinds = value.get("type", "by command")
    if kinds == "array":
        return f"list of {_type(value['items'])}"
    if kinds == "object" and "properties" not in value:
        return "object of strings"
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)

"""What commands print with --json, as the tests read it: every line of it is checked against docs/schema.json."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from smtpsetup.cli.main import COMMANDS

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs" / "schema.json").read_text(encoding="utf-8"))
DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]
_BY_OPTION = {"--status": "relay-status", "--install": "relay-install", "--uninstall": "relay-uninstall"}


def read(line: str | bytes, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """A line that a command printed. `arguments` are those of the command, if they are to decide its definition."""
    _check(line, arguments)
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def read_all(text: str, arguments: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All lines that a command printed."""
    return [read(line, arguments) for line in text.split("\n") if line]


def fault(value: Any, definition: str = "") -> str:
    """What of a value does not fit the schema or the definition of that name, `""` for nothing."""
    error = best_match(_validator(definition).iter_errors(value))
    return f"{error.json_path}: {error.message}" if error else ""


def fits(value: Any, arguments: tuple[str, ...] = ()) -> bool:
    """Whether a value is what a command may print; `arguments` as for `read`."""
    if not _validator("").is_valid(value):
        return False
    definition = definition_of(arguments) if value.get("ok") and "schema" in value else ""
    return not definition or _validator(definition).is_valid(value["result"])


def definition_of(arguments: tuple[str, ...]) -> str:
    """The definition of the result of a command line, `""` where several are possible."""
    command = next((word for word in arguments if word in COMMANDS), "")
    rest = arguments[arguments.index(command) + 1 :] if command else ()
    if command == "send":
        many = "-batch" if {"--batch", "--merge"}.intersection(rest) else ""
        return f"send{many}{'-dry-run' if '--dry-run' in rest else ''}"
    if command == "outbox" and (found := [f"{command}-{word}" for word in rest if not word.startswith("-")]):
        by_option = {"--sent": "-sent", "--install": "-install", "--uninstall": "-uninstall"}
        ending = next((by_option[word] for word in rest if word in by_option), "")
        if found[0] + ending in DEFINITIONS:
            return found[0] + ending
    if command == "relay" and (chosen := next((_BY_OPTION[word] for word in rest if word in _BY_OPTION), "")):
        return chosen
    inner = next((f"{command}-{word}" for word in rest if f"{command}-{word}" in DEFINITIONS), "")
    if inner or command in ("outbox", "accounts"):
        return inner or f"{command}-list"
    return "" if command in ("relay", "explain", "help", "doctor", "sandbox") else command


@functools.lru_cache(maxsize=64)  # many tests look at a document more than once
def _check(line: str | bytes, arguments: tuple[str, ...]) -> None:
    value = json.loads(line)
    if fits(value, arguments):
        return
    wrong = fault(value) or fault(value["result"], definition_of(arguments))
    message = f"{wrong}; if the change is meant, docs/schema.json must say so: {line[:2000]!r}"
    raise AssertionError(message)


@functools.cache  # a validator resolves each reference once
def _validator(definition: str) -> Draft202012Validator:
    schema = {"$ref": f"#/$defs/{definition}", "$defs": DEFINITIONS} if definition else SCHEMA
    return Draft202012Validator(schema, format_checker=FormatChecker(("date", "idn-email")))

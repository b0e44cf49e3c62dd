"""docs/schema.json: what it must say of itself, of the code, and of documents that are wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from jsonschema import Draft202012Validator

from smtpsetup.cli.help import TOPICS
from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.model import Auth, ProviderStatus, Security, Stage, StageStatus
from smtpsetup.diagnosis.rehearsal import Act
from smtpsetup.discovery.candidates import QueryStatus, Source, Trust
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.providers.schema import CONFIDENCE, LIMITS, USERNAME_FORMS
from smtpsetup.render.json import SCHEMA, document
from smtpsetup.setup.findings import FindingStatus
from tests import answers
from tests.answers import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def test_it_is_a_schema_of_the_version_that_is_written() -> None:
    Draft202012Validator.check_schema(answers.SCHEMA)
    assert DEFINITIONS["document"]["properties"]["schema"]["const"] == SCHEMA


def objects(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield place, schema
        for key, value in schema.items():
            yield from objects(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from objects(value, f"{place}/{number}")


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A property with what it refers to."""
    if "$ref" not in schema:
        return schema
    found: Any = answers.SCHEMA
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**resolved(found), **schema}


def test_every_object_is_closed_and_says_which_keys_are_required() -> None:
    found = dict(objects(DEFINITIONS))
    assert len(found) > 50
    for place, schema in found.items():
        if "properties" not in schema:  # a map, such as from paths to contents
            assert schema["additionalProperties"] == {"type": "string"}, place
            continue
        assert schema["additionalProperties"] is False, place
        assert set(schema["required"]) <= set(schema["properties"]), place


def test_every_definition_and_property_is_described_in_a_line() -> None:
    described = [*DEFINITIONS.items()]
    for place, schema in objects(DEFINITIONS):
        described += [(f"{place}/{key}", resolved(value)) for key, value in schema.get("properties", {}).items()]
    for place, schema in described:
        text = schema.get("description", "")
        assert text.endswith((".", "`.")), place
        assert "\n" not in text, place
    assert [name for name, schema in DEFINITIONS.items() if not schema.get("title")] == []


def values_of(name: str, *keys: str) -> list[Any]:
    schema = DEFINITIONS[name]
    for key in keys:
        schema = resolved(schema["items"] if key == "[]" else schema["properties"][key])
    found: list[Any] = schema["enum"]
    return found


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("error-code", EXIT_CODES),
        ("error-stage", {*map(str, Stage), *(code.partition(".")[0] for code in EXIT_CODES)}),
        ("exit-code", EXIT_CODES.values()),
        ("stage", Stage),
        ("security", Security),
        ("auth", Auth),
        ("source", Source),
        ("confidence", CONFIDENCE),
        ("provider-status", ProviderStatus),
        ("document/command", (*COMMANDS, "smtpsetup")),
        ("candidate/trust", Trust),
        ("source-report/outcome", QueryStatus),
        ("configure/secret_store", Store),
        ("stage-result/status", StageStatus),
        ("outbox-mail/state", MailState),
        ("doctor/checks/[]/status", FindingStatus),
        ("help-topic/topic", TOPICS),
        ("providers-show/username/form", USERNAME_FORMS),
        ("rehearsal/act", (*Act, None)),
    ],
)
def test_the_values_are_those_of_the_code(place: str, code: Iterable[Any]) -> None:
    listed = values_of(*place.split("/"))
    assert len(listed) == len(set(listed))
    assert set(listed) == {str(value) if isinstance(value, str) else value for value in code}


def test_the_limits_are_those_of_the_provider_table() -> None:
    assert set(DEFINITIONS["limits"]["properties"]) == {*LIMITS, "note"}


def commands_with_json() -> Iterator[str]:
    """Every command and subcommand that takes --json, as its definition is named."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        inner = command.commands if isinstance(command, click.Group) else {}
        for word, one in {"": command, **inner}.items():
            if one and any("--json" in parameter.opts for parameter in one.params):
                yield f"{name}-{word}".rstrip("-")


def results() -> dict[str, list[str]]:
    """The definitions that `document` chooses from, by command."""
    found = {}
    for rule in DEFINITIONS["document"]["allOf"]:
        command = rule["if"]["properties"].get("command", {}).get("const")
        result = rule["then"]["properties"].get("result")
        if command and result:
            found[command] = [one["$ref"].rpartition("/")[2] for one in result.get("anyOf", [result])]
    return found


def test_every_command_and_subcommand_has_a_definition() -> None:
    named = set(commands_with_json())
    assert {"identify", "outbox", "outbox-flush", "relay-renew", "providers-validate", "sandbox"} <= named
    by_command = results()
    assert list(by_command) == list(COMMANDS)
    known = {name for names in by_command.values() for name in names}
    # these two list where no subcommand is given
    assert {{"outbox": "outbox-list", "accounts": "accounts-list"}.get(name, name) for name in named} <= known
    for command, names in by_command.items():
        assert all(DEFINITIONS[name]["title"].split(",")[0].split()[0] == command for name in names)


def test_every_definition_is_used() -> None:
    text = json.dumps(answers.SCHEMA)
    assert [name for name in DEFINITIONS if f'"#/$defs/{name}"' not in text] == []


def test_the_error_of_every_code_fits() -> None:
    for code in EXIT_CODES:
        error = SmtpsetupError(code, "No.")
        assert answers.fault(json.loads(document("smtpsetup", None, error))) == "", code


GOOD: dict[str, Any] = {"schema": SCHEMA, "command": "outbox", "ok": True, "result": {"dropped": [1]}}
ERROR = json.loads(document("outbox", None, SmtpsetupError("config.invalid", "No.")))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        {"schema": 2},
        {key: value for key, value in GOOD.items() if key != "result"},
        {key: value for key, value in ERROR.items() if key != "error"},
        {**GOOD, "ok": False},
        {**GOOD, "error": ERROR["error"]},
        {**GOOD, "command": "export"},
        {**GOOD, "command": "smtpsetup"},
        {**GOOD, "command": "identify"},
        {**GOOD, "more": 1},
        {**GOOD, "result": {"dropped": ["1"]}},
        {**GOOD, "result": {"dropped": [1], "retried": [1]}},
        {**ERROR, "error": {**ERROR["error"], "code": "config.no-such-code"}},
        {**ERROR, "error": {**ERROR["error"], "stage": "no-such-stage"}},
        {**ERROR, "error": {**ERROR["error"], "reply": {"code": 99, "enhanced": None, "text": ""}}},
    ],
)
def test_a_document_of_another_form_does_not_fit(wrong: Any) -> None:
    assert answers.fault(GOOD) == answers.fault(ERROR) == ""
    assert answers.fault(wrong)


@pytest.mark.parametrize(
    ("definition", "right", "wrong"),
    [
        ("time", "2026-11-26T14:05:00Z", ["2026-11-26T14:05:00+01:00", "2026-11-26 14:05:00Z", "2026-11-26", 1]),
        ("date", "2026-11-26", ["2026-02-30", "26/11/2026", 20261126]),
        ("address", "åsa@mindomän.se", ["åsa", ""]),
        ("port", 587, [0, 65536, "587"]),
        ("exit-code", 75, [0, 3, "75"]),
    ],
)
def test_times_days_addresses_and_numbers_are_checked(definition: str, right: object, wrong: list[object]) -> None:
    assert answers.fault(right, definition) == ""
    assert [value for value in wrong if not answers.fault(value, definition)] == []


def test_the_definition_of_a_command_line_is_known() -> None:
    assert {
        line: answers.definition_of(tuple(line.split()))
        for line in ("--config relay.toml outbox", "relay list", "relay --status", "send a@b.se --dry-run", "relay")
    } == {
        "--config relay.toml outbox": "outbox-list",
        "relay list": "relay-list",
        "relay --status": "relay-status",
        "send a@b.se --dry-run": "send-dry-run",
        "relay": "",
    }

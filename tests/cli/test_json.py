"""docs/schema.json against documents of real commands: what is not as they are does not fit."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests import answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.sandbox.server import SandboxFacts
    from tests.conftest import Home

OFFLINE = [
    "identify namn@live.se --offline --all",
    "identify nobody@nobody.example --offline",
    "providers show one.com",
    "providers validate",
    "accounts list",
    "outbox list",
    "outbox repair",
    "outbox schedule --with cron",
    "relay list",
    "relay --status",
    "explain auth.bad-credentials",
    "help cron",
    "help outbox list",
    "completion bash",
    "sandbox --list-faults",
    "no-such-command",
]
WITH_ACCOUNT = [
    "accounts show",
    "accounts default info@example.com",
    "test",
    "test --login-only",
    "send kund@example.com -s Hej --body Hej",
    "send kund@example.com -s Hej --body Hej --dry-run",
    "send kund@example.com -s Hej --body Hej --queue always",
    "outbox list",
    "outbox show 1",
    "outbox retry 1",
    "outbox flush",
    "relay add-client shop --from info@example.com --per-day 9",
    "relay renew shop",
    "relay list",
    "card",
    "doctor",
    "relay remove shop",
    "accounts remove info@example.com",
]
# by definition: keys that may be absent, and maps whose keys are no names
MAY_GO = {"candidates", "sources", "sign_in", "id", "limits", "files"}


def parts(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in a document; of a list, those of its first entry."""
    yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from parts(inner, (*place, key))
    elif isinstance(value, list) and value:
        yield from parts(value[0], (*place, 0))


def changed(document: Any, place: tuple[str | int, ...], *value: Any) -> Any:
    """A copy with another value at that place, or without it."""
    copied = copy.deepcopy(document)
    inner = copied
    for step in place[:-1]:
        inner = inner[step]
    if value:
        inner[place[-1]] = value[0]
    else:
        del inner[place[-1]]
    return copied


def assert_that_nothing_else_fits(document: dict[str, Any], arguments: tuple[str, ...]) -> None:
    def fits(other: Any) -> bool:
        return answers.fits(other, arguments)

    assert fits(document)
    for place in parts(document):
        if not place:
            continue
        found: Any = document
        for step in place:
            found = found[step]
        other: Any = "x" if isinstance(found, int | float | dict | list) else {"x": 1}
        assert not fits(changed(document, place, other)), f"another type fits: {place}"
        if isinstance(found, dict) and "files" not in place[-1:]:
            assert not fits(changed(document, (*place, "unknown-key"), 1)), f"another key fits: {place}"
        if isinstance(place[-1], str) and not MAY_GO.intersection(map(str, place[-2:])):
            assert not fits(changed(document, place)), f"it fits without {place}"


@pytest.mark.parametrize("line", OFFLINE)
def test_only_what_a_command_prints_fits(home: Home, line: str) -> None:
    arguments = (*line.split(), "--json")
    document = home.run(*arguments).json
    if isinstance(document.get("result"), list):
        document["result"] = document["result"][:1]
    assert_that_nothing_else_fits(document, arguments)


@pytest.mark.slow
def test_only_what_a_command_prints_of_an_account_fits(home: Home, facts: SandboxFacts) -> None:
    configured = home.configure(facts, "--json")
    assert_that_nothing_else_fits(configured.json, configured.arguments)
    for line in WITH_ACCOUNT:
        done = home.run(*line.split(), "--json")
        assert "result" in done.json, done.err
        assert_that_nothing_else_fits(done.json, done.arguments)
    failed = home.configure(facts, "--json", password="wrong")
    assert failed.json["error"]["reply"]
    assert_that_nothing_else_fits(failed.json, failed.arguments)

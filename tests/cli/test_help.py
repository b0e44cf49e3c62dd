"""`help TOPIC`, and help pages with groups, examples and environment variables."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import pytest

from smtpsetup.cli.examples import EXAMPLES
from smtpsetup.cli.help import TOPICS
from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.cli.option_groups import _GROUPS, group_of, titles
from smtpsetup.render import topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand, by what is typed after `smtpsetup`."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command
        yield name, command
        if isinstance(command, click.Group):
            for inner, one in command.commands.items():
                yield f"{name} {inner}", one


@pytest.mark.parametrize("language", ["en", "sv"])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_explained_offline(home: Home, topic: str, language: str) -> None:
    shown = home.run("help", topic, SMTPSETUP_LANG=language)
    assert (shown.code, shown.err) == (0, "")
    assert "  1. " in shown.out
    document = home.run("help", topic, "--json", SMTPSETUP_LANG=language).json
    assert set(document["result"]) == {"topic", "text", "steps", "notes", "url"}
    assert document["result"]["text"] in shown.out
    other = home.run("help", topic, SMTPSETUP_LANG="sv" if language == "en" else "en")
    assert not {line for line in shown.out.splitlines() if " " in line.strip()} & set(other.out.splitlines())


def test_help_lists_its_topics(home: Home) -> None:
    assert tuple(topics.TOPICS) == TOPICS
    shown = home.run("help").out
    assert all(f"`smtpsetup help {name}`" in shown for name in TOPICS)
    assert [one["topic"] for one in home.run("help", "--json").json["result"]] == list(TOPICS)


def test_help_of_a_command_is_its_help_page(home: Home) -> None:
    assert home.run("help", "send").out == home.run("send", "--help").out
    assert home.run("help", "relay", "add-client").out == home.run("relay", "add-client", "--help").out
    document = home.run("help", "send", "--json").json
    assert (document["command"], document["result"]["topic"]) == ("help", "send")
    unknown = home.run("help", "nonsense")
    assert (unknown.code, "secrets" in unknown.err) == (2, True)


def test_every_command_has_an_example_that_it_understands() -> None:
    known = dict(commands())
    assert set(EXAMPLES) == set(known)
    for name, lines in EXAMPLES.items():
        for line in lines:
            typed = shlex.split(line.rpartition(" | ")[2].partition(" > ")[0])
            assert typed[: 1 + len(name.split())] == ["smtpsetup", *name.split()]
            own = [one for key, one in known.items() if key.split()[0] == name.split()[0]]
            options = {flag for one in own for option in one.params for flag in (*option.opts, *option.secondary_opts)}
            assert {word for word in typed if word.startswith("-")} <= options, line


def test_every_option_is_shown_once_in_a_group_that_has_a_title() -> None:
    names = {parameter.name for _name, command in commands() for parameter in command.params}
    grouped = [name for names_of_group in _GROUPS.values() for name in names_of_group]
    assert set(grouped) - {"help", "version", "config_option"} <= names
    assert len(grouped) == len(set(grouped))
    found = {group_of(command, str(option.name)) for command, one in commands() for option in one.params}
    assert found == set(titles())
    assert group_of("providers list", "auth") == group_of("relay add-client", "system") == ""


def test_a_page_shows_groups_examples_and_variables(home: Home) -> None:
    shown = home.run("configure", "--help").out
    titles_shown = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles_shown[0] == "Options:"
    assert titles_shown[-1] == "Examples:"
    assert "Where the password comes from:" in titles_shown
    assert "[env: SMTPSETUP_<PROVIDER>_CLIENT_ID]" in " ".join(shown.split())
    assert "[env: SMTPSETUP_CONFIG]" in home.run("--help").out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_page_uses_the_width_of_the_terminal(home: Home, columns: int) -> None:
    lines = home.run("send", "--help", COLUMNS=str(columns)).out.splitlines()
    examples = lines.index("Examples:")
    assert max(len(line) for line in lines[:examples] if not line.lstrip().startswith(("-", "Usage"))) <= columns
    if columns == 200:
        assert max(map(len, lines[:examples])) > 100

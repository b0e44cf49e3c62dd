"""What documents say in passing: commands between backticks exist with their options, and the exit codes are those of
the program."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.core import exit_codes
from tests.documents.blocks import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_PAGES = sorted([*ROOT.glob("*.md"), *ROOT.joinpath("docs").rglob("*.md")])
# what a text says of a command without being one
_NO_COMMANDS = ("add-client", "check", "export")


def mentioned(page: Path) -> set[str]:
    """The commands between backticks on a page, each as it is typed."""
    return set(re.findall(r"`(smtpsetup [^`\n]+)`", page.read_text(encoding="utf-8")))


def group_options(command: click.Command) -> set[str]:
    return {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"-h", "--help"}


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_a_text_exist_with_their_options(page: Path) -> None:
    for text in (one for line in mentioned(page) for one in line.split(" && ") if one.startswith("smtpsetup")):
        words = shlex.split(text.replace("{", "").replace("}", "").replace("…", ""), comments=True)[1:]
        while words and words[0] in ("--config", "-V", "--version", "-h", "--help"):
            words = words[2:] if words[0] == "--config" else words[1:]
        if not words or words[0].isupper() or words[0] in _NO_COMMANDS:
            continue
        assert words[0] in COMMANDS, text
        command = cli.get_command(click.Context(cli), words[0])
        options = group_options(command) if command else set()
        if isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
            options |= group_options(command.commands[words[1]])
        typed = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z][\w-]*(=.*)?", word)}
        assert typed <= options, text


def test_the_exit_codes_in_the_readme_are_those_of_the_program() -> None:
    rows = re.findall(r"(?m)^\| (\d[\d, ]*) \| ", (ROOT / "README.md").read_text(encoding="utf-8"))
    listed = {int(code) for row in rows for code in row.split(",")}
    known = {value for name, value in vars(exit_codes).items() if name.startswith("EX_")}
    assert listed - {0, 2} == known - {exit_codes.EX_USAGE}  # 64 is smtpsetup-sendmail's; 2 is Click's

"""`smtpsetup completion`, as the shells themselves ask it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from smtpsetup.cli import quick_complete
from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.cli.quick_complete import VALUES
from smtpsetup.sandbox.faults import FAULTS

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import SandboxFacts
    from tests.conftest import Home

_BASH = """
eval "$(smtpsetup completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last}
_smtpsetup_completion smtpsetup
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(home: Home, typed: str) -> list[str]:
    """What bash offers at the end of this line."""
    words = typed.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    return _in_shell(home, "bash", "-c", _BASH.format(words=quoted, last=len(words) - 1)).split("\n")[:-1]


def _in_shell(home: Home, *argv: str) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(argv, env={**home.env, "PATH": path}, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return done.stdout


def test_commands_and_options(home: Home) -> None:
    assert offered(home, "smtpsetup ") == list(COMMANDS)
    assert offered(home, "smtpsetup ex") == ["explain"]
    assert "--json" in offered(home, "smtpsetup explain --")
    assert offered(home, "smtpsetup --ver") == ["--version"]


def test_values(home: Home) -> None:
    assert offered(home, "smtpsetup providers show tel") == sorted(offered(home, "smtpsetup configure --provider tel"))
    assert "telia" in offered(home, "smtpsetup providers show tel")
    assert offered(home, "smtpsetup explain auth.bad") == ["auth.bad-credentials"]
    assert offered(home, "smtpsetup sandbox --fault ") == sorted(FAULTS)


def test_quick_values_are_those_that_click_finds() -> None:
    context = click.Context(cli)
    by_click: dict[tuple[str, str], click.Parameter] = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command
        inner = command.commands if isinstance(command, click.Group) else {}
        for path, one in {name: command, **{f"{name} {key}": value for key, value in inner.items()}}.items():
            for parameter in one.params:
                if parameter._custom_shell_complete and path not in ("help", "relay add-client"):
                    words = parameter.opts if isinstance(parameter, click.Option) else [""]
                    by_click |= {(path, word): parameter for word in words}
    assert set(VALUES) == set(by_click)
    for (path, word), parameter in by_click.items():
        found = [item.value for item in parameter.shell_complete(context, "a")]
        assert quick_complete.values([*path.split(), *([word] if word else [])], "a") == found


def test_accounts_and_clients(home: Home, facts: SandboxFacts) -> None:
    assert offered(home, "smtpsetup send --account ") == [""]
    assert home.configure(facts, "--account", "shop").code == 0
    assert home.run("relay", "add-client", "printer").code == 0
    for typed in ("send --account ", "test ", "doctor s", "accounts show sh", "relay add-client x --account "):
        assert offered(home, f"smtpsetup {typed}") == ["shop"], typed
    assert offered(home, "smtpsetup card --client p") == ["printer"]
    assert offered(home, "smtpsetup relay renew ") == ["printer"]


def test_a_file_that_cannot_be_read_offers_nothing(home: Home) -> None:
    home.file(".config/smtpsetup/config.toml", "not toml [")
    assert offered(home, "smtpsetup test ") == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(home: Home, shell: str) -> None:
    script = home.run("completion", shell)
    assert (script.code, script.err) == (0, "")
    assert home.run("completion", shell, "--json").json["result"] == {"shell": shell, "script": script.out[:-1]}
    if shutil.which(shell):
        _in_shell(home, shell, "-n", str(home.file("script", script.out)))


def test_an_unknown_shell(home: Home) -> None:
    assert home.run("completion", "powershell").code == 2

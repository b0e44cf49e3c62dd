"""The first five minutes of three people, replayed at a terminal of 80 columns in both languages.

Each recording is a file beside this one: what the person typed (`$ …` for a command, `> …` for an answer) and what the
screen showed. `SMTPSETUP_RECORD=1` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.conftest import PASSWORD
from tests.person import Person
from tests.recordings.screen import screen
from tests.rows import provider_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts

_HERE = Path(__file__).parent
_COLUMNS = 80
_QUIET_SECONDS = 0.7
_HIDDEN = "(hidden) "  # before an answer that the terminal must not show

Step = tuple[str, tuple[str, ...]]

SHOP_AT_LIVE_SE: tuple[Step, ...] = (
    ("smtpsetup identify namn@live.se", ()),
    ("smtpsetup configure namn@live.se", ("1", "abc", "")),
    ("smtpsetup configure namn@live.se", ("3",)),
    ("smtpsetup explain auth.oauth2-required", ()),
)
SHOP_AT_ONE_COM: tuple[Step, ...] = (
    (
        "smtpsetup configure info@mittforetag.example",
        ("Mitt Företag AB", f"{_HIDDEN}fel", f"{_HIDDEN}fel igen", f"{_HIDDEN}{PASSWORD}", "n"),
    ),
    ("smtpsetup test", ()),
    ("smtpsetup send -s Faktura --body 'Hej!' kund@example.com", ()),
    ("smtpsetup accounts show", ()),
)
WITHOUT_A_MISTAKE: tuple[Step, ...] = (
    ("smtpsetup configure info@mittforetag.example", ("Mitt Företag AB", f"{_HIDDEN}{PASSWORD}", "n")),
    ("smtpsetup test", ()),
)
ADMINISTRATOR: tuple[Step, ...] = (
    ("smtpsetup help cron", ()),
    (
        (
            f"echo '{PASSWORD}' | smtpsetup configure backup@mittforetag.example --unattended --password-stdin "
            "--password-file ~/mail-password"
        ),
        (),
    ),
    ("echo klart | smtpsetup send -s Backup admin@example.com", ()),
    ("smtpsetup send -s Backup --attach /saknas.log --body x admin@example.com", ()),
    ("smtpsetup outbox", ()),
)


@pytest.mark.parametrize("language", ["en", "sv"])
@pytest.mark.parametrize(
    ("name", "steps"),
    [("live-se", SHOP_AT_LIVE_SE), ("one-com", SHOP_AT_ONE_COM), ("right", WITHOUT_A_MISTAKE), ("cron", ADMINISTRATOR)],
)
def test_the_first_minutes_are_as_recorded(  # noqa: PLR0913, PLR0917  fixtures
    name: str, steps: Sequence[Step], language: str, person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    with tempfile.TemporaryDirectory(prefix="home-", dir="/tmp") as directory:  # of the same length in every run
        home = replace(person.home, path=Path(directory), env={**person.home.env, "HOME": directory})
        home.file(
            ".config/smtpsetup/providers.toml",
            provider_row("one-com", "one.com", "mittforetag.example", port=facts.tls_port),
        )
        seated = Person(home, person.keyring)
        shown = [line for step in steps for line in _played(seated, step, language, facts)]
    recording = _HERE / f"{name}.{language}.txt"
    if os.environ.get("SMTPSETUP_RECORD"):
        recording.write_text("\n".join(shown) + "\n", encoding="utf-8")
    assert shown == recording.read_text(encoding="utf-8").splitlines()
    assert not any("PASSWORD" in line for line in shown if not line.startswith("$ "))


def _played(person: Person, step: Step, language: str, facts: SandboxFacts) -> list[str]:
    """What the screen shows of one command, with the answers that were typed."""
    command, answers = step
    function = f'smtpsetup() {{ {shlex.quote(sys.executable)} -m smtpsetup "$@"; }}'
    terminal = pexpect.spawn(
        "sh",
        ["-c", f"{function}; {command}"],
        env={
            **person.home.env,
            **person.keyring.env,
            "TERM": "xterm",
            "SMTPSETUP_LANG": language,
            "SSL_CERT_FILE": str(facts.ca_file),
        },
        cwd=str(person.home.path),
        encoding="utf-8",
        dimensions=(60, _COLUMNS),
        timeout=30,
    )
    person.terminals.append(terminal)
    printed = ""
    for answer in answers:
        printed += _until_a_question(terminal)
        typed = answer.removeprefix(_HIDDEN)
        terminal.sendline(typed)
        if typed != answer:
            printed += "***\n"
    terminal.expect(pexpect.EOF)
    lines = screen(printed + str(terminal.before))
    return [_same_everywhere(line, person, facts) for line in (f"$ {command}", *lines)]


def _until_a_question(terminal: pexpect.spawn[str]) -> str:
    """What is printed until the program waits for an answer: the last line ends in a colon, and nothing follows."""
    printed = ""
    while True:
        terminal.expect(": $")
        printed += str(terminal.before) + str(terminal.after)
        try:
            terminal.expect(".+", timeout=_QUIET_SECONDS)
        except pexpect.TIMEOUT:
            return printed
        printed += str(terminal.before) + str(terminal.after)


def _same_everywhere(line: str, person: Person, facts: SandboxFacts) -> str:
    """The line without what differs between two runs: ports, directories, times."""
    for varying, fixed in (
        (str(person.home.path), "~"),
        (sys.executable, "python"),
        (str(facts.tls_port), "465"),
        (str(Path(facts.ca_file).parent), "/sandbox"),
        (person.home.env["SMTPSETUP_NAMESERVER"], "127.0.0.1:53"),
        (PASSWORD, "PASSWORD"),
    ):
        line = line.replace(varying, fixed)
    return line

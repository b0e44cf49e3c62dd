"""Someone at a real terminal, logged in, their keyring open."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.servers import Keyring


@pytest.fixture
def person(home: Home, keyring: Keyring) -> Iterator[Person]:
    sitting = Person(home, keyring)
    yield sitting
    sitting.leave()


class Person:
    """Someone logged in at a terminal, their keyring open."""

    def __init__(self, home: Home, keyring: Keyring) -> None:
        self.home = home
        self.keyring = keyring
        self.columns = 100
        self.terminals: list[pexpect.spawn[str]] = []

    def types(self, *arguments: str, **env: str) -> pexpect.spawn[str]:
        """Run a command at the terminal."""
        command = [*self.home.prefix, sys.executable, "-m", "smtpsetup", *arguments]
        terminal = pexpect.spawn(
            command[0],
            command[1:],
            env={**self.home.env, **self.keyring.env, "TERM": "xterm", **env},
            cwd=str(self.home.path),
            encoding="utf-8",
            dimensions=(40, self.columns),
            timeout=30,
        )
        self.terminals.append(terminal)
        return terminal

    def leave(self) -> None:
        for terminal in self.terminals:
            terminal.close(force=True)


def ended(terminal: pexpect.spawn[str], code: int) -> str:
    """What was on the screen when the command ended with that exit code."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    shown = str(terminal.before)
    assert terminal.exitstatus == code, shown
    assert "Traceback" not in shown
    return shown


def saved(terminal: pexpect.spawn[str]) -> str:
    """What `configure` shows at its end, the question about scripts answered with no."""
    terminal.expect(r"(Will scripts|Ska skript).*: ")
    before = str(terminal.before)
    terminal.sendline("n")
    return before + ended(terminal, 0)


def interrupt(terminal: pexpect.spawn[str]) -> None:
    """Press Ctrl-C as fast as a person can.

    Python loses one that comes in the instant between printing a prompt and waiting for the answer.
    """
    time.sleep(0.3)
    terminal.sendintr()

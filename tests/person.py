"""A person at a real terminal, with an unlocked keyring."""

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


NO_KEYRING = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}


class Person:
    """A person at a terminal of `columns` columns, with an unlocked keyring."""

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
    """The output of a command that ends with this exit code."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    shown = str(terminal.before)
    assert terminal.exitstatus == code, shown
    assert "Traceback" not in shown
    return shown


def saved(terminal: pexpect.spawn[str]) -> str:
    """The output of `configure` to its end, with "no" for the question about scripts."""
    terminal.expect(r"(Will scripts|Ska skript).*: ")
    before = str(terminal.before)
    terminal.sendline("n")
    return before + ended(terminal, 0)


def interrupt(terminal: pexpect.spawn[str]) -> None:
    """Press Ctrl-C after a pause: Python loses one between printing a prompt and waiting for the answer."""
    time.sleep(0.3)
    terminal.sendintr()

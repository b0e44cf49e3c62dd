"""The password is in no place where anyone but the server could read it."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PASSWORD, Home, Run, server_options
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import SandboxFacts
    from tests.servers import Keyring

USERNAME = "info@example.com"
FORMS = {
    PASSWORD,
    PASSWORD.encode("unicode_escape").decode(),
    repr(PASSWORD.encode())[2:-1],
    urllib.parse.quote(PASSWORD),
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode(),
}


def shows(text: str) -> bool:
    return any(form in text for form in FORMS)


def command_lines(stop: threading.Event, found: list[str], forms: set[str]) -> None:
    """Read the arguments and environment of every process, repeatedly, as any other program of the user can."""
    while not stop.wait(0.005):
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    text = (process / name).read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                if any(form in text for form in forms):
                    found.append(text)


def run_all(home: Home, facts: SandboxFacts, keyring: Keyring) -> list[Run]:
    env = keyring.env
    arguments = server_options(facts)
    with ScriptedServer(
        (
            b"220 x\r\n",
            None,
            b"250-x\r\n250 AUTH PLAIN\r\n",
            None,
            b"535 5.7.8 Wrong: " + PASSWORD.encode() + b" (" + _plain() + b")\r\n",
            None,
        )
    ) as echo:
        bad = f"--host localhost --port {echo.port} --security none --account echo --password-stdin".split()
        return [
            home.run("configure", USERNAME, *arguments, "--password-stdin", stdin=PASSWORD + "\n", **env),
            home.run(
                "configure", USERNAME, *arguments, "--password-stdin", "--json", "-v", stdin=PASSWORD + "\n", **env
            ),
            home.run("test", "-v", **env),
            home.run("test", "-v", "--json", **env),
            home.run("send", "a@example.com", "--body", "x", "-v", **env),
            home.run("send", "a@example.com", "--body", "x", "--dry-run", "-v", **env),
            home.run("accounts", "show", "--json", **env),
            home.run("accounts", "list", "-v", **env),
            home.run("login", "--password-stdin", "--json", stdin=PASSWORD, **env),
            home.run("login", "--password-stdin", stdin=PASSWORD + "\n" + PASSWORD, **env),
            home.run("configure", USERNAME, *bad, stdin=PASSWORD, **env),
            home.run("configure", USERNAME, *bad, "-v", "--json", stdin=PASSWORD, **env),
        ]


def _plain() -> bytes:
    return base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks into /proc, which only Linux has")
def test_the_password_is_in_no_output_no_argument_no_environment_and_no_file(
    home: Home, facts: SandboxFacts, keyring: Keyring
) -> None:
    stop, found = threading.Event(), list[str]()
    watcher = threading.Thread(target=command_lines, args=(stop, found, FORMS))
    watcher.start()
    try:
        runs = run_all(home, facts, keyring)
    finally:
        stop.set()
        watcher.join()
    assert [run.code for run in runs] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 78, 77, 77]
    for run in runs:
        assert not shows(run.out + run.err)
    assert found == []
    for path in home.path.rglob("*"):
        if path.is_file():
            assert not shows(path.read_bytes().decode("utf-8", "replace")), path


def test_the_watcher_of_the_test_above_finds_a_secret_in_an_argument() -> None:
    stop, found = threading.Event(), list[str]()
    watcher = threading.Thread(target=command_lines, args=(stop, found, {"seen-in-argument"}))
    watcher.start()
    # a process that lives long enough to be read
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.3)", "seen-in-argument"], check=True)
    stop.set()
    watcher.join()
    assert found


@pytest.mark.parametrize("option", ["--password", "--secret", "--api-key", "--token"])
def test_no_option_takes_a_secret_as_its_value(home: Home, option: str) -> None:
    done = home.run("configure", "a@one.com", option, "x")
    assert done.code == 2
    assert "o such option" in done.err

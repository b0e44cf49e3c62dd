"""The start script of the container image, run as it is; the image itself is built by whoever has a builder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.recording import RecordingServer, plain_account
from tests.relay import Client, is_relay
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.conftest import Home

RECIPE = Path(__file__).parents[2] / "packaging" / "container"


def environment(home: Home, port: int) -> dict[str, str]:
    """The environment of the container, on the loopback and with the programs of this tree."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**home.unmeasured.env, "PATH": path, "SMTPSETUP_RELAY_HOST": "127.0.0.1", "SMTPSETUP_RELAY_PORT": str(port)}


def test_the_start_script_makes_a_client_and_runs_the_relay(home: Home) -> None:
    port = free_port()
    with RecordingServer() as server:
        plain_account(home, server.port)
        for _start in range(2):  # the second finds the client of the first
            process = subprocess.Popen([RECIPE / "start"], env=environment(home, port), stdout=subprocess.DEVNULL)
            try:
                wait_for(lambda: process.poll() is not None or is_relay(port))  # noqa: B023  called in this round
                file = home.path / "client-app"
                assert file.stat().st_mode & 0o777 == 0o600
                with Client("127.0.0.1", port) as client:
                    assert client.log_in(file.read_text().strip(), "app").startswith("235")
                    assert "STARTTLS" in client.say("EHLO test")
                    assert client.hand_over().startswith("250")
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()
                process.wait()


def test_the_start_script_says_that_an_account_is_needed(home: Home) -> None:
    env = environment(home, free_port())
    done = subprocess.run([RECIPE / "start"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "configure ADDRESS" in done.stderr
    assert not (home.path / "client-app").exists()


def test_the_start_script_runs_a_command_that_it_is_given(home: Home) -> None:
    command = [str(RECIPE / "start"), "accounts", "list", "--json"]
    done = subprocess.run(command, env=environment(home, 1), capture_output=True, text=True, check=False)
    assert (done.returncode, '"result": []' in done.stdout) == (0, True)


def test_the_image_runs_a_worker(home: Home, shared: OutboxSettings) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.config.write_text(f'outbox = "{shared.url}"\n' + home.config.read_text())
        assert home.run("send", "a@example.com", "--body", "x", "--queue", "always").code == 0
        command = [str(RECIPE / "start"), "outbox", "work"]
        with subprocess.Popen(command, env=environment(home, 1), stdout=subprocess.PIPE) as worker:
            wait_for(lambda: server.mails)
            worker.terminate()  # exec has put it in the place of the script
            assert worker.wait(20) == 0


def test_the_recipe_copies_what_there_is() -> None:
    recipe = (RECIPE / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE):
        for source in line.split():
            assert (RECIPE.parents[1] / source).exists(), source

"""The relay of the machine: its own configuration, its own directory, and a user that exists only for it.

It runs with Debian's Python and modules, from a copy of the source that every user can read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import smtpsetup
from tests import answers
from tests.machine import needs
from tests.recording import RecordingServer
from tests.relay import Client, is_relay
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # with a machine of its own
DYNAMIC_USER = 61184  # the first uid that systemd gives with DynamicUser= (systemd.exec(5))
MODULES = ["aiosmtpd", "click", "cryptography", "dns", "idna", "keyring", "platformdirs", "rich", "tomli_w"]
_MOUNTS = 'mount --bind "$1/etc" /etc && mount --bind "$1/lib" /var/lib || exit 99; shift; exec "$@"'
_AS_SERVICE = ("setpriv", f"--reuid={DYNAMIC_USER}", f"--regid={DYNAMIC_USER}", "--clear-groups")


@dataclass(frozen=True)
class Machine:
    """A machine with its own /etc, whose /var/lib has only what systemd makes."""

    directory: Path
    name_server: str

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "smtpsetup" / "config.toml"

    @property
    def state(self) -> Path:
        return self.directory / "lib" / "private" / "smtpsetup-relay"

    def command(self, *arguments: str, as_service: bool = False) -> list[str]:
        """The command line of `smtpsetup relay` there, as root or as the service."""
        program = ("/usr/bin/python3", "-m", "smtpsetup", "relay", *arguments, "--system")
        mounts = ("unshare", "--mount", "sh", "-c", _MOUNTS, "sh", str(self.directory))
        return [*mounts, *(_AS_SERVICE if as_service else ()), *program]

    @property
    def env(self) -> dict[str, str]:
        return {
            "HOME": "/",
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": str(self.directory / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SMTPSETUP_NAMESERVER": self.name_server,
        }

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run a command as root. Returns its exit code and its JSON document."""
        command = self.command(*arguments, "--json")
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return done.returncode, answers.read(done.stdout, arguments)

    @contextlib.contextmanager
    def service(self) -> Iterator[int]:
        """The relay, run as the service. Yields its port."""
        port = free_port()
        command = self.command("--port", str(port), as_service=True)
        with subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: process.poll() is not None or is_relay(port))
                yield port
            finally:
                process.terminate()
        assert process.returncode == 0


@pytest.fixture
def machine(name_server: str) -> Iterator[Machine]:
    """A machine with an account without a login at port 1."""
    needs("unshare", "setpriv", packages="util-linux")
    if os.getuid() != 0:
        missing("needs root")
    if subprocess.run(["/usr/bin/python3", "-c", f"import {', '.join(MODULES)}"], check=False).returncode:
        missing("needs Debian's modules: see the apt-get line of .ci/run")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="smtpsetup-machine-") as name:
        made = Machine(Path(name), name_server)
        subprocess.run(["cp", "-a", "/etc", str(made.directory)], check=True, capture_output=True)
        shutil.rmtree(made.config.parent, ignore_errors=True)
        for place in ("", "etc/smtpsetup", "lib", "lib/private"):
            (made.directory / place).mkdir(exist_ok=True)
            (made.directory / place).chmod(0o755)
        made.state.mkdir(mode=0o700)
        os.chown(made.state, DYNAMIC_USER, DYNAMIC_USER)
        (made.directory / "lib" / "smtpsetup-relay").symlink_to("private/smtpsetup-relay")
        shutil.copytree(Path(smtpsetup.__file__).parent, made.directory / "src" / "smtpsetup")
        subprocess.run(["chmod", "-R", "a+rX", str(made.directory / "src")], check=True)
        account(made, 1)
        yield made


def account(machine: Machine, port: int, login: str = 'auth = "none"') -> None:
    """The account of the machine."""
    text = '[accounts.a]\naddress = "info@example.com"\nhost = "localhost"\nsecurity = "none"\n'
    machine.config.write_text(f"{text}port = {port}\n{login}\n")
    machine.config.chmod(0o644)


def test_it_runs_as_a_user_of_its_own_and_root_looks_after_it(machine: Machine) -> None:
    with RecordingServer() as server:
        account(machine, server.port)
        password = machine.run("add-client", "shop")[1]["result"]["password"]
        with machine.service() as port, Client("127.0.0.1", port) as client:
            assert client.log_in(password).startswith("235")
            assert client.hand_over().startswith("250")
            wait_for(lambda: server.mails)
            code, status = machine.run("--status")
            assert (code, status["result"]["clients"]) == (0, 1)
            assert machine.run("remove", "shop")[0] == 0
            assert machine.run("list")[1]["result"] == []
    assert {path.stat().st_uid for path in machine.state.iterdir()} == {DYNAMIC_USER}


@pytest.mark.parametrize("secret", ['{ store = "keyring" }', '{ store = "file", path = "/root/password" }'])
def test_a_secret_that_the_service_cannot_read_is_told_before(machine: Machine, secret: str) -> None:
    account(machine, 1, f'auth = "password"\nsecret = {secret}')
    code, document = machine.run("--install", "--print")
    assert (code, "systemd-creds encrypt" in document["error"]["hints"][0]) == (78, True)


def test_the_service_gets_its_credential(machine: Machine) -> None:
    account(machine, 1, 'auth = "password"\nsecret = { store = "systemd", credential = "mail" }')
    files = machine.run("--install", "--print")[1]["result"]["files"]
    service = files["/etc/systemd/system/smtpsetup-relay.service"]
    assert "LoadCredentialEncrypted=mail:/etc/credstore.encrypted/mail\n" in service
    assert "DynamicUser=yes\nStateDirectory=smtpsetup-relay\n" in service

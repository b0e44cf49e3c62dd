"""What the tests share: a temporary home, the command line as a subprocess, and the sandbox."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.model import Auth, Secret, Security, Server
from smtpsetup.sandbox.server import Sandbox, SandboxFacts
from smtpsetup.sending.context import Context
from tests import answers, warm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = f"lösen-€-{os.getpid()} äpple"  # one that no other test run on this machine has
# a shell starts background jobs with SIGINT ignored, nohup starts them with SIGHUP ignored, and children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
pytest_plugins = (
    "tests.servers",
    "tests.oauth_servers",
    "tests.api_client",
    "tests.graph_server",
    "tests.gmail_server",
    "tests.service_accounts",
    "tests.api_accounts",
    "tests.person",
    "tests.machine",
    "tests.postfix",
    "tests.dovecot",
    "tests.signing_in",
    "tests.relay_callers",
    "tests.postgresql",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`, with which `make test` runs."""
    parser.addoption("--quick", action="store_true", help="leave out slow tests and most cases of a matrix")


def pytest_configure(config: pytest.Config) -> None:
    """With `--quick`, generate fewer examples."""
    settings.register_profile("quick", max_examples=25)
    if config.getoption("quick"):
        settings.load_profile("quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--quick`, leave out what is slow, all cases of a matrix but the first, and three quarters of a sample."""
    if not config.getoption("quick"):
        return
    cases: Counter[str] = Counter()
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        function = item.nodeid.partition("[")[0]
        is_left_out = (
            item.get_closest_marker("slow")
            or (item.get_closest_marker("matrix") and cases[function])
            or (item.get_closest_marker("sampled") and cases[function] % 4)
        )
        (left_out if is_left_out else chosen).append(item)
        cases[function] += 1
    items[:] = chosen
    config.hook.pytest_deselected(items=left_out)


@dataclass(frozen=True)
class Run:
    """A finished command."""

    code: int
    out: str
    err: str
    arguments: tuple[str, ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        """The one document on standard output."""
        assert self.out.count("\n") == 1, self.out
        document = answers.read(self.out, self.arguments)
        assert document["ok"] == (self.code == 0) or "--status" in self.arguments, (self.code, self.out)
        return document

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines that a batch has printed: one for each mail, and the document with the totals."""
        return answers.read_all(self.out, self.arguments)


@dataclass(frozen=True)
class Home:
    """A home directory and its environment, with nothing of this machine's in it."""

    path: Path
    env: dict[str, str]
    disk_is_full: bool = False
    prefix: tuple[str, ...] = ()

    @property
    def unmeasured(self) -> Home:
        """The same home for processes that coverage disturbs: another user's, or one that checks its own imports."""
        return replace(self, env={name: value for name, value in self.env.items() if not name.startswith("COV")})

    @property
    def config(self) -> Path:
        return self.path / ".config" / "smtpsetup" / "config.toml"

    def run(self, *arguments: str, stdin: str | bytes | None = None, **env: str) -> Run:
        """Run smtpsetup with these arguments, without a terminal."""
        done = self.execute((sys.executable, "-m", "smtpsetup"), arguments, stdin, env, 100)
        return Run(done.returncode, done.stdout.decode(), done.stderr.decode(), arguments)

    def execute(
        self,
        start: tuple[str, ...],
        arguments: tuple[str | bytes, ...],
        stdin: str | bytes | None,
        env: dict[str, str],
        seconds: float,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run smtpsetup or smtpsetup-sendmail, forked from a warm process where that makes no difference.

        Where the disk is full, coverage is off, since it writes files.
        """
        unmeasured = {name: "" for name in self.env if name.startswith("COV")} if self.disk_is_full else {}
        data = stdin.encode() if isinstance(stdin, str) else stdin
        command = warm.Command(
            start,
            arguments,
            {**self.env, **env, **unmeasured},
            str(self.path),
            data,
            seconds,
            self.disk_is_full,
            self.prefix,
        )
        return warm.run(command) or subprocess.run(
            command.argv,
            env=command.env,
            cwd=command.cwd,
            input=command.stdin,
            stdin=subprocess.DEVNULL if command.stdin is None else None,
            capture_output=True,
            timeout=command.timeout,
            check=False,
            preexec_fn=_no_file_may_grow if command.disk_is_full else None,
        )

    def file(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """A file in this home."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def configure(
        self, facts: SandboxFacts, *extra: str, address: str = "info@example.com", password: str = PASSWORD
    ) -> Run:
        """Set up an account at the sandbox, its password in a file."""
        file = self.file("password", password + "\n")
        return self.run("configure", address, *server_options(facts), "--password-file", str(file), *extra)


def server_options(facts: SandboxFacts, host: str = "localhost") -> list[str]:
    """The options of `configure` for the sandbox's port with implicit TLS."""
    return f"--host {host} --port {facts.tls_port} --security tls --ca-file {facts.ca_file}".split()


def _no_file_may_grow() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.fixture
def home(tmp_path: Path, name_server: str) -> Home:
    """A new home."""
    path = tmp_path / "home"
    path.mkdir()
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "COV_"))}
    env = {
        "HOME": str(path),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "error",
        "SMTPSETUP_NAMESERVER": name_server,
    }
    env |= passed_on
    return Home(path, env)


@pytest.fixture
def _sandbox(tmp_path: Path) -> Iterator[tuple[Sandbox, SandboxFacts]]:
    directory = tmp_path / "sandbox"
    directory.mkdir()
    running = Sandbox(directory, password=PASSWORD)
    with running as facts:
        yield running, facts


@pytest.fixture
def sandbox(_sandbox: tuple[Sandbox, SandboxFacts]) -> Sandbox:
    """A running sandbox; `mails` has what it caught."""
    return _sandbox[0]


@pytest.fixture
def facts(_sandbox: tuple[Sandbox, SandboxFacts]) -> SandboxFacts:
    """The ports, certificate and password of the running sandbox."""
    return _sandbox[1]


def context_of(account: Account, **changes: Any) -> Context:
    """The context of an account whose password is PASSWORD."""
    return Context(account, lambda: Secret(PASSWORD), **changes)


def account_at(port: int, security: Security = Security.TLS, **changes: Any) -> Account:
    """An account at a server on this machine."""
    values: dict[str, Any] = {
        "name": "info@example.com",
        "address": "info@example.com",
        "from_name": "Mitt Företag AB",
        "provider": "",
        "server": Server("localhost", port, security),
        "auth": Auth.PASSWORD,
        "username": "info@example.com",
        "secret": SecretSource(Store.KEYRING),
    }
    return Account(**{**values, **changes})

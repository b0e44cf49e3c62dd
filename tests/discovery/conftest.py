"""The small internet of `world.py`, in a network namespace of its own, started once for all tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.discovery import attacks, domains, plan, variants
from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home, Run


@dataclass(frozen=True)
class World:
    """A running small internet."""

    directory: Path
    pid: int

    def home(self, home: Home) -> Home:
        """That home, but its commands run inside the world and trust its certificate authority."""
        prefix = ("nsenter", f"--target={self.pid}", "--net", "--mount", "--")
        env = {name: value for name, value in home.env.items() if name != "SMTPSETUP_NAMESERVER"}
        return replace(home, prefix=prefix, env={**env, "SSL_CERT_FILE": str(self.directory / "ca.pem")})

    def log(self) -> list[str]:
        """What clients have said to the servers, so far."""
        return (self.directory / "log").read_text(encoding="utf-8").splitlines()


@contextlib.contextmanager
def running(directory: Path, planned: dict[str, Any]) -> Iterator[World]:
    """A running world that was built as planned."""
    if os.getuid() != 0 or not (shutil.which("nsd") and shutil.which("unshare") and shutil.which("ip")):
        missing("needs root, NSD and iproute2: apt-get install nsd iproute2")
    (directory / "world.json").write_text(json.dumps(planned), encoding="utf-8")
    command = ["unshare", "--net", "--mount", sys.executable, str(Path(__file__).with_name("world.py")), str(directory)]
    with (directory / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdin
    assert process.stdout
    try:
        ready = process.stdout.readline().split()
        assert ready, (directory / "stderr").read_text(encoding="utf-8")
        yield World(directory, int(ready[1]))
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of every domain in `domains.py`, `variants.py` and `attacks.py`."""
    with running(tmp_path_factory.mktemp("world"), whole_plan()) as made:
        yield made


def whole_plan(elsewhere: tuple[str, ...] = domains.ELSEWHERE) -> dict[str, Any]:
    """The plan of the world with every domain."""
    everyone = (*domains.DOMAINS, *attacks.DOMAINS, *variants.DOMAINS)
    ispdb = {**domains.ELSEWHERE_PAGES["autoconfig.thunderbird.net"], **variants.ISPDB_PAGES}
    pages = {**domains.ELSEWHERE_PAGES, **variants.ELSEWHERE_PAGES, "autoconfig.thunderbird.net": ispdb}
    return plan.world(everyone, (*elsewhere, *variants.ELSEWHERE), pages, dns_behaviour=attacks.DNS_BEHAVIOUR)


def sources(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The reports of one source in the result of `identify --all`."""
    return [one for one in result["sources"] if one["source"] == name]


def configured(home: Home, domain: str, *options: str) -> Run:
    """Run `configure` for an address of a domain, its password in a file."""
    password = home.file("password", "hemligt-lösenord\n")
    return home.run("configure", f"info@{domain}", "--password-file", str(password), *options, "--json")


@pytest.fixture
def inside(world: World, home: Home) -> Home:
    """A new home inside the world."""
    return world.home(home)

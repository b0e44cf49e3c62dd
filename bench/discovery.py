"""How long discovery takes, compared with the longest chain of queries that its result needs.

It runs in the network of tests/discovery, in which every answer of the DNS and of a web server comes 50 ms late. The
queries of the chain, made one after the other by the same functions in the same process, are the floor. Needs root and
NSD.
"""

from __future__ import annotations

import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY))
DELAY = 0.05  # seconds
RUNS = int(os.environ.get("RUNS", "15"))
BOUND = 1.3
CASES = {  # domain → the longest chain that its result needs: the queries in order
    "egenserver.se": ("get https://autoconfig.egenserver.se/mail/config-v1.1.xml",),
    "pacc.se": ("get https://ua-auto-config.pacc.se/.well-known/user-agent-configuration.json",),
    "mittforetag.se": ("get https://mittforetag.se/.well-known/autoconfig/mail/config-v1.1.xml",),
    "srv587.se": ("get https://autoconfig.thunderbird.net/v1.1/srv587.se",),
    "gammalkund.se": ("get https://autoconfig.thunderbird.net/v1.1/gammalkund.se",),
    "storhotell.se": ("mx storhotell.se", "get https://autoconfig.kluster.storahotellet.net/mail/config-v1.1.xml"),
    "smahotell.se": ("mx smahotell.se", "get https://autoconfig.thunderbird.net/v1.1/lillahotellet.net"),
    "bakom-mimecast.se": ("mx bakom-mimecast.se", "txt bakom-mimecast.se"),
    "gissad.se": ("mx gissad.se", "get https://autoconfig.thunderbird.net/v1.1/gissad.se", "probe smtp.gissad.se"),
}


def inside() -> None:
    """Measure; runs inside the network."""
    from smtpsetup.address.address import Address, parse_address
    from smtpsetup.core.model import Security, Server
    from smtpsetup.discovery.fetch import Fetcher, FetchError
    from smtpsetup.net import tls
    from smtpsetup.net.dial import Deadline
    from smtpsetup.net.dns import Resolver
    from smtpsetup.providers.table import Table
    from smtpsetup.setup.discover import discover
    from smtpsetup.smtp.probe import probe

    table = Table(datetime.datetime.now(datetime.UTC).date())
    resolver, fetcher = Resolver(Deadline(5)), Fetcher(tls.policy(), None)

    def get(url: str) -> None:
        try:
            fetcher.get(url, Deadline(5))
        except FetchError as error:
            if error.status == 0:
                raise

    ask: dict[str, Callable[[str], object]] = {
        "mx": lambda name: resolver.mx(name, Deadline(5)),
        "txt": lambda name: resolver.txt(name, Deadline(5)),
        "get": get,
        "probe": lambda host: probe(Server(host, 465, Security.TLS), "example.se", fetcher.policy, Deadline(5)),
    }
    for domain, chain in CASES.items():
        address = parse_address(f"info@{domain}")

        def look_up(address: Address = address) -> None:
            discover(address, table, seconds=10, ask_ispdb=True)

        def floor(chain: tuple[str, ...] = chain) -> None:
            for step in chain:
                kind, what = step.split(" ")
                ask[kind](what)

        look_up()
        floor()
        pairs = [(seconds(look_up), seconds(floor)) for _ in range(RUNS)]
        own, other = (statistics.median(pair[side] for pair in pairs) * 1000 for side in (0, 1))
        print(
            f"  {domain:<24} {own:6.1f} ms   chain {other:6.1f} ms   "
            f"{statistics.median(a / b for a, b in pairs):5.2f} x",
            flush=True,
        )


def seconds(work: Callable[[], None]) -> float:
    """The duration of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Build a world, and one whose public database is in a black hole; print both tables."""
    from tests.discovery import domains, plan
    from tests.discovery.conftest import World, running

    def measured(world: World, *arguments: str) -> list[str]:
        env = {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(world.directory / "ca.pem"),
            "LANG": "C.UTF-8",
            "HOME": str(world.directory),
        }
        return [
            "env",
            "-i",
            *(f"{name}={value}" for name, value in env.items()),
            "nsenter",
            f"--target={world.pid}",
            "--net",
            "--mount",
            "--",
            *arguments,
        ]

    changes: dict[str, Any] = {"delay": DELAY, "nameserver": "127.0.0.2"}
    planned = plan.world(domains.DOMAINS, domains.ELSEWHERE, domains.ELSEWHERE_PAGES, **changes)
    print(
        f"against the longest chain that is needed, {DELAY * 1000:.0f} ms added to every answer, {RUNS} pairs, bound "
        f"{BOUND} x",
        flush=True,
    )
    with (
        tempfile.TemporaryDirectory() as directory,
        running(Path(directory), planned) as world,
    ):
        subprocess.run(measured(world, sys.executable, __file__, "--inside"), check=True)
        command = measured(
            world, str(Path(sys.executable).with_name("smtpsetup")), "identify", "info@egenserver.se", "--json"
        )
        whole = [seconds(lambda: run(command)) for _ in range(RUNS)]
    dead = plan.zone(domains.DOMAINS, tuple(record.replace(plan.WEB, plan.SILENT) for record in domains.ELSEWHERE))
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), {**planned, "zone": dead}) as world:
        command = measured(
            world, str(Path(sys.executable).with_name("smtpsetup")), "identify", "info@egenserver.se", "--json"
        )
        black = [seconds(lambda: run(command)) for _ in range(RUNS)]
    print(f"whole process, its own autoconfig answering: {statistics.median(whole) * 1000:.0f} ms")
    print(f"the same, the public database in a black hole: {statistics.median(black) * 1000:.0f} ms")


def run(command: list[str]) -> None:
    """Run a command without output; raises CalledProcessError."""
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    inside() if "--inside" in sys.argv else main()

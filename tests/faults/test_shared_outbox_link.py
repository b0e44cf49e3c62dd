"""A machine whose network to the database goes away without a word: only the keepalive of TCP frees its mail."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.faults.fleet import fleet, wait_until_sent
from tests.faults.tcp_proxy import Proxy
from tests.postgresql import Cluster, running
from tests.recording import RecordingServer
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home

HERE, THERE = "10.213.77.1", "10.213.77.2"
DOWN_SECONDS = 75.0
FREED_SECONDS = 60.0  # until the database has noticed
PAUSE = 0.02


@dataclass(frozen=True)
class Link:
    """A cable to a network namespace. `prefix` runs a command there."""

    name: str
    prefix: tuple[str, ...]

    def set(self, state: str) -> None:
        """Plug it in ("up") or out ("down"), on this side."""
        subprocess.run(["ip", "link", "set", self.name, state], check=True)


@contextmanager
def linked() -> Iterator[Link]:
    """A network namespace, and the cable to it."""
    if os.getuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        missing("needs root, and apt-get install iproute2 util-linux")
    name = f"so{os.getpid()}"
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        assert inside.stdout
        assert inside.stdout.readline() == b"ready\n"
        prefix = ("nsenter", f"--net=/proc/{inside.pid}/ns/net")
        for line in (
            f"ip link add {name} type veth peer name out netns {inside.pid}",
            f"ip address add {HERE}/30 dev {name}",
            f"ip link set {name} up",
            f"{' '.join(prefix)} ip address add {THERE}/30 dev out",
            f"{' '.join(prefix)} ip link set out up",
        ):
            subprocess.run(line.split(), check=True)
        try:
            yield Link(name, prefix)
        finally:
            subprocess.run(["ip", "link", "delete", name], check=True)
            inside.kill()


@contextmanager
def reached_from_outside(directory: Path) -> Iterator[tuple[Cluster, str]]:
    """A database server with TLS on all addresses, and the file of its authority."""
    with running("fsync = off", "listen_addresses = '*'") as cluster:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        pair = authority.issue_cert(HERE)
        for name, blobs in (("server.crt", pair.cert_chain_pems), ("server.key", [pair.private_key_pem])):
            path = cluster.base / "data" / name
            path.write_bytes(b"".join(blob.bytes() for blob in blobs))
            path.chmod(0o600)
            shutil.chown(path, "postgres", "postgres")
        with (cluster.base / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"hostssl all all {THERE}/32 trust\n")
        cluster.execute("ALTER SYSTEM SET ssl = on")
        cluster.execute("SELECT pg_reload_conf()")
        yield cluster, str(directory / "ca.pem")


@pytest.mark.timeout(300)
def test_a_machine_whose_link_is_cut_loses_its_mail_to_the_others_within_a_minute(home: Home, tmp_path: Path) -> None:
    with (
        ExitStack() as stack,
        RecordingServer(pause=PAUSE) as server,
        linked() as link,
        reached_from_outside(tmp_path) as (cluster, ca_file),
        fleet(cluster, server) as made,
    ):
        port, path = free_port(), str(tmp_path / "smtp")  # the mail server is reached all the time
        stack.enter_context(Proxy(path, server.port))
        stack.enter_context(Proxy(port, path, link.prefix))
        away = f"{made.settings.url.replace('127.0.0.1', HERE)}?sslrootcert={ca_file}"
        cut = made.add_machine(replace(home, prefix=link.prefix), url=away, smtp=port)
        other = made.add_machine(home)
        made.fill(range(200))
        cut.start()
        wait_until_sent(made, 30)
        assert made.leased()
        link.set("down")
        moment = time.monotonic()
        other.start()
        of_there = f"SELECT pid FROM pg_stat_activity WHERE client_addr = '{THERE}'"
        wait_for(lambda: not made.rows(of_there), FREED_SECONDS)
        wait_until_sent(made, 198, 60)  # all but what was in flight, which is unknown
        wait_for(lambda: time.monotonic() - moment > DOWN_SECONDS, DOWN_SECONDS)
        link.set("up")
        assert cut.is_alive
        assert other.stop() == 0
        made.fill(range(200, 220))
        wait_for(lambda: {str(number) for number in range(200, 220)} <= set(server.subjects), 60)
        made.stop()
        made.machines = [other]  # the other has no more mail than that
        made.send_to_the_end()
        made.machines = [cut, other]
        found = made.assert_all_is_well(range(220))
        assert len(found.told) <= 1

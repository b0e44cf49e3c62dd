"""What the relay costs: beside a bare aiosmtpd that commits each mail to SQLite, and against bounds of its own.

`python bench/relay.py [ROW...]`; rows: rate, dead, large, start, idle, latency. The clients are a process of their
own, which speaks one command at a time, as programs do. MAILS=2000 is how many each client of `rate` sends.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loopback import running
from sending_site import SMTPSETUP, Row

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import closed_port, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAILS = int(os.environ.get("MAILS", "1000"))  # of each client
CLIENTS = 4
MEGABYTE = 1_000_000
KILOBYTE = b"From: info@example.com\r\nTo: kund@example.org\r\nSubject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 13
SERVER, CLIENT = Path(__file__).with_name("relay_floor.py"), Path(__file__).with_name("relay_client.py")


class Place:
    """A home with an account and a client of the relay."""

    def __init__(self, base: Path, port: int) -> None:
        self.directory = base
        base.mkdir()
        self.env = {"HOME": str(base), "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "error"}
        options = f"--host localhost --port {port} --security none --auth none --no-verify --default".split()
        self.smtpsetup("configure", "info@example.com", *options, "--from-name", "")
        self.password = json.loads(self.smtpsetup("relay", "add-client", "bench", "--json"))["result"]["password"]

    def smtpsetup(self, *arguments: str) -> str:
        """The output of a command."""
        done = subprocess.run([SMTPSETUP, *arguments], env=self.env, capture_output=True, text=True, check=True)
        return done.stdout

    @contextmanager
    def relay(self, *options: str) -> Iterator[tuple[int, int]]:
        """A running relay: its port and its process."""
        port = free_port()
        command = [SMTPSETUP, "relay", "--port", str(port), *options]
        process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: _greets(port), 20)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(60)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            return sock.recv(3) == b"220"
    except OSError:
        return False


def _clients(port: int, password: str, *, clients: int, mails: int, size: int = 0) -> dict[str, float]:
    """What a process with so many clients measured: mails a second, and percentiles of the time to a 250 in ms."""
    command = [sys.executable, str(CLIENT), str(port), password, str(clients), str(mails), str(size)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def rate(base: Path) -> Row:
    """Mails a second, beside the floor."""
    ratios, ours, floors = [], [], []
    for number in range(3):
        with closed_port() as dead, ExitStack() as stack:
            place = Place(base / f"rate-{number}", dead)
            port, _pid = stack.enter_context(place.relay())
            own = _clients(port, place.password, clients=CLIENTS, mails=MAILS)["rate"]
        floor_port, database = free_port(), base / f"floor-{number}.db"
        process = subprocess.Popen([sys.executable, str(SERVER), str(floor_port), str(database)])
        try:
            wait_for(partial(_greets, floor_port), 20)
            floor = _clients(floor_port, "x", clients=CLIENTS, mails=MAILS)["rate"]
        finally:
            process.terminate()
            process.wait(10)
        ours.append(own)
        floors.append(floor)
        ratios.append(own / floor)
    ratio = statistics.median(ratios)
    work = f"mails of 1 kB taken a second by {CLIENTS} clients, beside a bare aiosmtpd with SQLite (FULL)"
    own, floor = statistics.median(ours), statistics.median(floors)
    return Row(work, f"{own:.0f}/s", f"{floor:.0f}/s", f"{ratio:.2f} x", "0.50 x", ratio >= 0.5)  # noqa: PLR2004


def dead(base: Path) -> Row:
    """The time to a 250 for a client that is logged in, with a provider that does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        place = Place(base / "dead", int(silent.getsockname()[1]))
        with place.relay() as (port, _pid):
            found = _clients(port, place.password, clients=1, mails=MAILS)
    ours = found["p99"]
    work = f"the time to a 250 for 1 kB, 99th percentile of {MAILS}, with a provider that is dead"
    return Row(work, f"{ours:.1f} ms", f"median {found['p50']:.1f} ms", f"{ours:.1f} ms", "100 ms", ours < 100)  # noqa: PLR2004


def large(base: Path) -> Row:
    """The memory while eight mails of 25 MB come in at once."""
    with closed_port() as closed:
        place = Place(base / "large", closed)
        with place.relay() as (port, pid):
            found = _clients(port, place.password, clients=8, mails=1, size=25 * MEGABYTE)
            ours = _peak(pid)
    work = "memory (peak, resident) while 8 mails of 25 MB come in at once, and all are taken"
    return Row(work, f"{ours:.0f} MB", f"{found['rate']:.1f}/s", f"{ours:.0f} MB", "150 MB", ours <= 150)  # noqa: PLR2004


def start(base: Path) -> Row:
    """From the first connection to a socket that systemd holds to the 220."""
    with closed_port() as closed:
        place = Place(base / "start", closed)
        taken = []
        for _run in range(10):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                os.set_inheritable(listener.fileno(), True)  # noqa: FBT003  it takes no name
                code = (
                    "import os,sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), "
                    "LISTEN_FDS='1'); os.execv(sys.argv[2], [sys.argv[2], 'relay'])"
                )
                with socket.create_connection(listener.getsockname()) as client:
                    began = time.perf_counter()
                    process = subprocess.Popen(
                        ["/usr/bin/env", "python3", "-S", "-E", "-c", code, str(listener.fileno()), SMTPSETUP],
                        env=place.env, close_fds=False, stdout=subprocess.DEVNULL,
                    )  # fmt: skip
                    client.recv(3)
                    taken.append(time.perf_counter() - began)
                process.terminate()
                process.wait(30)
    ours = statistics.median(taken) * 1000
    work = "from the connection to the 220 of a relay that its socket starts (10)"
    return Row(work, f"{ours:.0f} ms", f"at most {max(taken) * 1000:.0f} ms", f"{ours:.0f} ms", "300 ms", ours <= 300)  # noqa: PLR2004


def idle(base: Path) -> Row:
    """200 connections on which nothing happens: their memory and the processor time."""
    with closed_port() as closed:
        place = Place(base / "idle", closed)
        with place.relay() as (port, pid):
            time.sleep(2)
            before = _resident(pid)
            with ExitStack() as stack:
                for _number in range(200):
                    sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    sock.recv(100)
                time.sleep(1)
                memory, used = _resident(pid) - before, _processor(pid)
                time.sleep(10)
                share = (_processor(pid) - used) / 10 * 100
    work = "200 idle connections: their memory, and the processor time of the relay"
    is_kept = memory <= 10 and share < 1  # noqa: PLR2004  the bounds themselves
    return Row(work, f"{memory:.1f} MB", f"{share:.2f} % of a core", f"{memory:.1f} MB", "10 MB, 1 %", is_kept)


def latency(base: Path) -> Row:
    """From the client's dot to the provider's 250, beside a mail on a connection that stands already."""
    port = free_port()
    with running("sink", port):
        place = Place(base / "latency", port)
        env = {**place.env, "PYTHONUNBUFFERED": "1"}
        own_port = free_port()
        command = [SMTPSETUP, "relay", "--port", str(own_port), "--json"]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            ours = _through_relay(own_port, place.password, process.stdout.readline)
            process.terminate()
            process.communicate(timeout=60)
        floor = _direct(port)
    more = (statistics.median(ours) - statistics.median(floor)) * 1000
    work = "from the client's dot to the provider's 250, more than on a connection that stands (50)"
    shown = f"{statistics.median(ours) * 1000:.1f} ms"
    return Row(work, shown, f"{statistics.median(floor) * 1000:.1f} ms", f"{more:.1f} ms", "50 ms", more <= 50)  # noqa: PLR2004


def _through_relay(port: int, password: str, readline: Callable[[], str]) -> list[float]:
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        lines = sock.makefile("rb")
        _say(sock, lines, b"")
        _say(sock, lines, b"EHLO bench\r\n")
        _say(sock, lines, b"AUTH PLAIN " + base64.b64encode(f"\0bench\0{password}".encode()) + b"\r\n")
        for _number in range(51):
            for command in (b"MAIL FROM:<info@example.com>\r\n", b"RCPT TO:<kund@example.org>\r\n", b"DATA\r\n"):
                _say(sock, lines, command)
            began = time.perf_counter()
            sock.sendall(KILOBYTE + b".\r\n")
            while '"tried"' not in readline():
                pass
            taken.append(time.perf_counter() - began)
            lines.readline()
    return taken[1:]


def _direct(port: int) -> list[float]:
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        lines = sock.makefile("rb")
        _say(sock, lines, b"")
        _say(sock, lines, b"EHLO bench\r\n")
        for _number in range(51):
            began = time.perf_counter()
            for command in (b"MAIL FROM:<info@example.com>\r\n", b"RCPT TO:<kund@example.org>\r\n", b"DATA\r\n"):
                _say(sock, lines, command)
            _say(sock, lines, KILOBYTE + b".\r\n")
            taken.append(time.perf_counter() - began)
    return taken[1:]


def _say(sock: socket.socket, lines: object, command: bytes) -> None:
    """Send a command and read the whole reply."""
    if command:
        sock.sendall(command)
    while (line := lines.readline())[3:4] == b"-":  # type: ignore[attr-defined]  # a file
        pass
    if line[:1] not in b"23":
        sys.exit(f"{command[:60]!r}: {line!r}")


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) * 1024 / MEGABYTE


def _peak(pid: int) -> float:
    return _status(pid, "VmHWM:")


def _resident(pid: int) -> float:
    return _status(pid, "VmRSS:")


def _processor(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ROWS = {"rate": rate, "dead": dead, "large": large, "start": start, "idle": idle, "latency": latency}


def main() -> None:
    """Measure, print the table, and fail where a bound is not kept."""
    base = Path(
        tempfile.mkdtemp(prefix=f"bench-relay-{secrets.token_hex(4)}-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    )
    is_kept = True
    try:
        for name in sys.argv[1:] or ROWS:
            row = ROWS[name](base)
            is_kept = is_kept and row.is_kept
            mark = "" if row.is_kept else "  <- not kept"
            print(f"{row.work}\n    {row.ours} ({row.peer}); {row.figure}, bound {row.bound}{mark}", flush=True)
    finally:
        shutil.rmtree(base)
    sys.exit(0 if is_kept else 1)


if __name__ == "__main__":
    main()

"""Ports, a keyring on a session bus of its own, a name server, and a server that follows a script."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.message
import pytest

from smtpsetup.core.model import Security
from tests.listener import Listener, reset

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

KEYRING_PASSWORD = "ring"


def missing(reason: str) -> None:
    """Skip where a program is not installed; in CI, which installs all of them, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a function returns something true; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            message = f"not within {seconds} s: {condition}"
            raise TimeoutError(message)
        threading.Event().wait(0.02)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that no other process can take meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


def free_port() -> int:
    """A port on which no server listens, below the ephemeral ports, so that no other test gets it before it is used."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", random.randint(12_000, 32_000)))
            return int(sock.getsockname()[1])


def accepts_connections(port: int) -> bool:
    """Whether a server listens on a port of the loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass
class Keyring:
    """A gnome-keyring on its own session bus, in its own directory."""

    directory: Path
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The environment of its login session."""
        return {
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_DATA_HOME": str(self.directory / "data"),
        }

    def start(self) -> None:
        """Start the daemon and unlock the keyring."""
        daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert daemon.stdin
        daemon.stdin.write(KEYRING_PASSWORD.encode())
        daemon.stdin.close()
        self.processes.append(daemon)
        wait_for(
            lambda: (
                b"true"
                in self._call(
                    "org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"
                )
            )
        )

    def lock(self) -> None:
        """Lock the keyring, as the screen lock or a restart does."""
        collection = "/org/freedesktop/secrets/collection/login"
        self._call(
            "org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            f"array:objpath:{collection}",
        )

    def _call(self, destination: str, path: str, method: str, argument: str) -> bytes:
        done = subprocess.run(
            ["dbus-send", "--session", "--print-reply", f"--dest={destination}", path, method, argument],
            env={"PATH": os.environ["PATH"], **self.env},
            capture_output=True,
            check=False,
        )
        return done.stdout

    def stop(self) -> None:
        """End the daemon and the bus."""
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def session_bus(directory: Path) -> Iterator[Keyring]:
    """Run a D-Bus session bus in a directory, until the end of the block; its keyring is not started yet."""
    (directory / "run").mkdir(parents=True, mode=0o700)
    (directory / "data").mkdir()
    keyring = Keyring(directory, f"unix:path={directory}/run/bus")
    # a configuration without service files: a call starts no service
    config = directory / "bus.conf"
    config.write_text(
        f"<busconfig><type>session</type><listen>{keyring.address}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow '
        'own="*"/></policy></busconfig>'
    )
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    keyring.processes.append(daemon)
    try:
        wait_for((directory / "run" / "bus").exists)
        yield keyring
    finally:
        keyring.stop()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Keyring]:
    """A session bus without a keyring on it."""
    if not (shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon")):
        missing("needs a keyring: apt-get install gnome-keyring dbus")
    with session_bus(tmp_path / "session") as keyring:
        yield keyring


@pytest.fixture
def keyring(bus: Keyring) -> Keyring:
    """An unlocked keyring."""
    bus.start()
    return bus


@pytest.fixture
def usual_ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two free ports, for implicit TLS and STARTTLS, which a second look in this process takes for the usual ones."""
    ports = free_port(), free_port()
    monkeypatch.setattr(
        "smtpsetup.setup.second_look.USUAL_PORTS", ((ports[0], Security.TLS), (ports[1], Security.STARTTLS))
    )
    return ports


@pytest.fixture(scope="session")
def name_server() -> Iterator[str]:
    """A name server that answers every query with NOERROR and no records, as HOST:PORT."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    query, peer = sock.recvfrom(4096)
                    sock.sendto(dns.message.make_response(dns.message.from_wire(query)).to_wire(), peer)

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


class ScriptedServer(Listener):
    """A server that follows a script on every connection.

    The steps: bytes are sent, a float is a pause in seconds, None reads a line, "message" reads up to the dot, "drop"
    closes the connection, "reset" closes it with RST. At the end of the script the connection stays open, at most for
    30 seconds. `received` has the lines that clients sent; `hung_up` is set after a "drop" or a "reset".
    """

    def __init__(self, script: Sequence[bytes | float | str | None], context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._context = context
        self.received: list[bytes] = []
        self.hung_up = threading.Event()
        self._closing = threading.Event()
        super().__init__()

    def stop(self) -> None:
        self._closing.set()
        super().stop()

    def talk(self, client: socket.socket, number: int) -> None:
        with self._context.wrap_socket(client, server_side=True) if self._context else client as peer:
            lines = peer.makefile("rb")
            for step in self._script:
                if isinstance(step, bytes):
                    peer.sendall(step)
                elif isinstance(step, float):
                    self._closing.wait(step)
                elif step == "message":
                    while (line := lines.readline()) not in (b".\r\n", b""):
                        self.received.append(line)
                elif step is None:
                    self.received.append(lines.readline())
                else:
                    lines.close()
                    reset(peer) if step == "reset" else peer.close()
                    self.hung_up.set()
                    return
            self._closing.wait(30)

"""Real servers: Postfix, a keyring on a bus of its own, and servers that follow a script to the byte."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dns.message
import pytest
import trustme

from smtpsetup.core.model import Security

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

POSTFIX_PASSWORD = "lösenord-åäö-€"
KEYRING_PASSWORD = "ring"


def missing(reason: str) -> None:
    """Skip where a part is not installed; in CI, which installs all of them, fail instead."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a function gives something true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            message = f"not within {seconds} s: {condition}"
            raise TimeoutError(message)
        threading.Event().wait(0.02)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to who asks for any.

    Another test would get it before it is used.
    """
    while True:
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", random.randint(12_000, 32_000)))
            return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True)
class Postfix:
    """A running Postfix: its ports, its authority, and where it delivers."""

    tls_port: int
    starttls_port: int
    ca_file: str
    maildir: Path

    def mails(self, user: str, count: int = 1, seconds: float = 20.0) -> list[bytes]:
        """The mails delivered to a user, once there are that many, without the headers that Postfix puts in front."""
        new = self.maildir / user / "new"
        wait_for(lambda: new.is_dir() and len(list(new.iterdir())) >= count, seconds)
        return [path.read_bytes() for path in sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns)]

    def clear(self) -> None:
        """Forget what was delivered."""
        for path in self.maildir.glob("*/new/*"):
            path.unlink()


_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
myhostname = mail.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
maillog_file = /dev/stdout
smtpd_tls_chain_files = {base}/server.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {base}/sasl
smtpd_sasl_local_domain =
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_non_fqdn_helo_hostname
smtpd_delay_reject = no
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_sender_login_maps = inline:{{ {{ info@example.test = info@example.test }} }}
smtpd_recipient_restrictions = reject_unlisted_recipient, permit_sasl_authenticated, reject
virtual_mailbox_domains = example.test
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps =
  inline:{{ {{ info@example.test = info/ }}, {{ asa@example.test = asa/ }}, {{ bo@example.test = bo/ }} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = 100
message_size_limit = 30000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
"""
_MASTER_CF = """
127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{starttls_port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""


@pytest.fixture(scope="session")
def postfix_server() -> Iterator[Postfix]:
    """Postfix with Cyrus SASL over 465- and 587-like ports, delivering to maildirs."""
    if not (shutil.which("postfix") and shutil.which("saslpasswd2")) or os.getuid() != 0:
        missing("needs root and Postfix: apt-get install postfix sasl2-bin libsasl2-modules")
    # not below pytest's own, which the start of any other pytest closes to Postfix's user
    base = Path(tempfile.mkdtemp(prefix="smtpsetup-postfix-"))
    base.chmod(0o755)
    for name in ("etc", "spool", "data", "mail", "sasl"):
        (base / name).mkdir(mode=0o755)
    shutil.chown(base / "data", "postfix", "postfix")
    shutil.chown(base / "mail", "nobody", "nogroup")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(base / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "server.pem"))
    tls_port, starttls_port = free_port(), free_port()
    (base / "etc" / "main.cf").write_text(_MAIN_CF.format(base=base, uid=65534))
    (base / "etc" / "master.cf").write_text(_MASTER_CF.format(tls_port=tls_port, starttls_port=starttls_port))
    database = base / "sasl" / "sasldb2"
    (base / "sasl" / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN CRAM-MD5\n"
    )
    subprocess.run(
        ["saslpasswd2", "-c", "-p", "-f", str(database), "-u", "example.test", "info"],
        input=POSTFIX_PASSWORD.encode(),
        check=True,
    )
    shutil.chown(database, "postfix", "postfix")
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            ["postfix", "-c", str(base / "etc"), "start-fg"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: _answers(tls_port) and _answers(starttls_port), 60)
        yield Postfix(tls_port, starttls_port, str(base / "ca.pem"), base / "mail")
    finally:
        subprocess.run(
            ["postfix", "-c", str(base / "etc"), "stop"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        server.wait(60)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def postfix(postfix_server: Postfix) -> Postfix:
    """Postfix with empty mailboxes."""
    postfix_server.clear()
    return postfix_server


@dataclass
class Keyring:
    """A gnome-keyring on a session bus of its own, in a directory of its own."""

    directory: Path
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """What a login session would have in its environment."""
        return {
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_DATA_HOME": str(self.directory / "data"),
        }

    def start(self) -> None:
        """Start the daemon and unlock its ring."""
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
        """Lock the ring, as the screen lock or a restart does."""
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


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Keyring]:
    """A session bus without a keyring on it."""
    if not (shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon")):
        missing("needs a keyring: apt-get install gnome-keyring dbus")
    directory = tmp_path / "session"
    (directory / "run").mkdir(parents=True, mode=0o700)
    (directory / "data").mkdir()
    # a configuration without service files: nothing is started by being called
    config = directory / "bus.conf"
    config.write_text(
        "<busconfig><type>session</type>"
        f"<listen>unix:path={directory}/run/bus</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow '
        'own="*"/></policy></busconfig>'
    )
    keyring = Keyring(directory, f"unix:path={directory}/run/bus")
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    keyring.processes.append(daemon)
    wait_for((directory / "run" / "bus").exists)
    yield keyring
    keyring.stop()


@pytest.fixture
def keyring(bus: Keyring) -> Keyring:
    """An unlocked keyring."""
    bus.start()
    return bus


@pytest.fixture
def usual_ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two free ports, with TLS and with STARTTLS.

    A second look in this process takes them for those that servers usually have.
    """
    ports = free_port(), free_port()
    monkeypatch.setattr(
        "smtpsetup.setup.second_look.USUAL_PORTS", ((ports[0], Security.TLS), (ports[1], Security.STARTTLS))
    )
    return ports


@pytest.fixture(scope="session")
def name_server() -> Iterator[str]:
    """A name server on which every name exists and none has a record, as HOST:PORT."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    query, peer = sock.recvfrom(4096)
                    sock.sendto(dns.message.make_response(dns.message.from_wire(query)).to_wire(), peer)

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


class ScriptedServer:
    """A server that says what its script says.

    Bytes are sent, None waits for a line from the client, "drop" closes at once.

    What the client sent is in `received`.
    """

    def __init__(self, script: Sequence[bytes | float | str | None], context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.received: list[bytes] = []
        self.connections = 0
        self._closing = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) if self._context else client as peer,
        ):
            lines = peer.makefile("rb")
            for step in self._script:
                if isinstance(step, bytes):
                    peer.sendall(step)
                elif isinstance(step, float):
                    self._closing.wait(step)
                elif step == "drop":
                    return
                elif step == "message":
                    while (line := lines.readline()) not in (b".\r\n", b""):
                        self.received.append(line)
                else:
                    self.received.append(lines.readline())
            self._closing.wait(30)

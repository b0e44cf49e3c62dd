"""A running relay, and a client that says what a test wants it to say."""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests import answers
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home

MAIL = b"From: info@example.com\r\nTo: kund@example.org\r\nSubject: Faktura\r\n\r\nHej\r\n"


@dataclass
class Relay:
    """A relay that runs. What it says is in `relay.out` and `relay.err` of its home."""

    home: Home
    port: int
    tls_port: int
    process: subprocess.Popen[str]

    def client(self, *, port: int | None = None, host: str = "127.0.0.1") -> Client:
        """A connection, after the greeting."""
        return Client(host, port or self.port)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the relay. Returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def running_relay(
    home: Home, *options: str, with_tls: bool = False, port: int | None = None, **env: str
) -> Iterator[Relay]:
    """A relay of this home, on a free port of the loopback unless another port or address is named."""
    port, tls_port = port or free_port(), free_port()
    tls = ("--tls-port", str(tls_port)) if with_tls else ()
    command = [*home.prefix, sys.executable, "-m", "smtpsetup", "relay", "--port", str(port), *tls, *options]
    with (home.path / "relay.out").open("w") as out, (home.path / "relay.err").open("w") as err:
        process = subprocess.Popen(
            command, env={**home.env, **env}, cwd=home.path, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True
        )
    try:
        wait_for(lambda: process.poll() is not None or is_relay(port), 30)
        assert process.poll() is None, (home.path / "relay.err").read_text()
        yield Relay(home, port, tls_port, process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def is_relay(port: int) -> bool:
    """Whether a relay greets on a port of the loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        return sock.recv(4) == b"220 "
    return False


def add_client(home: Home, name: str = "shop", *options: str) -> str:
    """Add a client. Returns its password."""
    added = home.run("relay", "add-client", name, *options, "--json")
    assert added.code == 0, added.err
    return str(added.json["result"]["password"])


def events(relay: Relay) -> list[dict[str, object]]:
    """What a relay with --json has told so far."""
    text = (relay.home.path / "relay.out").read_text()
    return [document["result"] for document in answers.read_all(text)]


class Client:
    """A client of a relay on a plain socket; every command returns the whole reply."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), timeout=30)
        self.lines = self.sock.makefile("rb")
        try:
            self.greeting = self.reply()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_rest: object) -> None:
        self.lines.close()
        self.sock.close()

    def reply(self) -> str:
        """The next reply; `""` where the connection has ended."""
        lines = []
        while line := self.lines.readline():
            lines.append(line.decode())
            if line[3:4] != b"-":
                break
        return "".join(lines)

    def say(self, command: str | bytes) -> str:
        """Send a command and return the reply."""
        self.sock.sendall((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def log_in(self, password: str, name: str = "shop") -> str:
        """EHLO and AUTH PLAIN."""
        assert self.say("EHLO test").startswith("250")
        return self.say(f"AUTH PLAIN {plain(name, password)}")

    def hand_over(
        self,
        message: bytes = MAIL,
        sender: str = "info@example.com",
        recipients: tuple[str, ...] = ("kund@example.org",),
    ) -> str:
        """Hand a mail over. Returns the reply to it, or the first one that is no success."""
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"]
        for command in commands:
            answer = self.say(command)
            if answer[:1] not in ("2", "3"):
                return answer
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        stuffed = b"." + stuffed if stuffed.startswith(b".") else stuffed
        self.sock.sendall(stuffed + b".\r\n")
        return self.reply()


def plain(name: str, password: str) -> str:
    """The initial response of AUTH PLAIN."""
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def wait_until_sent(home: Home, seconds: float = 30.0) -> None:
    """Wait until nothing is in the outbox."""
    end = time.monotonic() + seconds
    while home.run("outbox", "list", "--json").json["result"]:
        assert time.monotonic() < end, home.run("outbox", "list").out
        time.sleep(0.2)

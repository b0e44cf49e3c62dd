"""The table of bench/sending.py, and the programs that it measures, with their homes."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopback import running
from postfix import ADDRESS, PASSWORD
from sending_peers import CRON_MAIL, LOOP, SCRIPT, SPOOLING, TO

from tests.servers import free_port  # bench/postfix.py has put the repository on the path

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from postfix import Postfix

SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
SENDMAIL = str(Path(sys.executable).with_name("smtpsetup-sendmail"))
MSMTP_ACCOUNT = "auth plain\ntls on\ntls_starttls off\nhost localhost\n"
ROUND_TRIP = 0.05  # seconds


@dataclass(frozen=True)
class Row:
    """One line of the table; `is_kept` says whether the bound is."""

    work: str
    ours: str
    peer: str
    figure: str
    bound: str
    is_kept: bool


@dataclass(frozen=True)
class Program:
    """A command, its environment and its standard input."""

    argv: list[str]
    env: dict[str, str]
    stdin: Path = Path(os.devnull)
    prepare: Callable[[], object] = bool

    def run(self) -> float:
        """The seconds of one run, start to end; exits where it fails."""
        self.prepare()
        with self.stdin.open("rb") as stdin:
            started = time.perf_counter()
            done = subprocess.run(self.argv, env=self.env, stdin=stdin, capture_output=True, check=False)
            taken = time.perf_counter() - started
        if done.returncode or (done.stdout and self.argv[0] in (SMTPSETUP, SENDMAIL)):
            sys.exit(
                f"{self.argv}: exit {done.returncode}\n{done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-2000:]}"
            )
        return taken


def paired(
    own: Callable[[], float], other: Callable[[], float], pairs: int, *, warm_up: bool = True
) -> tuple[float, float, float]:
    """The medians of both, in seconds, and of their ratio; which one runs first alternates."""
    if warm_up:
        own(), other()
    found = []
    for number in range(pairs):
        if number % 2:
            theirs, ours = other(), own()
        else:
            ours, theirs = own(), other()
        found.append((ours, theirs))
    return (
        statistics.median(pair[0] for pair in found),
        statistics.median(pair[1] for pair in found),
        statistics.median(a / b for a, b in found),
    )


def timed(work: str, own: Program, other: Program, bound: float, pairs: int) -> Row:
    """A row of two times and their ratio."""
    ours, theirs, ratio = paired(own.run, other.run, pairs)
    return Row(
        f"{work} ({pairs})",
        f"{ours * 1000:.0f} ms",
        f"{theirs * 1000:.0f} ms",
        f"{ratio:.2f} x",
        f"{bound:.2f} x",
        ratio <= bound,
    )


class Site:
    """A server, and homes whose accounts send through it."""

    def __init__(self, base: Path, server: Postfix, stack: ExitStack) -> None:
        self.base = base
        self.server = server
        self.stack = stack
        self.password = self.file("password", PASSWORD + "\n", 0o600)
        self.text = self.file("text", "Backup done\n")
        self.cron_mail = self.file("cron-mail", CRON_MAIL)
        self.script = self.file("script.py", SCRIPT)
        self.spooling_script = self.file("spooling.py", SPOOLING)
        self.loop = self.file("loop.py", LOOP)
        self.env = self.home("cron", self.tls_options(server.port, server.ca_file))

    def tls_options(self, port: int, ca_file: str) -> list[str]:
        """The options of `configure` for a server with implicit TLS and a password from a file."""
        return f"--port {port} --security tls --ca-file {ca_file} --password-file {self.password}".split()

    def file(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """A file in the site's directory."""
        path = self.base / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def home(self, name: str, options: list[str], stdin: str = "", **env: str) -> dict[str, str]:
        """A home with an account; the environment that cron would give its owner."""
        path = self.base / f"home-{name}"
        path.mkdir(mode=0o700)
        given = {"HOME": str(path), "LOGNAME": "root", "PATH": "/usr/bin:/bin", **env}
        command = [SMTPSETUP, "configure", ADDRESS, "--host", "localhost", *options, "--from-name", "", "--default"]
        subprocess.run(command, env=given, input=stdin, text=True, capture_output=True, check=True)
        return given

    def far_home(self) -> tuple[dict[str, str], int]:
        """A home whose server is ROUND_TRIP away, and the port of the proxy in between."""
        port = free_port()
        self.stack.enter_context(running("delay", port, self.server.port, ROUND_TRIP / 2))
        return self.home("far", self.tls_options(port, self.server.ca_file)), port

    def sink_home(self, name: str) -> dict[str, str]:
        """A home whose server accepts everything, without TLS and login."""
        port = free_port()
        self.stack.enter_context(running("sink", port))
        return self.home(name, f"--port {port} --security none --auth none".split())

    def by_script(self, env: dict[str, str] | None = None, secret: str = "", *, is_spooling: bool = False) -> Program:
        """The script with smtplib; with `is_spooling` it writes the message to disk first, as sendmail does."""
        script = self.spooling_script if is_spooling else self.script
        argv = [sys.executable, str(script), str(self.server.port), self.server.ca_file, ADDRESS]
        return Program([*argv, secret or str(self.password), TO], env or self.env, self.text)

    def by_send(self, env: dict[str, str] | None = None, *options: str) -> Program:
        """`smtpsetup send`."""
        return Program([SMTPSETUP, "send", TO, "-s", "Backup", *options], env or self.env, self.text)

    def by_sendmail(self, env: dict[str, str] | None = None) -> Program:
        """`smtpsetup-sendmail`, called as Debian's cron calls sendmail."""
        return Program([SENDMAIL, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", TO], env or self.env, self.cron_mail)

    def by_msmtp(self, port: int, mail: Path, count: int = 1) -> Program:
        """msmtp, with the password in its configuration; `count` times in a shell loop."""
        lines = (
            f"port {port}\nuser {ADDRESS}\npassword {PASSWORD}\nfrom {ADDRESS}\ntls_trust_file {self.server.ca_file}\n"
        )
        settings = self.file(f"msmtprc-{port}", f"defaults\naccount default\n{MSMTP_ACCOUNT}{lines}", 0o600)
        loop = f'n=0; while [ $n -lt {count} ]; do msmtp -C "$0" {TO} < "$1" || exit 1; n=$((n+1)); done'
        return Program(["sh", "-c", loop, str(settings), str(mail)], self.env)

    def by_batch(self, env: dict[str, str], count: int, *options: str) -> Program:
        """`smtpsetup send --batch`, with its state deleted before each run."""
        rows = (
            {"to": f"kund{n}@example.test", "subject": f"Faktura {n}", "body": f"Faktura {n} för denna månad.\n" * 20}
            for n in range(count)
        )
        lines = self.file(f"batch-{count}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        argv = [SMTPSETUP, "send", "--batch", str(lines), *options]
        return Program(argv, env, prepare=lambda: shutil.rmtree(state_dir(env), ignore_errors=True))


def state_dir(env: dict[str, str]) -> Path:
    """The state directory of smtpsetup in a home."""
    return Path(env["HOME"], ".local", "state", "smtpsetup")

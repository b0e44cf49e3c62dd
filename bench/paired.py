"""What this tree costs compared with another commit: whole processes of both in turn, with the same Python and modules.

`python bench/paired.py COMMIT [ROW...]`, with PAIRS=25. For each row it prints processor time (user and system) and
wall time: the medians of this tree, of the commit, and of the ratio of each pair. This tree is what is in the working
copy, committed or not. Bytecode is cached, as it is after the first run. The server takes every login and mail, in TLS.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trustme
from loopback import running

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
PAIRS = int(os.environ.get("PAIRS", "25"))
BATCH = 1000
WAITING = 100  # mails in the outbox
ADDRESS, TO = "info@example.com", "kund@example.test"
SOURCES = ("pyproject.toml", "providers.toml", "src")
ROWS: dict[str, tuple[str, ...]] = {
    "identify": ("smtpsetup", "identify", "namn@live.se", "--json"),
    "--help": ("smtpsetup", "--help"),
    "send": ("smtpsetup", "send", TO, "-s", "Backup"),
    "sendmail": ("smtpsetup-sendmail", "-i", TO),
    "batch": ("smtpsetup", "send", "--batch", "batch.jsonl"),
    "flush": ("smtpsetup", "outbox", "flush"),
}
WORK = {
    "batch": f"send --batch, {BATCH} mails",
    "flush": f"outbox flush, {WAITING} mails",
    "sendmail": "smtpsetup-sendmail",
}
MAIL = f"From: root (Cron Daemon)\nTo: {TO}\nSubject: Cron <root@vm> backup\n\nBackup done\n"


class Cost(NamedTuple):
    """Seconds of processor time, of the process and what it waited for, and of wall time."""

    processor: float
    wall: float


@dataclass(frozen=True)
class Side:
    """A tree of sources, and a home with an account at the server; `filled` is its state with WAITING mails."""

    home: Path
    env: dict[str, str]
    programs: dict[str, list[str]]

    def run(self, command: tuple[str, ...]) -> Cost:
        """What one run costs; exits where it fails."""
        program, *arguments = command
        with (self.home / "mail").open("rb") as stdin, tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [*self.programs[program], *arguments],
                env=self.env,
                cwd=self.home,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _pid, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(0)
                sys.exit(f"{self.home.name}: {' '.join(command)}: exit {process.returncode}\n{output.read().decode()}")
        return Cost(usage.ru_utime + usage.ru_stime, wall)

    def run_row(self, row: str) -> Cost:
        """What a row of the table costs, from the same state each time."""
        state = self.home / ".local" / "state" / "smtpsetup"
        if row in ("batch", "flush"):
            shutil.rmtree(state, ignore_errors=True)
        if row == "flush":
            shutil.copytree(self.home / "filled", state)
        return self.run(ROWS[row])

    def set_up(self, port: int, ca_file: str) -> None:
        """Make the account, and the state in which mails wait."""
        (self.home / "mail").write_text(MAIL)
        (self.home / "password").write_text("losen-1234\n")
        (self.home / "password").chmod(0o600)
        for name, count in (("batch.jsonl", BATCH), ("waiting.jsonl", WAITING)):
            rows = (
                {"to": f"kund{n}@example.test", "subject": f"Faktura {n}", "body": "Hej\n" * 20} for n in range(count)
            )
            (self.home / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        server = ("--host", "localhost", "--port", str(port), "--security", "tls", "--ca-file", ca_file)
        self.run(("smtpsetup", "configure", ADDRESS, *server, "--password-file", str(self.home / "password")))
        self.run(("smtpsetup", "send", "--batch", "waiting.jsonl", "--queue", "always"))
        shutil.copytree(self.home / ".local" / "state" / "smtpsetup", self.home / "filled")


def side(base: Path, name: str, commit: str | None) -> Side:
    """A copy of the sources of a commit, or of the working copy, with an empty home."""
    tree = base / name / "tree"
    tree.mkdir(parents=True)
    if commit is None:
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tree / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / source, tree / source)
    else:
        archive = subprocess.run(["git", "archive", commit, *SOURCES], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            sys.exit(archive.stderr.decode())
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(tree, filter="data")
    scripts = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["scripts"]
    programs = {}
    for program, entry in scripts.items():
        module, _colon, function = entry.partition(":")
        code = f"import sys; sys.argv[0] = {program!r}; from {module} import {function}; sys.exit({function}())"
        programs[program] = [sys.executable, "-c", code]
    home = base / name / "home"
    home.mkdir(mode=0o700)
    env = {"HOME": str(home), "LOGNAME": "root", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(tree / "src")}
    return Side(home, env, programs)


def main() -> None:
    """Print the table."""
    commit, *rows = sys.argv[1:] or [""]
    unknown = [row for row in rows if row not in ROWS]
    if not commit or unknown:
        sys.exit(f"usage: python bench/paired.py COMMIT [ROW...]; rows: {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        own, other = side(base, "own", None), side(base, "commit", commit)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(base / "ca.pem"))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "server.pem"))
        port = free_port()
        with running("sink", port, base / "server.pem"):
            for one in (own, other):
                one.set_up(port, str(base / "ca.pem"))
            print(f"this tree : {commit}, {PAIRS} pairs, medians")
            for row in rows or ROWS:
                _print_row(row, own, other)


def _print_row(row: str, own: Side, other: Side) -> None:
    own.run_row(row), other.run_row(row)  # the first run compiles
    pairs = []
    for number in range(PAIRS):
        if number % 2:
            theirs, ours = other.run_row(row), own.run_row(row)
        else:
            ours, theirs = own.run_row(row), other.run_row(row)
        pairs.append((ours, theirs))
    line = f"  {WORK.get(row, row):<28}"
    for name in Cost._fields:
        found = [(getattr(ours, name), getattr(theirs, name)) for ours, theirs in pairs]
        left, right = (statistics.median(pair[place] for pair in found) * 1000 for place in (0, 1))
        ratio = statistics.median(a / b for a, b in found)
        line += f"   {name} {left:6.0f} : {right:6.0f} ms  {ratio:5.2f} x"
    print(line, flush=True)


if __name__ == "__main__":
    main()

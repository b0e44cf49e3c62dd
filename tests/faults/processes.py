"""Processes that are stopped by a signal, by a kill at a chosen moment, or by a small disk."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.conftest import Run
from tests.mail_server import MailServer, Turn
from tests.sendmail import PROGRAM
from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home

MESSAGE = "To: asa@example.com\nSubject: Nattens rapport\n\nx\n"
_KILLED_BEFORE_STATEMENT = """
import os, signal, sqlite3, sys
left, connect = int(sys.argv[2]), sqlite3.connect
def count(_statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def counted(*arguments, **options):
    db = connect(*arguments, **options)
    db.set_trace_callback(count)
    return db
sqlite3.connect = counted
"""


def started(home: Home, *arguments: str, program: str = PROGRAM) -> subprocess.Popen[bytes]:
    """A running smtpsetup-sendmail, or smtpsetup, that has been given MESSAGE as its input."""
    argv = [program, *arguments] if program == PROGRAM else [sys.executable, "-m", "smtpsetup", *arguments]
    process = subprocess.Popen(
        argv,
        env=home.unmeasured.env,
        cwd=home.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(MESSAGE.encode())
    process.stdin.close()
    process.stdin = None
    return process


def executed(home: Home, *argv: str | bytes, stdin: str = "", **env: str) -> Run:
    """Run any program in this home, with input that ends."""
    done = subprocess.run(
        [*home.prefix, *argv],
        env={**home.env, **env},
        cwd=home.path,
        input=stdin.encode(),
        capture_output=True,
        timeout=100,
        check=False,
    )
    return Run(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def shell(home: Home, script: str, *arguments: str, **env: str) -> Run:
    """Run a script of sh in this home; `$0` is Python."""
    return executed(home, "sh", "-c", script, sys.executable, *arguments, **env)


@contextlib.contextmanager
def silent_at(verb: str) -> Iterator[tuple[MailServer, list[str]]]:
    """A server that does not answer a command, and a list that is filled once the command has come."""
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == verb:
            reached.append(verb)
            time.sleep(20)  # longer than the test waits for anything
        return None

    with MailServer(answer) as server:
        yield server, reached


def killed_before_statement(home: Home, statements: int, call: str, directory: str) -> int:
    """Run Python code that uses the outbox in `directory` (sys.argv[1]) and kill it before its n-th SQL statement.

    Returns the exit code: 0 if there were fewer statements.
    """
    argv = [sys.executable, "-c", _KILLED_BEFORE_STATEMENT + call, directory, str(statements)]
    return subprocess.run(argv, env=home.env, cwd=home.path, timeout=60, check=False).returncode


def own_mount(home: Home, directory: Path, options: str) -> Home:
    """A home whose commands find a file system of their own (tmpfs with these options) in a directory."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode
    ):
        missing("needs user and mount namespaces: apt-get install util-linux")
    directory.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o {options} none {directory} && exec "$@"'
    return replace(home, prefix=("unshare", "-Urm", "sh", "-c", mount, "sh"))

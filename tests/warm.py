"""Runs commands in children that a warm process forks, in a third of the time of a cold start."""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.warm_server import LARGEST_REQUEST

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = {"LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}  # what the interpreter itself reads when it starts


@dataclass(frozen=True)
class Command:
    """A run of `smtpsetup` or `smtpsetup-sendmail`.

    `start` is the command line of a cold start, `prefix` goes before it, such as nsenter; `timeout` is in seconds.
    """

    start: tuple[str, ...]
    arguments: tuple[str | bytes, ...]
    env: Mapping[str, str]
    cwd: str
    stdin: bytes | None
    timeout: float
    disk_is_full: bool
    prefix: tuple[str, ...]

    @property
    def argv(self) -> list[str | bytes]:
        """The whole command line."""
        return [*self.prefix, *self.start, *self.arguments]


def run(command: Command) -> subprocess.CompletedProcess[bytes] | None:
    """Run a command in a forked child; None where it needs a cold start.

    Raises subprocess.TimeoutExpired.
    """
    if not _can_be_forked(command):
        return None
    request = dataclasses.asdict(command) | {
        "program": "smtpsetup" if "-m" in command.start else "smtpsetup-sendmail",
        "argv": [command.start[0], *command.arguments],
        "env": dict(command.env),
        "stdin": None,
    }
    data = json.dumps(request).encode()
    if len(data) > LARGEST_REQUEST:
        return None
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    in_read, in_write = (os.open(os.devnull, os.O_RDONLY), None) if command.stdin is None else os.pipe()
    status_read, status_write = os.pipe()
    files = [in_read, out_write, err_write, status_write]
    try:
        socket.send_fds(_server(command.prefix, _import_env(command.env)), [data], files)
    finally:
        for file in files:
            os.close(file)
    output: dict[int, bytes] = {}
    threads = [threading.Thread(target=_read, args=(file, output), daemon=True) for file in (out_read, err_read)]
    if in_write is not None:
        threads.append(threading.Thread(target=_write, args=(in_write, command.stdin or b""), daemon=True))
    for thread in threads:
        thread.start()
    end = time.monotonic() + command.timeout
    code = _exit_code(status_read, end)
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if code is None or any(thread.is_alive() for thread in threads):
        raise subprocess.TimeoutExpired(command.argv, command.timeout)
    return subprocess.CompletedProcess(command.argv, code, output[out_read], output[err_read])


def _exit_code(status: int, end: float) -> int | None:
    """The exit code, or the negative number of the signal that ended it; None for a command that ran out of time."""
    status_lines = b""
    with os.fdopen(status, "rb", buffering=0) as file:
        while status_lines.count(b"\n") < len(("pid", "exit code")):
            ready, _write_ready, _failed = select.select([file], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                os.kill(int(status_lines.split(b"\n")[0]), signal.SIGKILL)
                return None
            chunk = file.read(64)
            assert chunk, "the warm process has ended"
            status_lines += chunk
    return int(status_lines.split(b"\n")[1])


def _read(number: int, into: dict[int, bytes]) -> None:
    with os.fdopen(number, "rb") as file:
        into[number] = file.read()


def _write(number: int, data: bytes) -> None:
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
    except BrokenPipeError:
        pass


def _can_be_forked(command: Command) -> bool:
    """Whether it needs nothing that only the start of an interpreter does."""
    interpreter_env = {
        name: value for name, value in command.env.items() if name.startswith(("PYTHON", "LC_", "LD_", "OPENSSL_"))
    }
    has_usual_env = interpreter_env == {"PYTHONWARNINGS": BASE["PYTHONWARNINGS"]} and "UTF-8" in command.env.get(
        "LANG", ""
    )
    has_lasting_namespaces = command.prefix[:1] in ((), ("nsenter",))  # any other makes new ones for each command
    return (
        sys.platform == "linux"
        and has_lasting_namespaces
        and has_usual_env
        and not any(isinstance(argument, bytes) for argument in command.arguments)
    )


def _import_env(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What matters when smtpsetup is imported: the language, and whether coverage is measured."""
    names = ("SMTPSETUP_LANG", "LANGUAGE", "LANG", *sorted(name for name in env if name.startswith("COV")))
    return tuple((name, env[name]) for name in names if env.get(name))


@cache
def _server(prefix: tuple[str, ...], import_env: tuple[tuple[str, str], ...]) -> socket.socket:
    """The socket of this worker's warm process behind a prefix; the process ends with the worker."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = str(Path(__file__).with_name("warm_server.py"))
    process = subprocess.Popen(
        [*prefix, sys.executable, script, str(theirs.fileno())],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **BASE, **dict(import_env)},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours

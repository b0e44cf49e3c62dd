"""Commands in children that a warm process forks: a third of the time that a start from nothing takes."""

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

from tests.warm_server import LARGEST_REQUEST, is_measured

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = {"LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}  # what the interpreter itself reads when it starts


@dataclass(frozen=True)
class Command:
    """A run of ours: `program` is `smtpsetup` or `smtpsetup-sendmail`, `timeout` is in seconds.

    `start` is what starts it from nothing.

    `prefix` is what it is run by, such as nsenter.
    """

    program: str
    start: tuple[str, ...]
    arguments: tuple[str | bytes, ...]
    env: Mapping[str, str]
    cwd: str
    stdin: bytes | None
    timeout: float
    disk_is_full: bool = False
    prefix: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str | bytes]:
        """The whole command line."""
        return [*self.prefix, *self.start, *self.arguments]


def run(command: Command) -> subprocess.CompletedProcess[bytes] | None:
    """Run a command in a forked child; None where only a start from nothing will do.

    Raises subprocess.TimeoutExpired.
    """
    if not _can_be_forked(command):
        return None
    request = dataclasses.asdict(command) | {
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
        socket.send_fds(_server(command.prefix, is_measured(command.env)), [data], files)
    finally:
        for file in files:
            os.close(file)
    taken: dict[int, bytes] = {}
    others = [threading.Thread(target=_read, args=(file, taken), daemon=True) for file in (out_read, err_read)]
    if in_write is not None:
        others.append(threading.Thread(target=_write, args=(in_write, command.stdin or b""), daemon=True))
    for other in others:
        other.start()
    end = time.monotonic() + command.timeout
    code = _exit_code(status_read, end)
    for other in others:
        other.join(max(0.0, end - time.monotonic()))
    if code is None or any(other.is_alive() for other in others):
        raise subprocess.TimeoutExpired(command.argv, command.timeout)
    return subprocess.CompletedProcess(command.argv, code, taken[out_read], taken[err_read])


def _exit_code(status: int, end: float) -> int | None:
    """The exit code, or the negative number of the signal that ended it.

    None for a command that was killed since its time was over.
    """
    told = b""
    with os.fdopen(status, "rb", buffering=0) as file:
        while told.count(b"\n") < len(("pid", "exit code")):
            ready, _write_ready, _failed = select.select([file], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                os.kill(int(told.split(b"\n")[0]), signal.SIGKILL)
                return None
            chunk = file.read(64)
            assert chunk, "the warm process has ended"
            told += chunk
    return int(told.split(b"\n")[1])


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
    """Whether it asks for nothing that only an interpreter's own start can do."""
    of_interpreter = {
        name: value for name, value in command.env.items() if name.startswith(("PYTHON", "LC_", "LD_", "OPENSSL_"))
    }
    is_usual = of_interpreter == {"PYTHONWARNINGS": BASE["PYTHONWARNINGS"]} and "UTF-8" in command.env.get("LANG", "")
    is_here = command.prefix[:1] in ((), ("nsenter",))  # any other makes a new place for each command
    return (
        sys.platform == "linux"
        and is_here
        and is_usual
        and not any(isinstance(argument, bytes) for argument in command.arguments)
    )


@cache
def _server(prefix: tuple[str, ...], is_measured: bool) -> socket.socket:  # noqa: FBT001  a key of the cache
    """The socket of this worker's warm process in a place, which ends with the worker."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = str(Path(__file__).with_name("warm_server.py"))
    process = subprocess.Popen(
        [*prefix, sys.executable, script, str(theirs.fileno()), *(["measured"] if is_measured else [])],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **BASE},
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

"""A process that has smtpsetup loaded and forks a child for each command; `tests/warm.py` is its client.

Its environment has the language of the commands, in which the texts of modules are translated at import.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_REQUEST = 200_000  # bytes
# the third-party and standard modules that smtpsetup's commands import inside functions
LIBRARIES = (
    "asyncio",
    "base64",
    "binascii",
    "calendar",
    "click",
    "configparser",
    "csv",
    "ctypes",
    "datetime",
    "decimal",
    "difflib",
    "dns.asyncresolver",
    "dns.message",
    "dns.rdtypes.ANY.MX",
    "dns.rdtypes.ANY.TXT",
    "dns.rdtypes.IN.A",
    "dns.rdtypes.IN.AAAA",
    "dns.rdtypes.IN.SRV",
    "dns.resolver",
    "email.headerregistry",
    "email.message",
    "email.parser",
    "email.policy",
    "email.utils",
    "encodings.cp1252",
    "encodings.idna",
    "getopt",
    "gettext",
    "hashlib",
    "hmac",
    "html.parser",
    "http.server",
    "idna",
    "inspect",
    "ipaddress",
    "keyring",
    "keyring.backends",
    "mimetypes",
    "platformdirs",
    "pwd",
    "queue",
    "rich.box",
    "rich.cells",
    "rich.console",
    "rich.errors",
    "rich.live",
    "rich.markup",
    "rich.padding",
    "rich.progress",
    "rich.segment",
    "rich.table",
    "rich.text",
    "shlex",
    "shutil",
    "smtplib",
    "sqlite3",
    "ssl",
    "stringprep",
    "subprocess",
    "tempfile",
    "tomli_w",
    "tomllib",
    "unicodedata",
    "urllib.request",
    "uuid",
    "webbrowser",
    "wsgiref",
    "xml.etree.ElementTree",
    "zoneinfo",
)


def main() -> None:
    """Serve requests on the socket whose number is the first argument; a child leaves the loop and runs its command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    load_smtpsetup()
    coverage = measured()
    gc.collect()
    gc.freeze()  # so that the collector of a child does not copy shared pages
    request, files = next_child(socket.socket(fileno=int(sys.argv[1])))
    become(request, files)
    if coverage:
        coverage.start()
    try:
        if request["program"] == "smtpsetup":
            runpy.run_module("smtpsetup", run_name="__main__", alter_sys=True)
        else:
            importlib.import_module("smtpsetup.sendmail.main").main()
    except SystemExit as end:
        if isinstance(end.code, int | None):
            leave(end.code or 0)
        raise


def load_smtpsetup() -> None:
    """Import every module of smtpsetup."""
    import smtpsetup

    for module in pkgutil.walk_packages(smtpsetup.__path__, "smtpsetup."):
        if not module.name.endswith(".__main__"):
            with contextlib.suppress(ImportError):  # of a library that is not installed, or is another system's
                importlib.import_module(module.name)


def measured() -> Any:
    """The coverage that began with this process, where it is enabled, stopped and saved: each child goes on with it.

    To begin anew would cost each child more than most commands take.
    """
    if not is_measured(os.environ):
        return None
    coverage = importlib.import_module("coverage").Coverage.current()
    coverage.stop()
    coverage.save()
    coverage.get_data().close(force=True)
    coverage.set_option("run:patch", [])  # it has been done
    return coverage


def leave(code: int) -> None:
    """End as the interpreter does, without tearing down every module, which takes longer than most commands.

    Returns only if the streams cannot be flushed.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls first
    atexit._run_exitfuncs()
    gc.collect()  # so that ResourceWarnings are shown
    with contextlib.suppress(OSError, ValueError):  # the interpreter reports that
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def next_child(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request of a forked child and its files; only children return, and the parent ends with its client."""
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            if key.fileobj is not requests:  # a child has ended
                selector.unregister(key.fileobj)
                pid, pidfd, status = key.data
                _pid, code = os.waitpid(pid, 0)
                os.write(status, f"{os.waitstatus_to_exitcode(code)}\n".encode())
                os.close(status)
                os.close(pidfd)
                continue
            data, files, _flags, _address = socket.recv_fds(requests, LARGEST_REQUEST, 4)
            if not data:
                os._exit(0)
            pid = os.fork()
            if not pid:
                for other in list(selector.get_map().values()):
                    if other.fileobj is not requests:
                        os.close(other.data[1])
                        os.close(other.data[2])
                selector.close()
                requests.close()
                return json.loads(data), files
            status = files.pop()
            for file in files:
                os.close(file)
            os.write(status, f"{pid}\n".encode())
            pidfd = os.pidfd_open(pid)
            selector.register(pidfd, selectors.EVENT_READ, (pid, pidfd, status))


def become(request: Mapping[str, Any], files: list[int]) -> None:
    """Take over the environment, the directory, the arguments and the standard streams of a request."""
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    if request["disk_is_full"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.argv = request["argv"]
    sys.stdin = sys.__stdin__ = _text(0, "rb", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text(1, "wb", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, "wb", "backslashreplace", line_buffering=True)  # type: ignore[misc]


def is_measured(env: Mapping[str, str]) -> bool:
    """Whether coverage is enabled."""
    return bool(env.get("COVERAGE_PROCESS_START") or env.get("COVERAGE_PROCESS_CONFIG"))


def _text(number: int, mode: str, errors: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(open(number, mode, closefd=False), "utf-8", errors, line_buffering=line_buffering)


if __name__ == "__main__":
    main()

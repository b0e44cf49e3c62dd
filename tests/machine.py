"""A machine whose /usr/sbin/sendmail is ours, with its own /etc, /run and spool, in a private mount namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.sendmail import PROGRAM
from tests.servers import missing

if TYPE_CHECKING:
    from pathlib import Path

# the mounts are private to the namespace; everything in it ends with the first process
_MOUNTS = """
mount --bind "$1/etc" /etc && mount --bind "$1/cron" /var/spool/cron && mount -t tmpfs tmpfs /run || exit 99
mount --bind "$2" /usr/sbin/sendmail || exit 99
shift 2
exec "$@"
"""
_AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # pytest's directories and root's Python are closed to other users; smtpsetup checks owner and mode, and writing
    # stays forbidden
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@dataclass(frozen=True)
class Machine:
    """The machine; `directory/etc` is its /etc."""

    directory: Path

    @property
    def etc(self) -> Path:
        return self.directory / "etc"

    def prefix(self, *, as_nobody: bool = False) -> tuple[str, ...]:
        """The command line that runs a command on it."""
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        mounts = ("sh", "-c", _MOUNTS, "sh", str(self.directory), PROGRAM)
        return (*namespaces, *mounts, *(_AS_NOBODY if as_nobody else ()))

    def file(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file in its /etc."""
        path = self.etc / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path


def needs(*programs: str, packages: str) -> None:
    """Skip, and in CI fail, where a program is missing."""
    if not all(shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for program in programs):
        missing(f"needs {packages}: apt-get install --no-install-recommends {packages}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without cron jobs and without a system-wide configuration."""
    needs("unshare", "setpriv", "sendmail", packages="util-linux postfix")
    if os.getuid() != 0:
        missing("needs root")
    directory = tmp_path / "machine"
    (directory / "cron" / "crontabs").mkdir(parents=True)
    subprocess.run(["cp", "-a", "/etc", str(directory / "etc")], check=True, capture_output=True, timeout=60)
    for path in (*(directory / "etc" / "cron.d").glob("*"), directory / "etc" / "crontab"):
        path.unlink(missing_ok=True)
    shutil.rmtree(directory / "etc" / "smtpsetup", ignore_errors=True)
    return Machine(directory)

"""A Postfix that only hands its mail on, configured with the lines of docs/scale.md."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.postfix import MISSING, is_installed
from tests.servers import accepts_connections, free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
# what an installed Postfix has anyway; `mynetworks` lets a bench hand mail in over SMTP
_ELSEWHERE = """
queue_directory = {base}/spool
data_directory = {base}/data
maillog_file = /dev/stdout
inet_protocols = ipv4
"""
_MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


def blocks(file: str) -> list[str]:
    """The blocks of the document that begin with a comment of this text."""
    found = re.findall(r"(?ms)^```ini\n(# .+?\n)(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"))
    return [lines for comment, lines in found if comment.startswith(f"# {file}")]


def settings(lines: str) -> dict[str, str]:
    """Lines of a main.cf: each name with its value."""
    return {
        name.strip(): value.strip() for name, _equals, value in (line.partition("=") for line in lines.splitlines())
    }


@dataclass(frozen=True)
class NullClient:
    """A running null client: its directory, and the port on which it takes mail from this machine."""

    base: Path
    port: int

    def send(self, number: int, recipient: str = "kund@example.org", sender: str = "info@example.com") -> None:
        """Hand in a mail as programs do, with its own sendmail."""
        command = ["sendmail", "-C", str(self.base / "etc"), "-i", "-f", sender, recipient]
        text = f"From: {sender}\nTo: {recipient}\nSubject: {number}\n\nNumber {number}.\n"
        subprocess.run(command, input=text.encode(), check=True, timeout=30)

    def waiting(self) -> list[str]:
        """The queue, one line of JSON for each mail."""
        command = ["postqueue", "-c", str(self.base / "etc"), "-j"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.splitlines()

    def try_again(self) -> None:
        """Try all that waits now."""
        subprocess.run(["postqueue", "-c", str(self.base / "etc"), "-f"], check=True, timeout=30)

    @property
    def log(self) -> str:
        """What Postfix has logged."""
        return (self.base / "log").read_text()


@contextlib.contextmanager
def running(values: Mapping[str, str], password_line: str) -> Iterator[NullClient]:
    """Run a null client until the end of the block.

    `values` is its main.cf; a path in /etc/postfix is one of its own directory, which has `password_line` in the file
    with the password.
    """
    if not is_installed():
        missing(MISSING)
    base = Path(tempfile.mkdtemp(prefix="smtpsetup-null-client-"))  # not pytest's: Postfix's user cannot go there
    base.chmod(0o755)
    port = free_port()
    for name in ("etc", "spool", "data"):
        (base / name).mkdir(mode=0o755)
    shutil.chown(base / "data", "postfix", "postfix")
    main_cf = "".join(f"{name} = {value}\n" for name, value in values.items()).replace("/etc/postfix", f"{base}/etc")
    (base / "etc" / "main.cf").write_text(_ELSEWHERE.format(base=base) + main_cf)
    (base / "etc" / "master.cf").write_text(_MASTER_CF.format(port=port))
    (base / "etc" / "relay-password").touch(mode=0o600)
    (base / "etc" / "relay-password").write_text(password_line)
    command = ["postfix", "-c", str(base / "etc")]
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "start-fg"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: accepts_connections(port), 60)
        yield NullClient(base, port)
    finally:
        subprocess.run([*command, "stop"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        server.wait(60)
        shutil.rmtree(base, ignore_errors=True)

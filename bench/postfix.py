"""The Postfix and the keyring of the benches.

Mail is received whole and then discarded: nothing is queued, so that no run pays for the deliveries of the run before
it, and in_flow_delay, which waits for deliveries, is off. The server's share is as small as it can be. Needs root and
Debian's postfix, sasl2-bin and libsasl2-modules.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.postfix import ADDRESS, IMPLICIT_TLS, MISSING, is_installed, running
from tests.servers import Keyring, free_port, session_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ADDRESS", "PASSWORD", "Postfix", "keyring", "postfix"]
PASSWORD = "losen-1234-abcd"  # ASCII, since smtplib takes no other
_DISCARD = """
smtpd_recipient_restrictions = check_recipient_access static:DISCARD
in_flow_delay = 0
smtpd_peername_lookup = no
default_transport = discard:
message_size_limit = 60000000
default_process_limit = 200
max_use = 100000
max_idle = 3600
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_event_limit_exceptions = static:all
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix: its port, with implicit TLS, and its certificate authority."""

    port: int
    ca_file: str


@contextlib.contextmanager
def postfix(base: Path) -> Iterator[Postfix]:
    """Run a Postfix in a new directory, until the end of the block."""
    if not is_installed():
        sys.exit(MISSING)
    base.mkdir()
    for parent in base.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    port = free_port()
    with running(base, _DISCARD, {port: IMPLICIT_TLS}, PASSWORD, "PLAIN LOGIN"):
        yield Postfix(port, str(base / "ca.pem"))


@contextlib.contextmanager
def keyring(base: Path) -> Iterator[Keyring]:
    """Run an unlocked gnome-keyring on a session bus of its own, until the end of the block."""
    if not all(shutil.which(name) for name in ("dbus-daemon", "gnome-keyring-daemon", "secret-tool")):
        sys.exit("needs a keyring: apt-get install gnome-keyring dbus libsecret-tools")
    with session_bus(base) as ring:
        ring.start()
        yield ring

"""A Postfix for the benches: TLS from the first byte, a login, no limits. Mail is received whole, then thrown away.

Nothing is queued, so that no run pays for delivering the mail of the run before it, and in_flow_delay, which waits for
deliveries, is off; the server's own share is as small as can be, and what the program costs shows as much as can be.
Needs root and Debian's postfix, sasl2-bin and libsasl2-modules.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers import Keyring, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = "info@example.test"
PASSWORD = "losen-1234-abcd"  # ASCII, since smtplib takes no other
_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
myhostname = mail.example.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
maillog_file = /dev/stdout
smtpd_tls_chain_files = {base}/server.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {base}/sasl
smtpd_sasl_local_domain =
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access static:DISCARD
in_flow_delay = 0
smtpd_peername_lookup = no
default_transport = discard:
message_size_limit = 60000000
mailbox_size_limit = 0
default_process_limit = 200
max_use = 100000
max_idle = 3600
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_event_limit_exceptions = static:all
"""
_MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix: its port and its authority."""

    port: int
    ca_file: str


@contextlib.contextmanager
def postfix(base: Path) -> Iterator[Postfix]:
    """Run a Postfix in a directory of its own, until the end of the block."""
    if not (shutil.which("postfix") and shutil.which("saslpasswd2")) or os.getuid() != 0:
        sys.exit("needs root and Postfix: apt-get install postfix sasl2-bin libsasl2-modules")
    base.mkdir()
    for parent in (base, *base.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in ("etc", "spool", "data", "sasl"):
        (base / name).mkdir(mode=0o755)
    shutil.chown(base / "data", "postfix", "postfix")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(base / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "server.pem"))
    port = free_port()
    (base / "etc" / "main.cf").write_text(_MAIN_CF.format(base=base))
    (base / "etc" / "master.cf").write_text(_MASTER_CF.format(port=port))
    database = base / "sasl" / "sasldb2"
    (base / "sasl" / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN\n"
    )
    user, domain = ADDRESS.split("@")
    subprocess.run(
        ["saslpasswd2", "-c", "-p", "-f", str(database), "-u", domain, user], input=PASSWORD.encode(), check=True
    )
    shutil.chown(database, "postfix", "postfix")
    command = ["postfix", "-c", str(base / "etc")]
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "start-fg"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: _answers(port), 60)
        yield Postfix(port, str(base / "ca.pem"))
    finally:
        subprocess.run([*command, "stop"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        server.wait(60)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def keyring(base: Path) -> Iterator[Keyring]:
    """Run an unlocked gnome-keyring on a bus of its own, until the end of the block."""
    if not all(shutil.which(name) for name in ("dbus-daemon", "gnome-keyring-daemon", "secret-tool")):
        sys.exit("needs a keyring: apt-get install gnome-keyring dbus libsecret-tools")
    (base / "run").mkdir(parents=True, mode=0o700)
    (base / "data").mkdir()
    address = f"unix:path={base}/run/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--nosyslog", f"--address={address}"]
    bus = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ring = Keyring(base, address, [bus])
    try:
        wait_for((base / "run" / "bus").exists)
        ring.start()
        yield ring
    finally:
        ring.stop()

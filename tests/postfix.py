"""A real Postfix with TLS and a login by Cyrus SASL."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.servers import accepts_connections, free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ADDRESS = "info@example.test"
POSTFIX_PASSWORD = "lösenord-åäö-€"
MISSING = "needs root and Postfix: apt-get install postfix sasl2-bin libsasl2-modules"
IMPLICIT_TLS = "-o smtpd_tls_wrappermode=yes"
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
mailbox_size_limit = 0
smtpd_tls_chain_files = {base}/server.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {base}/sasl
smtpd_sasl_local_domain =
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""
_MASTER_CF = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""
_DELIVERY = """
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_non_fqdn_helo_hostname
smtpd_delay_reject = no
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_sender_login_maps = inline:{ { info@example.test = info@example.test } }
smtpd_recipient_restrictions = reject_unlisted_recipient, permit_sasl_authenticated, reject
virtual_mailbox_domains = example.test
virtual_mailbox_maps =
  inline:{ { info@example.test = info/ }, { asa@example.test = asa/ }, { bo@example.test = bo/ } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
message_size_limit = 30000000
virtual_mailbox_limit = 0
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix: its ports, its certificate authority, and where it delivers."""

    tls_port: int
    starttls_port: int
    ca_file: str
    maildir: Path

    def mails(self, user: str, count: int = 1, seconds: float = 20.0) -> list[bytes]:
        """The mails delivered to a user, oldest first, once there are that many."""
        new = self.maildir / user / "new"
        wait_for(lambda: new.is_dir() and len(list(new.iterdir())) >= count, seconds)
        return [path.read_bytes() for path in sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns)]

    def clear(self) -> None:
        """Delete the delivered mails."""
        for path in self.maildir.glob("*/new/*"):
            path.unlink()


def is_installed() -> bool:
    """Whether a Postfix with a login can be run here."""
    return bool(shutil.which("postfix") and shutil.which("saslpasswd2")) and os.getuid() == 0


@contextlib.contextmanager
def running(base: Path, main_cf: str, ports: Mapping[int, str], password: str, mechanisms: str) -> Iterator[None]:
    """Run a Postfix in a directory, until the end of the block; ADDRESS can log in.

    `main_cf` is added to what every Postfix here has; `ports` gives the options of the smtpd on each port. The
    certificate authority is in `base/ca.pem`.
    """
    base.chmod(0o755)
    for name in ("etc", "spool", "data", "sasl"):
        (base / name).mkdir(mode=0o755)
    shutil.chown(base / "data", "postfix", "postfix")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(base / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "server.pem"))
    (base / "etc" / "main.cf").write_text(_MAIN_CF.format(base=base) + main_cf)
    listeners = "".join(f"127.0.0.1:{port} inet n - n - - smtpd {options}\n" for port, options in ports.items())
    (base / "etc" / "master.cf").write_text(listeners + _MASTER_CF)
    database = base / "sasl" / "sasldb2"
    (base / "sasl" / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: {mechanisms}\n"
    )
    user, domain = ADDRESS.split("@")
    subprocess.run(
        ["saslpasswd2", "-c", "-p", "-f", str(database), "-u", domain, user], input=password.encode(), check=True
    )
    shutil.chown(database, "postfix", "postfix")
    command = ["postfix", "-c", str(base / "etc")]
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "start-fg"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: all(map(accepts_connections, ports)), 60)
        yield
    finally:
        subprocess.run([*command, "stop"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        server.wait(60)


@pytest.fixture(scope="session")
def postfix_server() -> Iterator[Postfix]:
    """Postfix with implicit TLS and with STARTTLS, delivering to maildirs."""
    if not is_installed():
        missing(MISSING)
    # outside pytest's directory, which the next pytest closes to Postfix's user
    base = Path(tempfile.mkdtemp(prefix="smtpsetup-postfix-"))
    (base / "mail").mkdir(mode=0o755)
    shutil.chown(base / "mail", "nobody", "nogroup")
    tls_port, starttls_port = free_port(), free_port()
    main_cf = f"{_DELIVERY}virtual_mailbox_base = {base}/mail\n"
    ports = {tls_port: IMPLICIT_TLS, starttls_port: ""}
    try:
        with running(base, main_cf, ports, POSTFIX_PASSWORD, "PLAIN LOGIN CRAM-MD5"):
            yield Postfix(tls_port, starttls_port, str(base / "ca.pem"), base / "mail")
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def postfix(postfix_server: Postfix) -> Postfix:
    """Postfix with empty mailboxes."""
    postfix_server.clear()
    return postfix_server

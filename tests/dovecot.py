"""A real Dovecot submission server, which has tokens introspected (RFC 7662) and relays to a server that keeps mail."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.mail_server import MailServer
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mail_server import Caught
    from tests.oauth_servers import OAuthServer

_CONFIGURATION = """
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
auth_verbose = yes
listen = 127.0.0.1
protocols = submission
ssl_server_cert_file = {base}/server.pem
ssl_server_key_file = {base}/key.pem
ssl_client_ca_file = {base}/ca.pem
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
mail_driver = maildir
mail_path = {base}/mailbox
submission_relay_host = 127.0.0.1
submission_relay_port = {relay_port}

oauth2 {{
  introspection_url = https://mail-server:introspection@{host}/token/introspection
  introspection_mode = post
  username_attribute = sub
  active_attribute = active
  active_value = true
  scope = https://mail.test/smtp
}}

passdb oauth2 {{
}}

userdb static {{
  fields {{
    uid = 65534
    gid = 65534
    home = {base}/mailbox
  }}
}}

service submission-login {{
  inet_listener submission {{
    port = {starttls_port}
  }}
  inet_listener submissions {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running Dovecot: its ports, the mails that it relayed, and its log."""

    tls_port: int
    starttls_port: int
    mails: list[Caught]
    log_file: Path

    @property
    def logins(self) -> list[str]:
        """The mechanism of each successful login."""
        return re.findall(r"Logged in: .*method=([A-Z0-9]+)", self.log_file.read_text(errors="replace"))


def _greets(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as sock,
        sock.makefile("rwb") as file,
    ):
        if file.readline().startswith(b"220"):
            file.write(b"QUIT\r\n")
            file.flush()
            return file.readline().startswith(b"221")
    return False


@pytest.fixture
def dovecot(request: pytest.FixtureRequest, oauth_server: OAuthServer) -> Iterator[Dovecot]:
    """Dovecot in its own directory; indirect parametrization sets the mechanisms that it offers."""
    if not shutil.which("dovecot") or not Path("/usr/lib/dovecot/submission").exists() or os.getuid() != 0:
        missing("needs root and Dovecot 2.4: apt-get install dovecot-core dovecot-submissiond")
    # outside pytest's directory, which is closed to Dovecot's users
    base = Path(tempfile.mkdtemp(prefix="smtpsetup-dovecot-"))
    base.chmod(0o755)
    (base / "mailbox").mkdir()
    shutil.chown(base / "mailbox", "nobody", "nogroup")
    for name in ("ca.pem", "key.pem", "server.pem"):
        shutil.copy(Path(oauth_server.ca_file).parent / name, base)
    tls_port, starttls_port = free_port(), free_port()
    with MailServer() as relay, (base / "output").open("wb") as output:
        ports = {"relay_port": relay.port, "tls_port": tls_port, "starttls_port": starttls_port}
        mechanisms = getattr(request, "param", "oauthbearer xoauth2")
        host = urlsplit(oauth_server.issuer).netloc
        (base / "dovecot.conf").write_text(_CONFIGURATION.format(base=base, host=host, mechanisms=mechanisms, **ports))
        command = ["dovecot", "-F", "-c", str(base / "dovecot.conf")]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_for(lambda: server.poll() is not None or _greets(starttls_port), 60)
            assert server.poll() is None, (base / "output").read_text()
            yield Dovecot(tls_port, starttls_port, relay.mails, base / "log")
        finally:
            server.terminate()
            server.wait(30)
            shutil.rmtree(base, ignore_errors=True)

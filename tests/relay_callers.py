"""Programs that hand mail to a relay, and what of it arrives at a provider that takes OAuth2 tokens only."""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import os
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.machine import needs
from tests.oauth_servers import USER
from tests.relay import add_client, running_relay
from tests.servers import missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import EmailMessage
    from pathlib import Path

    from tests.conftest import Home
    from tests.oauth_servers import OAuthServer, SubmittedMail
    from tests.relay import Relay

CLIENT = "shop"
TO, BLIND = "kund@example.org", "bo@example.org"
FOREIGN = "butik@shop.example"
"""A sender that the account may not use."""
SUBJECT = "Räkning åäö €"
TEXT = "Hej åäö €\n.\nslut\n"
FILE = "bilaga.bin"


@dataclass(frozen=True)
class Lent:
    """A relay that lends an account to programs: the client's password, the programs' home, and the provider."""

    relay: Relay
    home: Home
    server: OAuthServer
    password: str

    @property
    def certificate(self) -> Path:
        """The file with the relay's own certificate."""
        return self.home.path / ".local" / "state" / "smtpsetup" / "relay-certificate.pem"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, as msmtp and devices show it."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).digest()
        return digest.hex(":").upper()

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program: nothing in it is about smtpsetup."""
        return {"HOME": str(self.home.path), "PATH": f"{os.environ['PATH']}:/usr/sbin", "LC_ALL": "C.UTF-8"}

    def attached(self) -> tuple[Path, bytes]:
        """A file to attach, and what is in it."""
        data = os.urandom(100_000)
        return self.home.file(FILE, data), data

    def call(self, *command: str, stdin: str | bytes = b"", **env: str) -> str:
        """Run a program, which must succeed. Returns its output."""
        done = subprocess.run(
            command,
            env={**self.env, **env},
            cwd=self.home.path,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.decode()

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[Path]:
        """Run a service until the end of the block. Gives the path of its log."""
        log = self.home.path / "service.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=self.env, cwd=self.home.path, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def arrived(self) -> SubmittedMail:
        """The one mail that has arrived, sent with a token and from the account's own address."""
        wait_for(self.server.mails, 30)
        (mail,) = self.server.mails()
        assert mail.mechanism in ("XOAUTH2", "OAUTHBEARER")
        assert (mail.user, mail.sender) == (USER, USER)
        return mail

    def message(self, *recipients: str, reply_to: str | None = None) -> EmailMessage:
        """The message that has arrived for these recipients, Bcc in no header, From the account's own address."""
        mail = self.arrived()
        assert sorted(mail.recipients) == sorted(recipients)
        header = mail.message.partition(b"\r\n\r\n")[0]
        assert header.isascii()
        assert b"\r\nbcc:" not in b"\r\n" + header.lower()
        message = email.message_from_bytes(mail.message, policy=email.policy.default)
        assert message.defects == []
        assert {len(message.get_all(name, [])) for name in ("From", "Date", "Message-ID", "Subject", "To")} == {1}
        assert addresses(message, "From") == [USER]
        assert addresses(message, "Reply-To") == ([reply_to] if reply_to else [])
        return message


def addresses(message: EmailMessage, field: str) -> list[str]:
    """The addresses in a header field."""
    return [one.addr_spec for one in message[field].addresses] if message[field] else []


def text_of(message: EmailMessage) -> str:
    """The plain text of a message, with one line end after its last line."""
    part = message.get_body(("plain",))
    assert part
    return str(part.get_content()).replace("\r\n", "\n").rstrip("\n") + "\n"


def files_in(message: EmailMessage) -> Mapping[str | None, bytes]:
    """The attachments by their names, decoded."""
    return {part.get_filename(): bytes(part.get_payload(decode=True)) for part in message.iter_attachments()}


def has_library(*command: str, packages: str) -> None:
    """Skip, and in CI fail, where a command fails that loads a library."""
    needs(command[0], packages=packages)
    if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
        missing(f"needs {packages}: apt-get install --no-install-recommends {packages}")


@contextlib.contextmanager
def _lent(ready: tuple[Home, OAuthServer], *, with_tls: bool) -> Iterator[Lent]:
    home, server = ready
    password = add_client(home, CLIENT)
    with running_relay(home, with_tls=with_tls) as relay:
        yield Lent(relay, home, server, password)
        assert relay.stop() == 0
    assert (home.path / "relay.err").read_text() == ""


@pytest.fixture
def lent(ready: tuple[Home, OAuthServer]) -> Iterator[Lent]:
    """A relay without TLS, which programs on this machine need none to use."""
    with _lent(ready, with_tls=False) as running:
        yield running


@pytest.fixture
def lent_with_tls(ready: tuple[Home, OAuthServer]) -> Iterator[Lent]:
    """A relay with STARTTLS, and with TLS from the start on another port."""
    with _lent(ready, with_tls=True) as running:
        yield running

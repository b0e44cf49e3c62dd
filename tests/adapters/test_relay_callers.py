"""Mail of programs that cannot sign in themselves arrives, through the relay, as they meant it."""

from __future__ import annotations

import base64
import email.policy
import os
import ssl
import subprocess
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from tests.machine import needs
from tests.oauth_servers import USER
from tests.relay import add_client, running_relay
from tests.relay_callers import BLIND, CLIENT, FILE, FOREIGN, SUBJECT, TEXT, TO, Lent, files_in, has_library, text_of
from tests.servers import wait_for

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.oauth_servers import OAuthServer

pytestmark = pytest.mark.slow  # a process or more for each mail


@pytest.mark.relay_caller("swaks", "--server 127.0.0.1:PORT --auth-user CLIENT --auth-password PASSWORD --tls")
def test_swaks_sends_over_starttls(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    has_library("perl", "-MNet::SSLeay", "-e", "1", packages="libnet-ssleay-perl")
    needs("swaks", packages="swaks")
    file, data = lent.attached()
    where = f"--server 127.0.0.1:{lent.relay.port} --auth-user {CLIENT} --auth-password {lent.password}"
    tls = f"--tls --tls-verify --tls-ca-path {lent.certificate}"
    who = f"--from {FOREIGN} --to {TO},{BLIND} --h-To {TO}"
    fields = ("--header", f"Subject: {SUBJECT}", "--add-header", f"Bcc: {BLIND}")
    body = ("--body", TEXT, "--attach-name", FILE, "--attach-type", "application/octet-stream", "--attach", f"@{file}")
    lent.call("swaks", *where.split(), *tls.split(), *who.split(), *fields, *body)
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


MSMTP = """
account default
host 127.0.0.1
port {port}
tls on
tls_fingerprint {fingerprint}
auth on
"""


@pytest.mark.relay_caller(
    "msmtp", "host 127.0.0.1, port PORT, auth on, user CLIENT, password PASSWORD, tls_fingerprint FINGERPRINT"
)
def test_msmtp_sends_over_starttls_to_a_certificate_that_it_knows_by_its_fingerprint(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    needs("msmtp", packages="msmtp")
    where = MSMTP.format(port=lent.relay.port, fingerprint=lent.fingerprint)
    lent.home.file(".msmtprc", where + f"user {CLIENT}\npassword {lent.password}\nfrom {FOREIGN}\n")
    file, data = lent.attached()
    mail = EmailMessage(email.policy.default.clone(utf8=True))
    for name, value in {"From": f"Butiken <{FOREIGN}>", "To": TO, "Bcc": BLIND, "Subject": SUBJECT}.items():
        mail[name] = value
    mail.set_content(TEXT, cte="8bit")
    mail.add_attachment(data, "application", "octet-stream", filename=file.name)
    lent.call("msmtp", "-t", stdin=mail.as_bytes())
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Butiken"
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


def test_the_relay_shows_the_fingerprint_before_the_first_mail(lent_with_tls: Lent) -> None:
    wait_for(lambda: lent_with_tls.fingerprint in (lent_with_tls.home.path / "relay.out").read_text(), 3)


def test_a_client_that_refuses_the_certificate_is_no_bug_of_the_relay(ready: tuple[Home, OAuthServer]) -> None:
    with running_relay(ready[0], "--tls") as relay:
        with relay.client() as client:
            assert client.say("EHLO test").startswith("250")
            assert client.say("STARTTLS").startswith("220")
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(client.sock, server_hostname="localhost")
        assert relay.stop() == 0
    told = (ready[0].path / "relay.err").read_text()
    assert "127.0.0.1 did not accept the relay's certificate" in told
    assert "internal.bug" not in told


@pytest.mark.relay_caller("s-nail", "mta=smtp://CLIENT:PASSWORD@127.0.0.1:PORT, smtp-config=-all,ehlo,plain")
def test_s_nail_sends_with_a_file(lent: Lent) -> None:
    needs("s-nail", packages="s-nail")
    file, data = lent.attached()
    settings = {
        "mta": f"smtp://{CLIENT}:{lent.password}@127.0.0.1:{lent.relay.port}",
        "smtp-config": "-all,ehlo,plain",
        "from": USER,
        "ttycharset": "utf-8",
        "DEAD": f"{lent.home.path / 'dead.letter'}",
    }
    options = [part for name, value in settings.items() for part in ("-S", f"{name}={value}")]
    options += ["-S", "v15-compat", "-S", "sendwait", "-s", SUBJECT, "-b", BLIND, "-a", str(file)]
    lent.call("s-nail", "-:/", *options, TO, stdin=TEXT)
    message = lent.message(TO, BLIND)
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


@pytest.mark.relay_caller("curl", "smtps://127.0.0.1:TLS-PORT --cacert CERTIFICATE --user CLIENT:PASSWORD")
def test_curl_sends_over_tls_from_the_start(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    needs("curl", packages="curl")
    file, data = lent.attached()
    options = f"--silent --show-error --cacert {lent.certificate} --user {CLIENT}:{lent.password} --mail-from {USER}"
    recipients = ("--mail-rcpt", TO, "--mail-rcpt", BLIND)
    fields = [part for text in (f"From: {USER}", f"To: {TO}", f"Subject: {SUBJECT}") for part in ("-H", text)]
    parts = ("-F", f"={TEXT};type=text/plain;charset=utf-8", "-F", f"file=@{file};encoder=base64")
    lent.call("curl", f"smtps://127.0.0.1:{lent.relay.tls_port}", *options.split(), *recipients, *fields, *parts)
    message = lent.message(TO, BLIND)
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Åsa Öberg"), ("EMAIL", FOREIGN))
}


@pytest.mark.relay_caller(
    "git send-email",
    "--smtp-server=127.0.0.1 --smtp-server-port=TLS-PORT --smtp-encryption=ssl --smtp-ssl-cert-path=FILE "
    "--smtp-user=CLIENT --smtp-pass=PASSWORD",
)
def test_git_sends_a_patch_over_tls_that_can_be_applied(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    needs("git", packages="git git-email")
    where = subprocess.run(["git", "--exec-path"], capture_output=True, check=True, text=True).stdout.strip()
    needs(f"{where}/git-send-email", packages="git-email")
    perl = ("perl", "-MAuthen::SASL", "-MIO::Socket::SSL", "-e", "1")
    has_library(*perl, packages="libauthen-sasl-perl libio-socket-ssl-perl")
    lent.home.file("repository/räkning.txt", TEXT)
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-q", "-m", SUBJECT),
        ("format-patch", "-q", "--root", "-o", ".."),
    ):
        lent.call("git", "-C", "repository", *arguments, **AUTHOR)
    (patch,) = lent.home.path.glob("*.patch")
    server = f"--smtp-server=127.0.0.1 --smtp-server-port={lent.relay.tls_port}"
    tls = f"--smtp-encryption=ssl --smtp-ssl-cert-path={lent.certificate}"
    login = f"--smtp-user={CLIENT} --smtp-pass={lent.password}"
    who = (f"--from=Åsa Öberg <{FOREIGN}>", f"--to={TO}", f"--bcc={BLIND}")
    options = f"{server} {tls} {login} --confirm=never --suppress-cc=all --quiet".split()
    lent.call("git", "send-email", *options, *who, str(patch), **AUTHOR)
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["Subject"] == f"[PATCH] {SUBJECT}"
    lent.home.file("mail", message.as_bytes())
    lent.call("git", "init", "-q", "again", **AUTHOR)
    lent.call("git", "-C", "again", "am", "-q", "../mail", **AUTHOR)
    assert (lent.home.path / "again" / "räkning.txt").read_text(encoding="utf-8") == TEXT


MUTT = """
set from="{sender}" realname="Åsa Öberg" use_from=yes envelope_from_address="{sender}"
set smtp_url="smtp://{client}@127.0.0.1:{port}/" smtp_pass="{password}" smtp_authenticators="plain"
set ssl_starttls=yes ssl_force_tls=yes certificate_file="{certificate}" ssl_usesystemcerts=no
set copy=no charset="utf-8" send_charset="utf-8"
"""


@pytest.mark.relay_caller("mutt", "set smtp_url=smtp://CLIENT@127.0.0.1:PORT smtp_pass=PASSWORD certificate_file=FILE")
def test_mutt_sends_a_file_over_starttls(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    needs("mutt", packages="mutt")
    file, data = lent.attached()
    settings = MUTT.format(
        sender=FOREIGN, client=CLIENT, port=lent.relay.port, password=lent.password, certificate=lent.certificate
    )
    lent.home.file(".muttrc", settings)
    lent.call("mutt", "-n", "-s", SUBJECT, "-b", BLIND, "-a", str(file), "--", TO, stdin=TEXT)
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Åsa Öberg"
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


SCAN = """\
From: Kopiatorn p\xe5 plan 2 <scanner@printer.local>\r
To: <{to}>\r
Subject: Skannat p\xe5 m\xe5ndag\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=x\r
\r
--x\r
Content-Type: text/plain; charset=iso-8859-1\r
\r
Hej \xe5\xe4\xf6\r
--x\r
Content-Type: application/pdf; name="{file}"\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="{file}"\r
\r
{data}\r
--x--\r
"""


@pytest.mark.relay_caller("a scanner without a login", "server 127.0.0.1, port PORT, no user name: HELO, no AUTH")
def test_a_device_that_knows_helo_only_sends_without_a_login(ready: tuple[Home, OAuthServer]) -> None:
    home, server = ready
    add_client(home, "device", "--net", "127.0.0.1/32")
    data = os.urandom(100_000)
    encoded = base64.encodebytes(data).decode().replace("\n", "\r\n")
    with running_relay(home) as relay, relay.client() as device:
        for command in ("HELO printer", "MAIL FROM:<scanner@printer.local>", f"RCPT TO:<{TO}>", f"RCPT TO:<{BLIND}>"):
            assert device.say(command).startswith("250"), command
        assert device.say("DATA").startswith("354")
        device.sock.sendall(SCAN.format(to=TO, file=FILE, data=encoded).encode("latin-1"))
        assert device.say(".").startswith("250")
        assert device.say("QUIT").startswith("221")
        message = Lent(relay, home, server, "").message(TO, BLIND, reply_to="scanner@printer.local")
    assert message["From"].addresses[0].display_name == "Kopiatorn på plan 2"
    assert message["Subject"] == "Skannat på måndag"
    assert text_of(message) == "Hej åäö\n"
    assert files_in(message) == {FILE: data}

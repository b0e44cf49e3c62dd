"""`smtpsetup relay` and `smtpsetup card`: options, TLS, systemd, and what people and scripts see."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
import trustme

from tests import answers
from tests.conftest import PASSWORD
from tests.recording import RecordingServer, password_account, plain_account, state_dir
from tests.relay import MAIL, Client, add_client, events, plain, running_relay
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home
    from tests.relay import Relay


@pytest.fixture
def account(home: Home) -> Iterator[RecordingServer]:
    """An account of this home; the server is that of the account."""
    with RecordingServer() as server:
        plain_account(home, server.port)
        yield server


def own_address() -> str:
    """An address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            missing("needs a network interface beside the loopback")
        return str(sock.getsockname()[0])


# clients


def test_a_client_is_added_listed_renewed_and_removed(home: Home, account: RecordingServer) -> None:
    added = home.run("relay", "add-client", "shop", "--from", "info@example.com", "--per-day", "100", "--json")
    result = added.json["result"]
    assert (added.json["command"], result["name"], len(result["password"])) == ("relay", "shop", 20)
    listed = home.run("relay", "list", "--json").json["result"]
    expected = {"name": "shop", "from": ["info@example.com"], "account": None, "net": [], "per_day": 100}
    assert listed == [{**expected, "old_tls": False}]
    renewed = home.run("relay", "renew", "shop", "--json").json["result"]
    assert renewed["password"] != result["password"]
    assert home.run("relay", "remove", "shop").code == 0
    assert home.run("relay", "list").out.startswith("The relay has no clients yet.")


def test_the_password_is_shown_for_people_once(home: Home, account: RecordingServer) -> None:
    shown = home.run("relay", "add-client", "shop")
    password = re.search(r"^ +Password +([a-z2-9]{20})$", shown.out, re.MULTILINE)
    assert password
    assert password[1] not in home.run("relay", "list").out + home.run("card").out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("a b",), "cannot be the name"),
        (("ok", "--from", "chef@example.net"), "may not send from"),
        (("ok", "--account", "nobody"), "There is no account"),
        (("ok", "--net", "0.0.0.0/0"), "too wide"),
        (("ok", "--net", "::/0"), "too wide"),
        (("ok", "--net", "10.0.0.0/7"), "too wide"),
        (("ok", "--net", "my-printer"), "is no network"),
        (("ok", "--per-day", "0"), "--per-day"),
    ],
)
def test_a_client_that_cannot_be_is_refused(
    home: Home, account: RecordingServer, options: tuple[str, ...], part: str
) -> None:
    refused = home.run("relay", "add-client", *options)
    assert refused.code in (2, 78)
    assert part in refused.err
    assert home.run("relay", "list", "--json").json["result"] == []


def test_a_second_client_of_that_name_is_refused(home: Home, account: RecordingServer) -> None:
    add_client(home)
    refused = home.run("relay", "add-client", "shop")
    assert (refused.code, "smtpsetup relay renew shop" in refused.err) == (78, True)
    unknown = home.run("relay", "renew", "printer", "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (78, "config.invalid")


def test_without_an_account_there_is_nothing_to_lend(home: Home) -> None:
    for command in (("relay",), ("relay", "add-client", "shop"), ("card",), ("relay", "--install", "--print")):
        run = home.run(*command, "--json")
        assert (run.code, run.json["error"]["code"]) == (78, "config.no-account")


# where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_relay_that_others_could_use_in_clear_text_is_refused(
    home: Home, account: RecordingServer, host: str
) -> None:
    add_client(home)
    run = home.run("relay", "--host", host, "--port", str(free_port()), "--json")
    assert (run.code, run.json["error"]["code"]) == (78, "relay.exposed")
    assert home.run("relay", "--host", host, "--install", "--print").code == 78


def test_off_loopback_a_password_is_taken_over_tls_only(home: Home, account: RecordingServer) -> None:
    address = own_address()
    password = add_client(home)
    with running_relay(home, "--host", "0.0.0.0", "--tls") as relay:
        with Client(address, relay.port) as client:
            assert "AUTH" not in client.say("EHLO test")
            assert client.say(f"AUTH PLAIN {plain('shop', password)}").startswith("538 5.7.11")
            assert client.say("MAIL FROM:<info@example.com>").startswith("530")
        with Client(address, relay.port) as client:
            upgrade(client, home)
            assert "AUTH PLAIN LOGIN" in client.say("EHLO test")
            assert client.say(f"AUTH PLAIN {plain('shop', password)}").startswith("235")
            assert client.hand_over().startswith("250")
        with relay.client() as client:  # from this machine
            assert "AUTH" in client.say("EHLO test")


def test_a_port_that_is_taken_is_told(home: Home, account: RecordingServer) -> None:
    run = home.run("relay", "--port", str(account.port))
    assert run.code == 69
    assert f"port {account.port} already" in run.err


def test_an_account_whose_server_is_the_relay_is_refused(home: Home) -> None:
    port = free_port()
    plain_account(home, port)
    run = home.run("relay", "--port", str(port))
    assert (run.code, "is this relay itself" in run.err) == (78, True)


# TLS


def certificate(home: Home) -> str:
    """The path of the certificate that the relay has made."""
    return f"{state_dir(home)}/relay-certificate.pem"


def upgrade(client: Client, home: Home, context: ssl.SSLContext | None = None) -> None:
    """STARTTLS, with the relay's own certificate as the authority."""
    client.say("EHLO test")
    assert client.say("STARTTLS").startswith("220")
    chosen = context or ssl.create_default_context(cafile=certificate(home))
    client.lines.close()
    client.sock = chosen.wrap_socket(client.sock, server_hostname="localhost")
    client.lines = client.sock.makefile("rb")


def test_the_certificate_is_made_once_and_its_fingerprint_told(home: Home, account: RecordingServer) -> None:
    told = []
    for _start in range(2):
        with running_relay(home, "--json", with_tls=True) as relay:
            first = events(relay)[0]
            assert first["tls_address"] == f"127.0.0.1:{relay.tls_port}"
            told.append(first["certificate_sha256"])
            context = ssl.create_default_context(cafile=certificate(home))
            sock = socket.create_connection(("127.0.0.1", relay.tls_port))
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
                assert secured.recv(4) == b"220 "
                shown = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest().upper()
    assert told[0] == told[1] == ":".join(shown[place : place + 2] for place in range(0, 64, 2))
    for name in ("relay-key.pem", "relay-certificate.pem"):
        assert os.stat(f"{state_dir(home)}/{name}").st_mode & 0o777 == 0o600


def test_a_given_certificate_is_used(home: Home, account: RecordingServer, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with running_relay(home, *options) as relay, relay.client() as client:
        upgrade(client, home, ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
        assert "STARTTLS" not in client.say("EHLO test")
    swapped = ("--tls-cert", str(tmp_path / "key.pem"), "--tls-key", str(tmp_path / "cert.pem"))
    run = home.run("relay", "--port", str(free_port()), *swapped)
    assert (run.code, "cannot be used" in run.err) == (78, True)
    assert home.run("relay", "--tls-cert", str(tmp_path / "cert.pem")).code == 2


@pytest.mark.slow
def test_old_tls_is_for_the_clients_that_need_it(home: Home, account: RecordingServer) -> None:
    modern = add_client(home, "shop")
    old = add_client(home, "printer", "--old-tls")
    assert "TLS 1.0" in home.run("doctor").out
    with running_relay(home, "--tls") as relay:
        for name, password, code in (("printer", old, "235"), ("shop", modern, "535 5.7.11")):
            with relay.client() as client:
                wait_for(lambda: "STARTTLS" in client.say("EHLO test"))
                upgrade(client, home, of_old())
                assert client.log_in(password, name).startswith(code)
        assert home.run("relay", "remove", "printer").code == 0
        wait_for(lambda: refuses_old(relay))


def of_old() -> ssl.SSLContext:
    """A device that knows TLS 1.1 at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def refuses_old(relay: Relay) -> bool:
    """Whether the handshake of an old device fails."""
    with relay.client() as client:
        client.say("EHLO test")
        client.say("STARTTLS")
        try:
            of_old().wrap_socket(client.sock).close()
        except ssl.SSLError:
            return True
        return False


# systemd


@pytest.fixture
def units(home: Home, account: RecordingServer, tmp_path: Path) -> dict[str, str]:
    """The units for a relay with two ports."""
    printed = home.run("relay", "--install", "--print", "--tls-port", "4650", "--json").json["result"]
    assert printed["installed"] is False
    return {os.path.basename(path): content for path, content in printed["files"].items()}


def test_systemd_finds_no_fault_in_the_units(units: dict[str, str], tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        missing("needs systemd: apt-get install systemd")
    for name, content in units.items():
        (tmp_path / name).write_text(content)
    paths = [str(tmp_path / name) for name in units]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(units) == {"smtpsetup-relay.socket", "smtpsetup-relay-tls.socket", "smtpsetup-relay.service"}


def test_a_socket_of_systemd_starts_it_and_it_notifies(home: Home, account: RecordingServer, tmp_path: Path) -> None:
    password = add_client(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30)
        start = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='relay'); "
            "os.execv(sys.executable, [sys.executable, '-m', 'smtpsetup', 'relay'])"
        )
        env = {**home.unmeasured.env, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        process = subprocess.Popen(
            [sys.executable, "-c", start, str(listener.fileno())], env=env, pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with Client("127.0.0.1", listener.getsockname()[1]) as client:
                assert client.log_in(password).startswith("235")
                assert client.hand_over().startswith("250")
            assert told.recv(100) == b"READY=1"
            assert told.recv(100) == b"WATCHDOG=1"
            process.terminate()
            while (said := told.recv(100)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait(30)


# what is told


def test_status_has_the_promised_keys(home: Home, account: RecordingServer) -> None:
    add_client(home)
    stopped = home.run("relay", "--status", "--json")
    assert (stopped.code, stopped.json["result"]["listening"]) == (75, False)
    with running_relay(home) as relay:
        result = home.run("relay", "--status", "--json").json["result"]
        assert {**result, "address": ""} == {
            "listening": True, "address": "", "fault": None, "clients": 1, "waiting": 0, "failed": 0, "upstream": [],
        }  # fmt: skip
        assert result["address"] == f"127.0.0.1:{relay.port}"
        assert "listens on" in home.run("relay", "--status").out
        assert "The outbox is flushed by smtpsetup relay" in home.run("doctor").out
        assert "The relay listens" in home.run("doctor").out
    assert "The relay is not running" in home.run("doctor").out


def test_each_mail_has_a_line(home: Home, account: RecordingServer) -> None:
    password = add_client(home)
    with running_relay(home) as relay, relay.client() as client:
        client.log_in(password)
        client.hand_over()
        wait_for(lambda: "mail 1 is sent: 250" in (home.path / "relay.out").read_text())
    assert re.search(
        r"^\d{4}-\d\d-\d\d [0-9:]{8} mail 1 from shop: ", (home.path / "relay.out").read_text(), re.MULTILINE
    )


def test_the_events_are_one_document_each(home: Home, account: RecordingServer) -> None:
    password = add_client(home)
    with running_relay(home, "--json") as relay, relay.client() as client:
        client.log_in(password)
        client.hand_over(MAIL.replace(b"Subject", b"Message-ID: <x@example.com>\r\nSubject"))
        wait_for(lambda: len(events(relay)) == 3)
        listening, taken, tried = events(relay)
    assert (listening["event"], listening["address"]) == ("listening", f"127.0.0.1:{relay.port}")
    assert (taken["event"], taken["client"], taken["message_id"]) == ("taken", "shop", "<x@example.com>")
    assert (tried["event"], tried["outbox_id"], tried["error"]) == ("tried", taken["outbox_id"], None)


def test_the_card_has_the_fields_of_both_forms(home: Home) -> None:
    password_account(home, 465, host='"send.one.com"', security='"tls"')
    add_client(home)
    assert home.run("relay", "list").code == 0
    fields = home.run("card", "--json").json["result"]["fields"]
    values = {(field["for"], field["label"]): field["value"] for field in fields}
    assert all(set(field) == {"for", "label", "value", "note"} for field in fields)
    assert values["relay", "Server"] == "127.0.0.1"
    assert values["relay", "Port"] == "2525"
    assert values["relay", "User name"] == "shop"
    assert values["provider", "Server"] == "send.one.com"
    assert values["provider", "Encryption"] == "SSL/TLS"
    shown = home.run("card").out
    assert "Fill in the fields of the provider there." in shown
    assert PASSWORD not in shown


def test_the_card_names_no_password_where_the_provider_takes_none(home: Home) -> None:
    client = '{ client_id = "x", token_endpoint = "https://localhost:1/" }'
    password_account(home, 587, host='"smtp-mail.outlook.com"', security='"starttls"', auth='"oauth2"', oauth2=client)
    found = home.run("card", "--json").json["result"]
    assert {field["for"] for field in found["fields"]} == {"relay"}
    assert "address of a domain of your own" in found["remarks"][-1]


def test_without_its_library_it_says_what_to_install(home: Home, account: RecordingServer) -> None:
    hide = home.path / "hidden"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import sys\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'aiosmtpd':\n            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "smtpsetup", "relay", "--json"],
        env={**home.env, "PYTHONPATH": str(hide)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    error = answers.read(run.stdout)["error"]
    assert (run.returncode, error["code"]) == (78, "config.invalid")
    assert "aiosmtpd" in error["hints"][0]

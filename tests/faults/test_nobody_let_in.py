"""Who must not get in.

Callers who choose sendmail's arguments, users of the same machine, strangers' tables, servers that pretend.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smtpsetup.setup import doctor
from smtpsetup.state import private_dir
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, plain_account, state_dir
from tests.sendmail import PROGRAM, sendmail
from tests.servers import missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home, Run
    from tests.machine import Machine

MESSAGE = "To: asa@example.com\nSubject: x\n\nx\n"
NOBODY = 65534


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


# 6: -C and its kind


def planted(home: Home, port: int, name: str = "upload.toml") -> tuple[Path, Path]:
    """A configuration that runs a command, and the file that the command makes."""
    made = home.path / "made-by-the-attacker"
    row = f'address = "info@example.com"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
    text = f'[accounts.a]\n{row}secret = {{ store = "command", command = "touch {made}" }}\n'
    return home.file(name, text), made


@pytest.mark.parametrize("mode", [("-t",), ("-q",), ("-bp",), ("-t", "-v"), ("-q", "-v")])
def test_sendmail_refuses_a_configuration_chosen_by_the_caller(
    home: Home, server: RecordingServer, mode: tuple[str, ...]
) -> None:
    plain_account(home, server.port)
    path, made = planted(home, server.port)
    for written in (str(path), os.path.relpath(path, home.path), f"{path.parent}/./{path.name}"):
        done = sendmail(home, *mode, "-C", written, stdin=MESSAGE)
        assert done.code == 78
        assert "-C may name only" in done.err
        assert sendmail(home, *mode, f"-C{written}", stdin=MESSAGE).code == 78
    assert not made.exists()
    assert server.mails == []


@pytest.mark.parametrize("how", ["link to it", "itself", "dots"])
def test_sendmail_accepts_any_path_to_the_users_configuration(home: Home, server: RecordingServer, how: str) -> None:
    plain_account(home, server.port)
    link = home.path / "link.toml"
    link.symlink_to(home.config)
    path = {
        "link to it": str(link),
        "itself": str(home.config),
        "dots": f"{home.config.parent}/../smtpsetup/config.toml",
    }[how]
    assert sendmail(home, "-t", "-C", path, stdin=MESSAGE).code == 0
    assert len(server.mails) == 1


def test_a_symlink_swapped_during_the_check_is_not_followed(home: Home, server: RecordingServer) -> None:
    """What is opened is the known path, not the one that was given."""
    plain_account(home, server.port)
    path, made = planted(home, server.port)
    link, other = home.path / "link.toml", home.path / "other"
    link.symlink_to(home.config)
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            for target in (path, home.config):
                other.symlink_to(target)
                other.rename(link)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        for _time in range(10):
            assert sendmail(home, "-t", "-C", str(link), stdin=MESSAGE).code in (0, 78)
    finally:
        stop.set()
        thread.join()
    assert not made.exists()


def test_sendmail_accepts_the_machines_configuration(home: Home, server: RecordingServer, machine: Machine) -> None:
    row = f'address = "info@example.com"\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nauth = "none"\n'
    machine.file("smtpsetup/config.toml", f"[accounts.machine]\n{row}")
    assert (
        sendmail(replace(home, prefix=machine.prefix()), "-t", "-C", "/etc/smtpsetup/config.toml", stdin=MESSAGE).code
        == 0
    )
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    "flags",
    [
        ("-X", "{target}"),
        ("-X{target}",),
        ("-O", "QueueDirectory={target}"),
        ("-OQueueDirectory={target}", "-X{target}"),
        ("-oQ{target}",),
        ("-oX{target}",),
        ("-O", "LogFile={target}"),
        ("-d", "99.100"),
        ("-p", "{target}"),
        ("-A", "{target}"),
        ("-B", "8BITMIME"),
        ("-L", "{target}"),
        ("-D", "{target}"),
    ],
)
def test_flags_with_which_other_sendmails_write_files_write_none(
    home: Home, server: RecordingServer, flags: tuple[str, ...]
) -> None:
    plain_account(home, server.port)
    target = home.path / "public" / "shell.php"
    target.parent.mkdir()
    done = sendmail(home, "-t", *(flag.format(target=target) for flag in flags), stdin=MESSAGE + "<?php evil ?>\n")
    assert done.code in (0, 64)
    assert list(target.parent.iterdir()) == []


def test_the_environment_may_name_any_configuration(home: Home, server: RecordingServer) -> None:
    path = home.file("own.toml", "")
    plain_account(home, server.port)
    home.config.rename(path)
    assert sendmail(home, "-t", stdin=MESSAGE, SMTPSETUP_CONFIG=str(path)).code == 0
    assert len(server.mails) == 1


# 7: what root is told to run


def test_root_is_advised_to_link_only_a_program_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        missing("needs root")
    own = tmp_path / "bin" / "smtpsetup-sendmail"
    own.parent.mkdir()
    own.touch(0o755)
    monkeypatch.setattr(doctor, "_SENDMAIL", (str(tmp_path / "nowhere"),))
    monkeypatch.setenv("PATH", str(own.parent))
    own.chmod(0o755)
    os.chown(own.parent, NOBODY, NOBODY)
    finding = doctor._sendmail()
    assert "pipx install --global" in finding.hints[0]
    assert str(own) not in " ".join(finding.hints)
    assert "/usr/local/bin/smtpsetup-sendmail" in finding.hints[1]


@pytest.mark.parametrize("spoil", ["file", "directory", "writable"])
def test_every_part_of_the_path_must_be_writable_by_root_alone(spoil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        missing("needs root")
    base = Path("/usr/local/lib/smtpsetup-test")  # below directories that are root's
    shutil.rmtree(base, ignore_errors=True)
    try:
        (base / "bin").mkdir(parents=True, mode=0o755)
        program = base / "bin" / "smtpsetup-sendmail"
        program.touch(0o755)
        monkeypatch.setattr(sys, "executable", "/usr/bin/env")
        monkeypatch.setattr(doctor, "__file__", "/usr/bin/env")
        if doctor._place_of_others("/usr/local/lib") is None:
            assert doctor._place_of_others(str(program)) is None
        spoilt = {"file": program, "directory": base / "bin", "writable": base}[spoil]
        if spoil == "writable":
            spoilt.chmod(0o775)
        else:
            os.chown(spoilt, NOBODY, NOBODY)
        assert doctor._place_of_others(str(program)) == str(spoilt)
    finally:
        shutil.rmtree(base)


# 8: the state directory


FIRST = {
    "send": ("send", "kund@example.com", "--body", "x"),
    "always": ("send", "kund@example.com", "--body", "x", "--queue", "always"),
    "batch": ("send", "--batch", "mails.jsonl"),
    "list": ("outbox", "list"),
    "doctor": ("doctor",),
}


@pytest.mark.matrix
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("umask", ["0", "077", "0777"])
def test_the_state_directory_is_0700_whatever_the_umask_and_the_first_command(
    home: Home, server: RecordingServer, first: str, umask: str
) -> None:
    plain_account(home, server.port)
    home.file("mails.jsonl", '{"to": "kund@example.com", "body": "x"}\n')
    script = f'umask {umask}; exec "$0" -m smtpsetup "$@"'
    subprocess.run(
        ["sh", "-c", script, sys.executable, *FIRST[first]],
        env=home.env,
        cwd=home.path,
        capture_output=True,
        timeout=100,
        check=False,
    )
    state = Path(state_dir(home))
    for directory in (state, state.parent, state.parent.parent, *(path for path in state.rglob("*") if path.is_dir())):
        assert directory.stat().st_mode & 0o7777 == 0o700, directory
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.rglob("*"))


def loosened(path: Path, how: str) -> None:
    if how == "writable":
        path.chmod(0o777)
        return
    moved = path.with_name("elsewhere")
    path.rename(moved)
    path.symlink_to(moved)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("place", "how"),
    [
        (".local/state/smtpsetup", "writable"),
        (".local/state/smtpsetup", "link"),
        (".local/state", "writable"),
        (".local", "writable"),
    ],
)
def test_a_state_directory_that_others_can_change_is_refused_and_reported_by_doctor(
    home: Home, server: RecordingServer, how: str, place: str
) -> None:
    plain_account(home, server.port)
    assert home.run("outbox", "list").code == 0
    loosened(home.path / place, how)
    run = home.run("outbox", "list")
    assert run.code == 74
    assert str(home.path / place) in "".join(run.err.split())
    told = home.run("doctor", "--json").json
    (finding,) = [one for one in told["result"]["checks"] if one["check"] == "state"]
    assert finding["status"] == "wrong"
    assert home.run("send", "kund@example.com", "--body", "x").code == 0  # what needs no outbox goes
    assert len(server.mails) == 1


@pytest.mark.parametrize("place", [".local/state/smtpsetup", ".local"])
def test_a_state_directory_or_parent_of_another_user_is_refused(home: Home, place: str) -> None:
    if os.getuid() != 0:
        missing("needs root")
    assert home.run("outbox", "list").code == 0
    os.chown(home.path / place, NOBODY, NOBODY)
    with pytest.raises(private_dir.UnsafePathError, match="another user"):  # which root would become
        private_dir.check(state_dir(home))


def test_an_outbox_of_another_user_is_refused(home: Home, tmp_path: Path) -> None:
    if os.getuid() != 0:
        missing("needs root")
    plain_account(home, 1)
    assert home.run("outbox", "list").code == 0
    os.chown(f"{state_dir(home)}/outbox.db", NOBODY, NOBODY)
    run = home.run("outbox", "list")
    assert run.code == 74
    assert "belongs to another user" in " ".join(run.err.split())
    assert home.run("doctor").code != 0


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ["mail.log", "outbox.db", "sent-a", "outbox.lock"])
def test_nothing_is_written_through_a_link(home: Home, server: RecordingServer, name: str, kind: str) -> None:
    plain_account(home, server.port)
    target = home.file("precious", "precious\n")
    path = home.path / ".local" / "state" / "smtpsetup" / name
    path.parent.mkdir(parents=True, mode=0o700)
    for above in (path.parent, path.parent.parent, path.parent.parent.parent):
        above.chmod(0o700)
    if kind == "symbolic":
        path.symlink_to(target)
    else:
        path.hardlink_to(target)
    home.run("send", "kund@example.com", "--body", "x")
    home.run("send", "kund@example.com", "--body", "x", "--queue", "always")
    assert target.read_text() == "precious\n"
    assert len(server.mails) == 1


# 9: lines and cells of strangers


def batch(home: Home, *rows: dict[str, object], options: tuple[str, ...] = ()) -> Run:
    file = home.file("mails.jsonl", "".join(json.dumps({"to": "kund@example.com", **row}) + "\n" for row in rows))
    return home.run("send", "--batch", str(file), *options)


@pytest.mark.parametrize("path", ["/etc/hostname", "./secret", "secret.html", "../home/secret", "pages/index.HTM"])
def test_html_that_looks_like_a_path_is_refused_and_no_file_is_read(
    home: Home, server: RecordingServer, path: str
) -> None:
    plain_account(home, server.port)
    home.file("secret", "the secret")
    run = batch(home, {"html": path})
    assert (run.code, server.mails) == (65, [])
    assert "html_file" in run.err


def test_html_is_text_and_html_file_a_path(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    home.file("page.html", "<p>from the file</p>")
    assert batch(home, {"html": "just text, no tag"}, {"html_file": "page.html"}, {"html": "<p>the text</p>"}).code == 0
    bodies = [arrival.body for arrival in server.mails]
    assert [b"just text" in bodies[0], b"from the file" in bodies[1], b"the text" in bodies[2]] == [True] * 3
    assert batch(home, {"html": "<p>", "html_file": "page.html"}).code == 65


@pytest.mark.parametrize("key", ["attach", "html_file"])
@pytest.mark.parametrize(
    "path", ["/etc/hostname", "../outside.txt", "link", "sub/../../outside.txt", "linked/outside.txt"]
)
def test_root_limits_the_files_of_a_batch_row(home: Home, server: RecordingServer, key: str, path: str) -> None:
    plain_account(home, server.port)
    home.file("outside.txt", "outside")
    inside = home.path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(home.path / "outside.txt")
    (inside / "linked").symlink_to(home.path)
    run = batch(home, {key: path if path.startswith("/") else f"inside/{path}"}, options=("--root", "inside"))
    assert (run.code, server.mails) == (65, [])
    assert "is outside" in " ".join(run.err.split())


def test_root_allows_files_below_it(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    home.file("inside/a/page.html", "<p>page</p>")
    home.file("inside/bill.txt", "the bill")
    row: dict[str, object] = {"html_file": "inside/a/page.html", "attach": ["inside/bill.txt"]}
    assert batch(home, row, options=("--root", str(home.path / "inside"))).code == 0
    assert b"bill.txt" in server.mails[0].body


def test_root_limits_the_files_of_a_merge(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    home.file("outside.txt", "outside")
    home.file("inside/a.txt", "a")
    table = home.file("kunder.csv", "email;file\nkund@example.com;inside/a.txt\n")
    merge = ("send", "--merge", str(table), "--body", "x", "--root", "inside")
    assert home.run(*merge, "--attach", "$file").code == 0
    assert home.run(*merge, "--restart", "--attach", "outside.txt").code == 65
    assert len(server.mails) == 1


CELLS = [
    "a@x.se>, <evil@y.se",
    "a@x.se, evil@y.se",
    "a@x.se> <evil@y.se",
    "<evil@y.se",
    "a@x.se,evil@y.se",
    '"a" <a@x.se>, evil@y.se',
]


@pytest.mark.matrix
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("option", ["--to", "--cc", "--bcc", "--reply-to"])
@pytest.mark.parametrize("template", ["$namn <$epost>", "Kund <$epost>", "$epost"])
def test_a_cell_never_adds_a_recipient(
    home: Home, server: RecordingServer, cell: str, option: str, template: str
) -> None:
    plain_account(home, server.port)
    quoted = cell.replace('"', '""')
    table = home.file("kunder.csv", f'namn;epost\nBo;bo@example.com\nEva;"{quoted}"\n')
    first = () if option == "--to" else ("--to", "fast@example.com")
    run = home.run("send", "--merge", str(table), "--body", "x", *first, option, template)
    assert run.code == 65, (run.err, [arrival.recipients for arrival in server.mails])
    assert server.mails == []


def test_a_template_may_name_several_recipients(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    table = home.file("kunder.csv", "namn;a;b\nBo, Öberg;a@example.com;Åsa <b@example.com>\n")
    assert home.run("send", "--merge", str(table), "--body", "x", "--to", "$namn <$a>, $b, c@example.com").code == 0
    assert server.mails[0].recipients == ("a@example.com", "b@example.com", "c@example.com")


# 10: secrets, senders, certificates


def test_core_dumps_are_off_while_a_secret_is_held(home: Home) -> None:
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "AUTH":
            reached.append(turn.line)
            time.sleep(5)  # while its limits are looked at
        return None

    password = home.file("password", "hemligt\n")
    with MailServer(answer) as server:
        for program in ([PROGRAM, "-t"], [sys.executable, "-m", "smtpsetup", "send", "asa@example.com"]):
            plain_account(home, server.port, auth='"password"', secret=f'{{ store = "file", path = "{password}" }}')
            reached.clear()
            shell = ["sh", "-c", 'ulimit -c unlimited 2>/dev/null; exec "$@"', "sh", *program]
            with subprocess.Popen(
                shell, env=home.unmeasured.env, cwd=home.path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdin
                process.stdin.write(MESSAGE.encode())
                process.stdin.close()
                wait_for(lambda: reached)
                limits = Path(f"/proc/{process.pid}/limits").read_text()
                process.send_signal(signal.SIGKILL)
            (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
            assert line.split()[4] == "0"


@pytest.mark.parametrize("field", ["Sender", "Resent-From", "Resent-Sender"])
def test_sender_fields_are_limited_to_the_address_of_the_account(
    home: Home, server: RecordingServer, field: str
) -> None:
    plain_account(home, server.port)
    assert sendmail(home, "asa@example.com", stdin=f"{field}: vd@bank.example\nSubject: x\n\nx\n").code == 0
    assert sendmail(home, "asa@example.com", stdin=f"{field}: Info <info@example.com>\nSubject: x\n\nx\n").code == 0
    refused, taken = (arrival.content for arrival in server.mails)
    assert b"bank.example" not in refused
    assert field.encode() + b": " in taken


@pytest.mark.parametrize("allowed", ["domain", "any"])
def test_sender_fields_that_the_account_allows_are_kept(home: Home, server: RecordingServer, allowed: str) -> None:
    plain_account(home, server.port, allowed_from=f'"{allowed}"')
    assert sendmail(home, "asa@example.com", stdin="Sender: faktura@example.com\nSubject: x\n\nx\n").code == 0
    assert b"Sender: faktura@example.com" in server.mails[0].content


@pytest.mark.parametrize(
    ("arguments", "header", "recipients"),
    [
        (
            ("-t",),
            "Resent-To: new@example.com\nResent-From: info@example.com\nTo: older@example.com\n",
            {"new@example.com"},
        ),
        (
            ("new@example.com",),
            "Resent-To: old@example.com\nResent-Bcc: evil@example.com\nTo: older@example.com\n",
            {"new@example.com"},
        ),
        (
            ("-t", "b@example.com"),
            "To: a@example.com\nBcc: hidden@example.com\n",
            {"a@example.com", "b@example.com", "hidden@example.com"},
        ),
    ],
)
def test_a_mail_saved_without_a_configuration_is_sent_to_its_recipients_alone(
    home: Home, server: RecordingServer, arguments: tuple[str, ...], header: str, recipients: set[str]
) -> None:
    plain_account(home, server.port)
    text = home.config.read_text()
    home.config.write_text("[[[")  # so that nothing is known but what was handed in
    assert sendmail(home, *arguments, stdin=f"{header}Subject: x\n\nx\n").code == 78
    home.config.write_text(text)
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert sendmail(home, "-t", "-i", stdin=saved.read_bytes()).code == 0
    assert set(server.mails[0].recipients) == recipients
    assert b"X-Saved-By" not in server.mails[0].content


def certificate_with_a_common_name_only(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_with_its_name_in_the_common_name_alone_is_refused(home: Home, tmp_path: Path) -> None:
    file = certificate_with_a_common_name_only(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _peer = listener.accept()
                    context.wrap_socket(client, server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        plain_account(home, listener.getsockname()[1], host='"localhost"', security='"tls"', ca_file=f'"{file}"')
        run = home.run("send", "kund@example.com", "--body", "x", "--json")
    assert run.json["error"]["code"] == "tls.hostname-mismatch"

"""11: what made smtpsetup slow, or wrong, when somebody meant it to be.

Pages without end, pipes without writers, numbers without bounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Log
from smtpsetup.message.html_to_text import text_of
from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.sending import rescue
from smtpsetup.state import mail_log
from tests.faults.test_outbox_trouble import own_mount
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, plain_account, state_dir
from tests.sendmail import sendmail
from tests.servers import closed_port

if TYPE_CHECKING:
    from tests.conftest import Home

MESSAGE = "To: asa@example.com\nSubject: x\n\nx\n"

PAGES = {
    "unclosed tags": "<a ",
    "less than": "<",
    "end tags": "</a",
    "comments": "<!--",
    "declarations": "<!x",
    "instructions": "<?x",
    "scripts": "<script>",
    "quotes": '<a b="',
    "apostrophes": "<a '",
    "ampersands": "&",
    "attributes": "<a " + "href " * 5,
    "nested": "<b><i>",
    "blanks": "<p> ",
}


@pytest.mark.matrix
@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", PAGES.values(), ids=PAGES)
def test_hostile_html_takes_linear_time(piece: str) -> None:
    """What needs time by the square of the length would take hours for ten times the page that took forty seconds."""
    text_of(piece * (2_000_000 // len(piece)))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Hej &amp; h&aring;<p>då", "Hej & hå\n\ndå\n"),
        ('<a href="https://x.se/?a=1&amp;b=2" title="a > b">länk</a>', "länk <https://x.se/?a=1&b=2>\n"),
        ("<a data-href='https://evil.example/' href=https://x.se/>l</a>", "l <https://x.se/>\n"),
        ("<ul><li>ett<li>två</ul>", "- ett\n- två\n"),
        ("1 < 2 <3", "1 < 2 <3\n"),
        ("<script>if (a < b) { '</p>' }</script>x<style>p{}</style>", "x\n"),
        ("<!-- <p>no</p> -->yes<!DOCTYPE html>", "yes\n"),
        ("a<br/>b<BR>c", "a\nb\nc\n"),
        ("&#" + "9" * 5000 + ";x&#x41;", "\ufffdxA\n"),
    ],
)
def test_the_text_of_a_page_is_what_it_shows(page: str, text: str) -> None:
    assert text_of(page) == text


@pytest.mark.matrix
@pytest.mark.parametrize("option", ["--attach", "--body-file", "--html", "--batch", "--merge"])
def test_a_named_pipe_without_a_writer_is_an_error(home: Home, option: str) -> None:
    plain_account(home, 1)
    os.mkfifo(home.path / "pipe")
    to = () if option in ("--batch", "--merge") else ("kund@example.com",)
    run = home.run("send", *to, option, "pipe")
    assert run.code == 66
    assert "it is a named pipe, and no program writes to it" in " ".join(run.err.split())


def test_an_aliases_file_that_is_a_pipe_without_a_writer_is_an_error(home: Home) -> None:
    plain_account(home, 1)
    os.mkfifo(home.path / "pipe")
    home.config.write_text(f'aliases_file = "{home.path}/pipe"\n' + home.config.read_text())
    done = sendmail(home, "root", stdin=MESSAGE)
    assert done.code == 78
    assert "it is a named pipe, and no program writes to it" in " ".join(done.err.split())


@pytest.mark.matrix
@pytest.mark.parametrize("command", ["printf text", "sleep 1.5; printf text", "printf t; sleep 1.5; printf ext"])
def test_a_pipe_with_a_slow_writer_is_waited_for(home: Home, command: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        script = f'exec "$0" -m smtpsetup send kund@example.com --body-file <({command})'
        subprocess.run(["bash", "-c", script, sys.executable], env=home.env, check=True, timeout=60)
    assert server.mails[0].body == b"text\r\n"


@pytest.mark.parametrize(
    "value", ["9" * 4301, "1979-05-27T07:32:00+24:00", "2020-01-01T00:00:00-24:00", "0x" + "f" * 4301]
)
@pytest.mark.parametrize("file", ["config.toml", "providers.toml"])
def test_out_of_range_numbers_and_times_are_a_configuration_error(home: Home, value: str, file: str) -> None:
    home.file(f".config/smtpsetup/{file}", f"number = {value}\n")
    run = home.run("accounts", "list") if file == "config.toml" else home.run("identify", "namn@live.se", "--offline")
    assert run.code in (78, 0) if value.startswith("0x") else run.code == 78
    assert "internal.bug" not in run.err


@pytest.mark.parametrize("is_offered", [True, False])
def test_auth_login_is_tried_once_after_504_to_auth_plain(home: Home, is_offered: bool) -> None:  # noqa: FBT001  a parameter
    offers = ("AUTH LOGIN PLAIN",) if is_offered else ()

    def answer(turn: Turn) -> bytes | None:
        if turn.line.startswith("AUTH PLAIN"):
            return b"504 5.5.4 Unrecognized authentication type\r\n"
        if turn.line == "AUTH LOGIN":
            return b"334 VXNlcm5hbWU6\r\n"
        return {"aW5mb0BleGFtcGxlLmNvbQ==": b"334 UGFzc3dvcmQ6\r\n", "aGVtbGlndA==": b"235 2.7.0 in\r\n"}.get(turn.line)

    password = home.file("password", "hemligt\n")
    with MailServer(answer, offers=offers) as server:
        secret = f'{{ store = "file", path = "{password}" }}'
        plain_account(home, server.port, auth='"password"', username='"info@example.com"', secret=secret)
        run = home.run("send", "kund@example.com", "--body", "x", "--queue", "never")
    assert (run.code == 0) == is_offered
    assert [line.split(" ")[1] for line in server.lines if line.startswith("AUTH")] == (
        ["PLAIN", "LOGIN"] if is_offered else ["PLAIN"]
    )


def test_log_rotation_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many processes write while it is moved away again and again.

    Each line is in one of the files that there ever were.
    """
    directory = tmp_path / "state"
    monkeypatch.setattr(mail_log, "_LARGEST", 3000)
    found: set[str] = set()
    replaced = os.replace

    def replace(source: str, target: str) -> None:
        if os.path.exists(target):
            found.update(Path(target).read_text().splitlines())
        replaced(source, target)

    monkeypatch.setattr(os, "replace", replace)

    def write(number: int) -> None:
        for line in range(100):
            mail_log.append_line(Log.FILE, str(directory), {"line": f"{number}-{line}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for name in ("mail.log", "mail.log.1"):
        found.update((directory / name).read_text().splitlines())
    assert len({line.split("line=")[1] for line in found}) == 800


def test_an_outbox_on_a_read_only_disk_is_listed(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        for number in range(3):
            assert home.run("send", "kund@example.com", "-s", str(number), "--body", "x").code == 0
    state = home.path / "state"
    mounted = own_mount(home, state, "size=9m")
    copy = f'cp -a {state_dir(home)}/. {state}/ && mount -o remount,ro {state} && exec "$@"'
    mounted = type(home)(home.path, home.env, prefix=(*mounted.prefix, "sh", "-c", copy, "sh"))
    before = home.run("outbox", "list", "--json").json["result"]
    listed = mounted.run("outbox", "list", "--json", SMTPSETUP_STATE_DIR=str(state))
    assert (listed.code, listed.json["result"]) == (0, before)
    shown = mounted.run("outbox", "show", "2", SMTPSETUP_STATE_DIR=str(state))
    assert (shown.code, "Subject: 1" in shown.out) == (0, True)
    assert mounted.run("outbox", "flush", SMTPSETUP_STATE_DIR=str(state)).code == 74


def test_a_missing_outbox_on_a_read_only_disk_is_an_empty_list(home: Home) -> None:
    state = home.path / "state"
    listed = own_mount(home, state, "ro").run("outbox", "list", "--json", SMTPSETUP_STATE_DIR=str(state))
    assert (listed.code, listed.json["result"]) == (0, [])


def test_a_mail_is_saved_in_var_tmp_and_never_in_the_root_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("SMTPSETUP_STATE_DIR", "/nowhere/state")
    monkeypatch.delenv("TMPDIR", raising=False)
    before = set(os.listdir("/"))
    path = rescue.saved(from_bytes(b"Subject: x\r\n\r\nx\r\n"), Envelope("", ("a@example.com",)))
    assert path
    Path(path).unlink()
    assert path.startswith("/var/tmp/")
    assert set(os.listdir("/")) == before

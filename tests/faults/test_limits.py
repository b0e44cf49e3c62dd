"""Input that was made to be slow is read in linear time, and a pipe without a writer is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.failure import Kind, WireError
from smtpsetup.message.html_to_text import text_of
from smtpsetup.net.dial import Deadline
from smtpsetup.smtp.wire import Wire
from tests.faults.outboxes import rescue_file
from tests.faults.processes import MESSAGE, own_mount
from tests.fuzz.targets import connection
from tests.recording import RecordingServer, plain_account
from tests.sendmail import sendmail

if TYPE_CHECKING:
    from tests.conftest import Home


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


@pytest.mark.timeout(60)  # under coverage on a busy machine; quadratic time would take hours
@pytest.mark.parametrize("piece", PAGES.values(), ids=PAGES)
def test_hostile_html_takes_linear_time(piece: str) -> None:
    """Quadratic time would show: a tenth of this took forty seconds once."""
    text_of(piece * (2_000_000 // len(piece)))


@pytest.mark.timeout(20)
def test_an_endless_tag_name_takes_linear_time() -> None:
    text_of("<" + "a" * 1_000_000)


@pytest.mark.timeout(60)
def test_html_that_is_almost_a_path_takes_linear_time(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        row = '{"to": "a@example.com", "html": "' + "/" * 100_000 + '!"}\n'
        assert home.run("send", "--batch", "-", stdin=row).code == 0
    assert len(server.mails) == 1


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


@pytest.mark.parametrize("command", ["printf text", "sleep 1.5; printf text", "printf t; sleep 1.5; printf ext"])
def test_a_pipe_with_a_slow_writer_is_waited_for(home: Home, command: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        script = f'exec "$0" -m smtpsetup send kund@example.com --body-file <({command})'
        subprocess.run(["bash", "-c", script, sys.executable], env=home.env, check=True, timeout=60)
    assert server.mails[0].body == b"text\r\n"


LONG = b"x" * 3_000_000


@pytest.mark.parametrize("head", [b"", b"Subject: x\n\n"], ids=["no header", "header"])
def test_a_body_line_of_three_megabytes_is_sent(home: Home, head: bytes) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert sendmail(home, "asa@example.com", stdin=head + LONG + b"\n").code == 0
    (arrival,) = server.mails
    assert len(arrival.content) >= 3_000_000


@pytest.mark.parametrize("head", [b"X-Long: ", b"X-Long: x\n ", b"To: bo@example.com\nX-Long: "])
def test_a_header_field_of_three_megabytes_is_refused_and_the_mail_saved(home: Home, head: bytes) -> None:
    plain_account(home, 1)
    done = sendmail(home, "asa@example.com", stdin=head + LONG + b"\n\nText.\n")
    assert done.code == 65
    saved = rescue_file(home)
    assert str(saved) in done.err
    content = saved.read_bytes()
    assert LONG in content
    assert content.endswith(b"Text.\r\n")
    assert b"\r\n\r\n" not in content.partition(LONG)[0]


def test_a_small_tmpdir_loses_no_mail(home: Home) -> None:
    small = home.path / "small"
    with RecordingServer() as server:
        plain_account(home, server.port)
        done = sendmail(
            own_mount(home.unmeasured, small, "size=64k"), "-t", stdin=MESSAGE + "line\n" * 1_000_000, TMPDIR=str(small)
        )
    assert done.code == 0, done.err
    assert server.mails[0].body.count(b"line\r\n") == 1_000_000


@pytest.mark.parametrize("end", [b"\r\n", b""], ids=["whole", "endless"])
def test_a_line_of_a_reply_beyond_the_limit_is_refused_however_it_arrives(end: bytes) -> None:
    with connection(b"250 " + b"x" * 8186 + b"\r\n250 " + b"x" * 8189 + end) as sock:
        wire = Wire(sock, Deadline(5), None)
        assert len(wire.reply().lines[0]) == 8186
        with pytest.raises(WireError) as caught:
            wire.reply()
    assert (caught.value.kind, caught.value.detail) == (Kind.PROTOCOL_ERROR, "line too long")

"""Rows of a batch and cells of a merge table read no file beyond --root and add no recipient."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.mail_server import MailServer
from tests.recording import RecordingServer, plain_account

if TYPE_CHECKING:
    from tests.conftest import Home, Run
    from tests.mail_server import Turn


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


SWAPS = ["link", "directory"]


def swap_during_the_first_mail(home: Home, how: str) -> MailServer:
    """A server that makes `inside/up/bill.txt` lead to a file outside while it takes its first mail."""
    home.file("outside/bill.txt", "the secret")
    home.file("inside/up/bill.txt", "the bill ")  # of the same size

    def answer(turn: Turn) -> None:
        if turn.line.startswith("MAIL") and not (home.path / "gone").exists():
            shutil.move(home.path / "inside" / "up", home.path / "gone")
            if how == "directory":
                (home.path / "inside" / "up").symlink_to(home.path / "outside")
            else:
                (home.path / "inside" / "up").mkdir()
                (home.path / "inside" / "up" / "bill.txt").symlink_to(home.path / "outside" / "bill.txt")

    return MailServer(answer, offers=())


@pytest.mark.parametrize("how", SWAPS)
def test_a_file_that_becomes_a_link_to_one_outside_is_not_sent(home: Home, how: str) -> None:
    with swap_during_the_first_mail(home, how) as server:
        plain_account(home, server.port)
        run = batch(home, {"body": "1"}, {"attach": "inside/up/bill.txt"}, options=("--root", "inside"))
        assert [b"secret" in mail.content or b"c2VjcmV0" in mail.content for mail in server.mails] == [False]
    assert run.code == 66
    assert "outside" in run.err


@pytest.mark.parametrize("how", SWAPS)
def test_a_file_of_a_table_that_becomes_a_link_to_one_outside_is_not_sent(home: Home, how: str) -> None:
    table = home.file("kunder.csv", "email;file\nkund@example.com;bill.txt\nandra@example.com;bill.txt\n")
    with swap_during_the_first_mail(home, how) as server:
        plain_account(home, server.port)
        run = home.run("send", "--merge", str(table), "--body", "x", "-s", "x", "--attach", "inside/up/$file")
        assert server.mails == []  # the first one was being sent at that moment
    assert run.code == 66


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


def test_a_comma_in_a_column_name_does_not_separate_recipients(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        table = home.file("kunder.csv", 'to;"last, first"\na@example.com;Öberg\n')
        run = home.run("send", "--merge", str(table), "--body", "x", "--to", "${last, first} <$to>")
    assert (run.code, len(server.mails)) == (0, 1), run.err

"""send --merge: a mail for each row of a table, as office programs write tables.

Nothing in a cell breaks out of its place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.scripts import password_account
from tests.mail_server import MailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home, Run

TABLE = "e-post;namn;belopp\nasa@example.com;Åsa;100\nbo@example.com;Bo;200\n"


@pytest.fixture
def server(home: Home) -> Iterator[MailServer]:
    """A server that the home's account sends through."""
    with MailServer(lambda turn: b"550 5.1.1 unknown\r\n" if "gone@" in turn.line else None) as running:
        password_account(home, running.port)
        yield running


def merge(home: Home, table: str | bytes, *options: str, body: str = "Hej $namn", json_too: bool = True) -> Run:
    home.file("tabell.csv", table)
    return home.run("send", "--merge", "tabell.csv", "--body", body, *options, *(["--json"] if json_too else []))


def error(done: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out.splitlines()[-1])["error"]
    return found


def texts(server: MailServer) -> list[str]:
    """The text of each mail as it is read."""
    import email
    import email.policy

    parsed = (email.message_from_bytes(caught.content, policy=email.policy.default) for caught in server.mails)
    return [
        part.get_content().replace("\r\n", "\n").strip() for message in parsed if (part := message.get_body(("plain",)))
    ]


# tables


@pytest.mark.matrix
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"], ids=["semicolon", "comma", "tab", "bar"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_encoding_and_delimiter_are_found_out(
    home: Home, server: MailServer, encoding: str, delimiter: str, newline: str
) -> None:
    done = merge(home, TABLE.replace(";", delimiter).replace("\n", newline).encode(encoding))
    assert done.code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]
    assert [caught.recipients for caught in server.mails] == [("asa@example.com",), ("bo@example.com",)]


@pytest.mark.parametrize("delimiter", [";", ","])
def test_empty_lines_are_no_rows_wherever_they_stand(home: Home, server: MailServer, delimiter: str) -> None:
    table = "\n\n" + TABLE.replace("\nbo", "\n\n;;\nbo") + "\n\n"
    assert merge(home, table.replace(";", delimiter)).code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]


def test_line_ends_of_old_machines_are_line_ends(home: Home, server: MailServer) -> None:
    assert merge(home, TABLE.replace("\n", "\r")).code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]


def test_a_quoted_cell_may_hold_delimiters_line_breaks_and_quotes(home: Home, server: MailServer) -> None:
    table = 'e-post;namn\nasa@example.com;"Åsa ""A"";\nÖberg"\nbo@example.com;"Bo\n'
    done = merge(home, table)
    assert done.code == 65
    assert "CSV" in error(done)["message"]
    assert merge(home, table.replace('"Bo', "Bo")).code == 0
    assert texts(server) == ['Hej Åsa "A";\nÖberg', "Hej Bo"]


def test_a_row_is_known_by_the_line_it_begins_on(home: Home, server: MailServer) -> None:
    table = 'e-post;namn\n\nasa@example.com;"Åsa\nÖberg"\n\nno address;Bo\n'
    assert error(merge(home, table))["message"].startswith("Line 6:")
    done = merge(home, table.replace("no address", "bo@example.com"))
    assert [json.loads(line)["line"] for line in done.out.splitlines()[:-1]] == [3, 6]


@pytest.mark.parametrize("row", ["bo@example.com;Bo", "bo@example.com;Bo;1;2", "bo@example.com"])
def test_a_row_with_other_columns_than_the_first_is_told_by_its_line(home: Home, server: MailServer, row: str) -> None:
    done = merge(home, TABLE + row + "\n")
    assert (done.code, server.connections) == (65, 0)
    assert error(done)["message"].startswith("Line 4:")


def test_a_column_that_is_there_twice_is_told_with_the_line_of_the_names(home: Home, server: MailServer) -> None:
    done = merge(home, "\n\ne-post;namn;namn\na@example.com;A;B\n")
    assert (done.code, server.connections) == (65, 0)
    assert error(done)["message"].startswith("Line 3:")
    assert "namn" in error(done)["message"]


@pytest.mark.parametrize("table", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_table_is_bad_data(home: Home, server: MailServer, table: bytes) -> None:
    done = merge(home, table)
    assert (done.code, server.connections) == (65, 0)


def test_a_table_without_rows_sends_nothing(home: Home, server: MailServer) -> None:
    done = merge(home, "e-post;namn\n")
    assert (done.code, server.connections) == (0, 0)


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\r\x01", b'a;"' + b"x" * 200_000, bytes(range(256)) * 20, b"x" * 200_000],
)
def test_what_is_no_table_is_bad_data_and_no_bug(home: Home, server: MailServer, content: bytes) -> None:
    done = merge(home, content)
    assert (done.code, error(done)["code"]) == (65, "config.invalid")


def test_bytes_that_are_no_text_are_not_guessed_at(home: Home, server: MailServer) -> None:
    """It says that it is UTF-8, and is not: somebody would get a letter to Bj?rn."""
    done = merge(home, b"\xef\xbb\xbfe-post;namn\nb@example.com;Bj\xf6rn\n")
    assert server.connections == 0
    assert done.code == 65


# placeholders


def test_columns_of_any_name_are_filled_in(home: Home, server: MailServer) -> None:
    done = merge(
        home,
        TABLE,
        "-s",
        "Belopp: $$$belopp",
        "--to",
        "$namn <${e-post}>",
        "-H",
        "X-Namn: $namn",
        body="${namn}s kostnad är $belopp kr",
    )
    assert done.code == 0
    assert texts(server) == ["Åsas kostnad är 100 kr", "Bos kostnad är 200 kr"]
    assert server.subjects == ["Belopp: $100", "Belopp: $200"]
    assert b"X-Namn: Bo\r\n" in server.mails[1].content


@pytest.mark.parametrize("place", ["-s", "--to", "--cc", "--reply-to", "--from", "--attach", "-H"])
def test_a_column_that_is_not_there_is_told_before_anything_is_sent(home: Home, server: MailServer, place: str) -> None:
    done = merge(home, TABLE, place, "X: $förnamn")
    assert (done.code, server.connections) == (65, 0)
    assert "förnamn" in error(done)["message"]
    assert "belopp" in str(error(done)["hints"])


def test_a_dollar_sign_without_a_column_is_told(home: Home, server: MailServer) -> None:
    done = merge(home, TABLE, body="Det kostar $5")
    assert (done.code, server.connections) == (65, 0)
    assert "$$" in str(error(done)["hints"])


def test_where_no_column_is_for_addresses_it_asks_for_one(home: Home, server: MailServer) -> None:
    done = merge(home, "kund;namn\na@example.com;A\n")
    assert (done.code, server.connections) == (65, 0)
    assert "--to" in str(error(done)["hints"])


def test_cells_are_text_in_html_and_in_nothing_else(home: Home, server: MailServer) -> None:
    home.file("brev.html", "<p>Hej $namn</p>")
    assert merge(home, 'e-post;namn\na@example.com;"<b>A & ""B""</b>"\n', "--html", "brev.html").code == 0
    content = server.mails[0].content
    assert b"<p>Hej &lt;b&gt;A &amp; &quot;B&quot;&lt;/b&gt;</p>" in content
    assert b'Hej <b>A & "B"</b>' in content


def test_a_cell_is_not_filled_in_once_more(home: Home, server: MailServer) -> None:
    assert merge(home, "e-post;namn;hemligt\na@example.com;$hemligt ${hemligt};x\n").code == 0
    assert texts(server) == ["Hej $hemligt ${hemligt}"]


@pytest.mark.parametrize("place", ["-s", "--to", "-H"])
def test_a_line_break_in_a_cell_adds_no_header(home: Home, server: MailServer, place: str) -> None:
    template = {"-s": "Hej $namn", "--to": "$namn <${e-post}>", "-H": "X-Namn: $namn"}[place]
    done = merge(home, 'e-post;namn\nb@example.com;Bo\na@example.com;"A\nBcc: evil@example.com"\n', place, template)
    assert (done.code, server.connections) == (65, 0)
    assert error(done)["message"].startswith("Line 3:")


def test_a_cell_beside_an_address_adds_no_recipient(home: Home, server: MailServer) -> None:
    """The name is a customer's own words; only the column of addresses says who gets the mail."""
    merge(home, 'e-post;namn\na@example.com;"evil@example.com, Bo"\n', "--to", "$namn <${e-post}>")
    assert all(caught.recipients == ("a@example.com",) for caught in server.mails)


def test_a_name_with_a_comma_is_one_name(home: Home, server: MailServer) -> None:
    assert merge(home, 'e-post;namn\na@example.com;"Öberg, Åsa"\n', "--to", "$namn <${e-post}>").code == 0
    assert server.mails[0].recipients == ("a@example.com",)


# attachments


def test_each_gets_its_own_file(home: Home, server: MailServer) -> None:
    for number in (100, 200):
        home.file(f"fakturor/{number}.txt", f"faktura {number}")
    assert merge(home, TABLE, "--attach", "fakturor/$belopp.txt").code == 0
    assert [b'filename="100.txt"' in caught.content for caught in server.mails] == [True, False]


@pytest.mark.parametrize("cell", ["../password", "/etc/passwd", "x/../../password", "link", "~/password", "a\0b"])
def test_a_cell_leads_to_no_file_outside_the_directory(home: Home, server: MailServer, cell: str) -> None:
    home.file("fakturor/x/y", "x")
    (home.path / "fakturor" / "link").symlink_to(home.path / "password")
    done = merge(home, f"e-post;namn;fil\nbo@example.com;Bo;x/y\na@example.com;A;{cell}\n", "--attach", "fakturor/$fil")
    assert server.connections == 0
    assert done.code in (65, 66)
    assert error(done)["message"].startswith("Line 3:")


def test_a_missing_file_is_66_with_its_line(home: Home, server: MailServer) -> None:
    home.file("fakturor/100.txt", "x")
    done = merge(home, TABLE, "--attach", "fakturor/$belopp.txt")
    assert (done.code, server.connections) == (66, 0)
    assert error(done)["message"].startswith("Line 3:")
    assert "200.txt" in error(done)["message"]


# again, and beside other options


def test_other_texts_to_the_same_people_are_other_mails(home: Home, server: MailServer) -> None:
    """One address that does not work any more must not keep next month's letter from all the others."""
    table = TABLE + "gone@example.com;G;1\n"
    assert merge(home, table, "-s", "November", body="Novemberbrev").code == 67
    assert merge(home, table, "-s", "December", body="Decemberbrev").code == 67
    assert sorted(server.subjects) == ["December", "December", "November", "November"]


def test_after_a_failure_the_same_command_sends_what_is_missing(home: Home, server: MailServer) -> None:
    table = TABLE + "gone@example.com;G;1\n"
    assert merge(home, table, "-s", "Hej").code == 67
    assert merge(home, table.replace("gone", "found"), "-s", "Hej").code == 0
    assert [caught.recipients[0] for caught in server.mails] == [
        "asa@example.com",
        "bo@example.com",
        "found@example.com",
    ]


def test_a_dry_run_shows_the_first_and_sends_nothing(home: Home, server: MailServer) -> None:
    done = merge(home, TABLE, "--dry-run", "-s", "Hej $namn", json_too=False)
    assert (done.code, server.connections) == (0, 0)
    assert "asa@example.com" in done.out
    assert "2" in done.err


def test_nothing_in_a_table_reaches_the_terminal_as_it_is(home: Home, server: MailServer) -> None:
    for table in ("e-post;\x1b[31mx;\x1b[31mx\na@example.com;A;B\n", "e-post;namn\n\x1b]0;x\x07;A\n"):
        assert merge(home, table, json_too=False).err.replace("\n", "").isprintable()
    done = merge(home, "e-post;namn;fil\na@example.com;A;../\x1b[31mx\n", "--attach", "x/$fil", json_too=False)
    assert done.err.replace("\n", "").isprintable()


def test_the_table_may_come_on_standard_input(home: Home, server: MailServer) -> None:
    done = home.run("send", "--merge", "-", "--body", "Hej $namn", stdin=TABLE)
    assert (done.code, texts(server)) == (0, ["Hej Åsa", "Hej Bo"])

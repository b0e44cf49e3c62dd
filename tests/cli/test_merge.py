"""send --merge: a mail for each row of a table, as office programs write tables; no cell can leave its field."""

from __future__ import annotations

import email
import email.policy
from typing import TYPE_CHECKING, Any

import pytest

from tests.mail_server import MailServer
from tests.recording import password_account

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


def merge(home: Home, table: str | bytes, *options: str, body: str = "Hej $namn", as_json: bool = True) -> Run:
    home.file("tabell.csv", table)
    return home.run("send", "--merge", "tabell.csv", "--body", body, *options, *(["--json"] if as_json else []))


def error(done: Run) -> dict[str, Any]:
    found: dict[str, Any] = done.lines[-1]["error"]
    return found


def texts(server: MailServer) -> list[str]:
    """The decoded text of each mail."""
    parsed = (email.message_from_bytes(caught.content, policy=email.policy.default) for caught in server.mails)
    return [
        part.get_content().replace("\r\n", "\n").strip() for message in parsed if (part := message.get_body(("plain",)))
    ]


# tables


@pytest.mark.matrix
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"], ids=["semicolon", "comma", "tab", "bar"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_encoding_and_delimiter_are_detected(
    home: Home, server: MailServer, encoding: str, delimiter: str, newline: str
) -> None:
    done = merge(home, TABLE.replace(";", delimiter).replace("\n", newline).encode(encoding))
    assert done.code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]
    assert [caught.recipients for caught in server.mails] == [("asa@example.com",), ("bo@example.com",)]


@pytest.mark.parametrize("delimiter", [";", ","])
def test_empty_lines_are_skipped(home: Home, server: MailServer, delimiter: str) -> None:
    table = "\n\n" + TABLE.replace("\nbo", "\n\n;;\nbo") + "\n\n"
    assert merge(home, table.replace(";", delimiter)).code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]


def test_cr_is_a_line_end(home: Home, server: MailServer) -> None:
    assert merge(home, TABLE.replace("\n", "\r")).code == 0
    assert texts(server) == ["Hej Åsa", "Hej Bo"]


def test_a_quoted_cell_may_hold_delimiters_line_breaks_and_quotes(home: Home, server: MailServer) -> None:
    table = 'e-post;namn\nasa@example.com;"Åsa ""A"";\nÖberg"\nbo@example.com;"Bo\n'
    done = merge(home, table)
    assert done.code == 65
    assert "CSV" in error(done)["message"]
    assert merge(home, table.replace('"Bo', "Bo")).code == 0
    assert texts(server) == ['Hej Åsa "A";\nÖberg', "Hej Bo"]


def test_a_row_is_reported_by_its_first_line(home: Home, server: MailServer) -> None:
    table = 'e-post;namn\n\nasa@example.com;"Åsa\nÖberg"\n\nno address;Bo\n'
    assert error(merge(home, table))["message"].startswith("Line 6:")
    done = merge(home, table.replace("no address", "bo@example.com"))
    assert [view["line"] for view in done.lines[:-1]] == [3, 6]


@pytest.mark.parametrize("row", ["bo@example.com;Bo", "bo@example.com;Bo;1;2", "bo@example.com"])
def test_a_row_with_a_wrong_number_of_cells_is_reported_by_its_line(home: Home, server: MailServer, row: str) -> None:
    done = merge(home, TABLE + row + "\n")
    assert (done.code, server.connections) == (65, 0)
    assert error(done)["message"].startswith("Line 4:")


def test_a_repeated_column_name_is_reported_with_its_line(home: Home, server: MailServer) -> None:
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
def test_a_file_that_is_no_table_is_bad_data_and_no_internal_error(
    home: Home, server: MailServer, content: bytes
) -> None:
    done = merge(home, content)
    assert (done.code, error(done)["code"]) == (65, "config.invalid")


def test_a_table_that_is_not_the_utf8_it_claims_to_be_is_refused(home: Home, server: MailServer) -> None:
    """Its byte order mark says UTF-8; decoded as another encoding, names would be wrong."""
    done = merge(home, b"\xef\xbb\xbfe-post;namn\nb@example.com;Bj\xf6rn\n")
    assert server.connections == 0
    assert done.code == 65


# placeholders


def test_columns_of_any_name_are_filled_in(home: Home, server: MailServer) -> None:
    options = ("-s", "Belopp: $$$belopp", "--to", "$namn <${e-post}>", "-H", "X-Namn: $namn")
    done = merge(home, TABLE, *options, body="${namn}s kostnad är $belopp kr")
    assert done.code == 0
    assert texts(server) == ["Åsas kostnad är 100 kr", "Bos kostnad är 200 kr"]
    assert server.subjects == ["Belopp: $100", "Belopp: $200"]
    assert b"X-Namn: Bo\r\n" in server.mails[1].content


@pytest.mark.parametrize("place", ["-s", "--to", "--cc", "--reply-to", "--from", "--attach", "-H"])
def test_a_missing_column_is_reported_before_anything_is_sent(home: Home, server: MailServer, place: str) -> None:
    done = merge(home, TABLE, place, "X: $förnamn")
    assert (done.code, server.connections) == (65, 0)
    assert "förnamn" in error(done)["message"]
    assert "belopp" in str(error(done)["hints"])


def test_a_dollar_sign_without_a_column_is_an_error(home: Home, server: MailServer) -> None:
    done = merge(home, TABLE, body="Det kostar $5")
    assert (done.code, server.connections) == (65, 0)
    assert "$$" in str(error(done)["hints"])


def test_without_an_address_column_the_hint_is_to(home: Home, server: MailServer) -> None:
    done = merge(home, "kund;namn\na@example.com;A\n")
    assert (done.code, server.connections) == (65, 0)
    assert "--to" in str(error(done)["hints"])


def test_cells_are_escaped_in_html_only(home: Home, server: MailServer) -> None:
    home.file("brev.html", "<p>Hej $namn</p>")
    assert merge(home, 'e-post;namn\na@example.com;"<b>A & ""B""</b>"\n', "--html", "brev.html").code == 0
    content = server.mails[0].content
    assert b"<p>Hej &lt;b&gt;A &amp; &quot;B&quot;&lt;/b&gt;</p>" in content
    assert b'Hej <b>A & "B"</b>' in content


def test_placeholders_in_a_cell_are_not_expanded(home: Home, server: MailServer) -> None:
    assert merge(home, "e-post;namn;hemligt\na@example.com;$hemligt ${hemligt};x\n").code == 0
    assert texts(server) == ["Hej $hemligt ${hemligt}"]


@pytest.mark.parametrize("place", ["-s", "--to", "-H"])
def test_a_line_break_in_a_cell_adds_no_header(home: Home, server: MailServer, place: str) -> None:
    template = {"-s": "Hej $namn", "--to": "$namn <${e-post}>", "-H": "X-Namn: $namn"}[place]
    done = merge(home, 'e-post;namn\nb@example.com;Bo\na@example.com;"A\nBcc: evil@example.com"\n', place, template)
    assert (done.code, server.connections) == (65, 0)
    assert error(done)["message"].startswith("Line 3:")


def test_a_cell_in_a_display_name_adds_no_recipient(home: Home, server: MailServer) -> None:
    """Names come from customers; only the address column may name recipients."""
    merge(home, 'e-post;namn\na@example.com;"evil@example.com, Bo"\n', "--to", "$namn <${e-post}>")
    assert all(caught.recipients == ("a@example.com",) for caught in server.mails)


def test_a_name_with_a_comma_is_one_name(home: Home, server: MailServer) -> None:
    assert merge(home, 'e-post;namn\na@example.com;"Öberg, Åsa"\n', "--to", "$namn <${e-post}>").code == 0
    assert server.mails[0].recipients == ("a@example.com",)


@pytest.mark.parametrize("separator", [",", ";", ", Bo <"])
@pytest.mark.parametrize("template", ["${e-post}", "$namn <${e-post}>", "Kund <${e-post}>"])
def test_a_cell_is_one_address_however_several_are_written(
    home: Home, server: MailServer, separator: str, template: str
) -> None:
    cell = f"a@example.com{separator}evil@example.com{'>' if '<' in separator and '<' not in template else ''}"
    done = merge(home, f'e-post;namn\n"{cell}";A\n', "--to", template)
    assert (done.code, server.mails) == (65, [])


# attachments


def test_each_recipient_gets_its_own_attachment(home: Home, server: MailServer) -> None:
    for number in (100, 200):
        home.file(f"fakturor/{number}.txt", f"faktura {number}")
    assert merge(home, TABLE, "--attach", "fakturor/$belopp.txt").code == 0
    assert [b'filename="100.txt"' in caught.content for caught in server.mails] == [True, False]


@pytest.mark.parametrize("cell", ["../password", "/etc/passwd", "x/../../password", "link", "~/password", "a\0b"])
def test_a_cell_cannot_attach_a_file_outside_the_directory(home: Home, server: MailServer, cell: str) -> None:
    home.file("fakturor/x/y", "x")
    (home.path / "fakturor" / "link").symlink_to(home.path / "password")
    done = merge(home, f"e-post;namn;fil\nbo@example.com;Bo;x/y\na@example.com;A;{cell}\n", "--attach", "fakturor/$fil")
    assert server.connections == 0
    assert done.code in (65, 66)
    assert error(done)["message"].startswith("Line 3:")


def test_a_missing_attachment_is_exit_66_with_its_line(home: Home, server: MailServer) -> None:
    home.file("fakturor/100.txt", "x")
    done = merge(home, TABLE, "--attach", "fakturor/$belopp.txt")
    assert (done.code, server.connections) == (66, 0)
    assert error(done)["message"].startswith("Line 3:")
    assert "200.txt" in error(done)["message"]


# runs again, and other options


def test_another_text_to_the_same_recipients_is_another_mail(home: Home, server: MailServer) -> None:
    """One dead address in a merge must not block the next month's letter to all the others."""
    table = TABLE + "gone@example.com;G;1\n"
    assert merge(home, table, "-s", "November", body="Novemberbrev").code == 67
    assert merge(home, table, "-s", "December", body="Decemberbrev").code == 67
    assert sorted(server.subjects) == ["December", "December", "November", "November"]


def test_a_merge_run_again_sends_only_what_was_not_sent(home: Home, server: MailServer) -> None:
    table = TABLE + "gone@example.com;G;1\n"
    assert merge(home, table, "-s", "Hej").code == 67
    assert merge(home, table.replace("gone", "found"), "-s", "Hej").code == 0
    assert [caught.recipients[0] for caught in server.mails] == [
        "asa@example.com",
        "bo@example.com",
        "found@example.com",
    ]


def test_a_dry_run_shows_the_first_and_sends_nothing(home: Home, server: MailServer) -> None:
    done = merge(home, TABLE, "--dry-run", "-s", "Hej $namn", as_json=False)
    assert (done.code, server.connections) == (0, 0)
    assert "asa@example.com" in done.out
    assert "2" in done.err


def test_control_characters_in_a_table_are_escaped_for_the_terminal(home: Home, server: MailServer) -> None:
    for table in ("e-post;\x1b[31mx;\x1b[31mx\na@example.com;A;B\n", "e-post;namn\n\x1b]0;x\x07;A\n"):
        assert merge(home, table, as_json=False).err.replace("\n", "").isprintable()
    done = merge(home, "e-post;namn;fil\na@example.com;A;../\x1b[31mx\n", "--attach", "x/$fil", as_json=False)
    assert done.err.replace("\n", "").isprintable()


def test_the_table_may_come_on_standard_input(home: Home, server: MailServer) -> None:
    done = home.run("send", "--merge", "-", "--body", "Hej $namn", stdin=TABLE)
    assert (done.code, texts(server)) == (0, ["Hej Åsa", "Hej Bo"])

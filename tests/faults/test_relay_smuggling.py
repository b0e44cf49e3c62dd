"""Attempts to make one message two, or a field one more: on the way into the relay, and on the way out of it."""

from __future__ import annotations

from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

from tests.faults.relays import Recorder, bare_line_ends, new_home
from tests.recording import plain_account
from tests.relay import add_client, running_relay
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.relay import Client, Relay

SECOND = b"MAIL FROM:<evil@example.net>%bRCPT TO:<victim@example.net>%bDATA%bSubject: evil%b%bevil"
ENDS = {
    "LF dot LF": b"\n.\n",
    "CRLF dot LF": b"\r\n.\n",
    "LF dot CRLF": b"\n.\r\n",
    "CR dot CR": b"\r.\r",
    "CRLF dot CR": b"\r\n.\r",
    "CR dot CRLF": b"\r.\r\n",
    "LF dot CR": b"\n.\r",
    "CR CRLF dot CR CRLF": b"\r\r\n.\r\r\n",
    "CRLF NUL dot CRLF": b"\r\n\0.\r\n",
    "CRLF dot NUL CRLF": b"\r\n.\0\r\n",
    "CRLF blank dot CRLF": b"\r\n .\r\n",
    "CRLF dot blank CRLF": b"\r\n. \r\n",
    "CRLF two dots CRLF": b"\r\n..\r\n",
    "NEL dot NEL": "\x85.\x85".encode(),
    "C1 dot C1": b"\x85.\x85",
    "line separators": "\u2028.\u2028".encode(),
    "vertical tabs": b"\x0b.\x0b",
    "form feeds": b"\x0c.\x0c",
}


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """The account's server, which ends a message at CRLF, dot, CRLF only."""
    with Recorder() as running:
        yield running


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, name_server: str, recorder: Recorder) -> Iterator[Relay]:
    home = new_home(tmp_path_factory.mktemp("smuggling"), name_server)
    plain_account(home, recorder.port)
    home.file("client", add_client(home))
    with running_relay(home) as running:
        yield running


@pytest.fixture
def client(relay: Relay) -> Iterator[Client]:
    """A connection on which the client has logged in."""
    with relay.client() as made:
        assert made.log_in((relay.home.path / "client").read_text()).startswith("235")
        yield made


def sent(client: Client, recorder: Recorder, data: bytes) -> bytes:
    """Give a message as it stands to the relay; the bytes of the only message that the server gets.

    A second message is handed over behind it, so that whatever else it caused has come before.
    """
    before, commands = len(recorder.contents), len(recorder.commands)
    for command in ("MAIL FROM:<info@example.com>", "RCPT TO:<kund@example.org>"):
        assert client.say(command).startswith("250")
    assert client.say("DATA").startswith("354")
    client.sock.sendall(data + b"\r\n.\r\n")
    assert client.reply().startswith("250 2.0.0 Kept")
    assert client.hand_over(b"Subject: last\r\n\r\nx\r\n").startswith("250")
    wait_for(lambda: any(b"Subject: last" in content for content in recorder.contents[before:]))
    verbs = [command[:4].upper() for command in recorder.commands[commands:]]
    assert verbs.count(b"MAIL") == verbs.count(b"RCPT") == verbs.count(b"DATA") == 2
    assert len(recorder.contents) == before + 2
    return recorder.contents[before]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["commands with CRLF", "commands with LF"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_only_crlf_dot_crlf_ends_a_message(client: Client, recorder: Recorder, end: bytes, line_end: bytes) -> None:
    smuggled = SECOND % ((line_end,) * 5)
    content = sent(client, recorder, b"Subject: first\r\n\r\nfirst" + end + smuggled)
    assert not bare_line_ends(content)
    assert b"\r\n.\r\n" not in content
    text = message_from_bytes(content).get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.count(b"evil") == smuggled.count(b"evil")  # it is text of the first


@pytest.mark.parametrize("size", [65_530, 65_536, 131_070, 262_140])
def test_a_dot_at_the_edge_of_a_piece_ends_no_message(client: Client, recorder: Recorder, size: int) -> None:
    line = b"y" * 78 + b"\r\n"
    for more in range(6):
        padding = line * (size // len(line)) + b"z" * (size % len(line) + more)
        content = sent(client, recorder, b"Subject: edge\r\n\r\n" + padding + b"\r\n..\r\n..." + b"\n.\n" + b"behind")
        assert content.partition(b"\r\n\r\n")[2].endswith(b"\r\n..\r\n...\r\n..\r\nbehind\r\n")


def test_a_message_that_comes_byte_by_byte_ends_at_its_end_only(client: Client, recorder: Recorder) -> None:
    before = len(recorder.contents)
    for command in ("MAIL FROM:<info@example.com>", "RCPT TO:<kund@example.org>", "DATA"):
        client.say(command)
    for byte in b"Subject: slow\r\n\r\na\n.\nb\r.\rc\r\n..\r\nd\r\n.\r\n":
        client.sock.sendall(bytes((byte,)))
    assert client.reply().startswith("250 2.0.0 Kept")
    wait_for(lambda: len(recorder.contents) > before)
    assert recorder.contents[before].partition(b"\r\n\r\n")[2] == b"a\r\n..\r\nb\r\n..\r\nc\r\n..\r\nd\r\n"


SEPARATORS = {
    "CR": b"\r",
    "LF": b"\n",
    "CR CRLF": b"\r\r\n",
    "NUL": b"\0",
    "NEL": "\x85".encode(),
    "C1": b"\x85",
    "line separator": "\u2028".encode(),
    "vertical tab": b"\x0b",
    "encoded CRLF": b"=?utf-8?q?=0D=0A?=",
    "encoded in base64": b"=?utf-8?b?DQo=?= ",
}


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize("name", [b"Subject", b"X-Note", b"To", b"References", b"Content-Type"])
def test_no_value_of_a_field_adds_a_bcc(client: Client, recorder: Recorder, name: bytes, separator: bytes) -> None:
    content = sent(client, recorder, name + b": a" + separator + b"Bcc: secret@example.net\r\n\r\ntext")
    header = content.partition(b"\r\n\r\n")[0]
    assert not [line for line in header.lower().splitlines() if line.startswith(b"bcc")]
    assert not bare_line_ends(content)


BCC = {
    "upper case": b"BCC: secret@example.net",
    "with a blank before the colon": b"Bcc : secret@example.net",
    "folded": b"Bcc:\r\n secret@example.net,\r\n\tsecret2@example.net",
    "twice": b"Bcc: secret@example.net\r\nbCC: secret@example.net",
    "resent": b"Resent-To: kund@example.org\r\nResent-Bcc: secret@example.net",
    "broken": b'Bcc: "secret@example.net <',
    "behind bytes of no charset": b"X: \xff\xfe\r\nBcc: secret@example.net",
}


@pytest.mark.parametrize("field", BCC.values(), ids=BCC)
def test_bcc_is_taken_out_of_the_header(client: Client, recorder: Recorder, field: bytes) -> None:
    content = sent(client, recorder, b"Subject: a\r\n" + field + b"\r\n\r\ntext")
    assert b"secret" not in content


ODD = {
    "empty": b"",
    "only a line end": b"\r\n",
    "only dots": b"...\r\n...",
    "no header": b"just text",
    "NULs": b"Subject: a\r\n\r\n\0\0\0",
    "8 bits without 8BITMIME": b"Subject: \xe5\r\n\r\n\xe5\xe4\xf6",
    "a line of a megabyte": b"Subject: a\r\n\r\n" + b"x" * 1_000_000,
    "a field of 100 kB": b"Subject: " + b"x" * 100_000 + b"\r\n\r\ntext",
    "a charset that makes surrogates": b"Subject: =?utf-16?b?2AA=?= =?cp65001?q?=ED=A0=80?=\r\n\r\ntext",
    "a boundary that is empty": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n----',
    "5,000 comments in one another": b"To: " + b"(" * 5_000 + b"\r\n\r\ntext",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_an_odd_message_is_sent_in_a_form_that_servers_take(client: Client, recorder: Recorder, data: bytes) -> None:
    content = sent(client, recorder, data)
    header = content.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in header.split(b"\r\n") if not line.startswith(b" ")]
    assert {b"From", b"To", b"Date", b"Message-ID"} <= set(names)
    assert content.isascii()
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert not bare_line_ends(content)

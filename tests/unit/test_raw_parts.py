"""The parts of a message that another program wrote, read back by Python's own parser."""

from __future__ import annotations

import email
import email.policy
import time
from email.header import decode_header, make_header
from typing import TYPE_CHECKING

import pytest

from smtpsetup.address.address_list import entries
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message import raw_body, raw_header, spool

if TYPE_CHECKING:
    from email.message import EmailMessage


def wire(raw: bytes) -> bytes:
    """A message as it would be sent."""
    fields, rest = raw_header.split(spool.with_crlf([raw]))
    return b"".join(raw_body.corrected(fields, spool.Spool(rest)).chunks())


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def sent(text: str, encoding: str = "utf-8") -> EmailMessage:
    """A message that must be 7-bit, read back."""
    content = wire(text.encode(encoding))
    assert content.isascii()
    assert b"\0" not in content
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    return read(content)


MIXED = """Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b{c}"

{parts}
--b{c}--
"""


def mixed(*parts: str, c: str = "") -> str:
    return MIXED.format(c=c, parts="\n".join(f"--b{c}\n{part}" for part in parts))


def test_each_part_with_8_bit_text_is_encoded_and_the_others_stay() -> None:
    plain = "Content-Type: text/plain; charset=us-ascii\n\nplain\n"
    html = "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<p>Räkningen är betald</p>\n"
    many = "Content-Type: text/plain\n\n" + "€" * 400 + "\n"
    message = sent(mixed(plain, html, many))
    first, second, third = message.iter_parts()
    assert first["Content-Transfer-Encoding"] is None
    assert (second["Content-Transfer-Encoding"], second.get_content().strip()) == (
        "quoted-printable",
        "<p>Räkningen är betald</p>",
    )
    assert (third["Content-Transfer-Encoding"], third.get_content_charset()) == ("base64", "utf-8")
    assert third.get_content().strip() == "€" * 400


def test_a_long_line_of_a_part_survives() -> None:
    line = "abc " * 1000
    part = next(sent(mixed(f"Content-Type: text/plain\n\n{line}\n")).iter_parts())
    assert part.get_content().rstrip("\r\n") == line


def test_raw_names_of_files_become_parameters_that_every_reader_knows() -> None:
    part = (
        'Content-Type: application/pdf; name="Räkning åäö; 1.pdf"\nContent-Transfer-Encoding: base64\n'
        'Content-Disposition: attachment; filename="Räkning åäö; 1.pdf"\n\nJVBERg==\n'
    )
    content = wire(mixed(part).encode())
    assert b"filename*=utf-8''R%C3%A4kning%20%C3%A5" in content
    assert b"=?" not in content
    (attached,) = read(content).iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("Räkning åäö; 1.pdf", b"%PDF")
    assert attached["Content-Type"].params["name"] == "Räkning åäö; 1.pdf"


def test_a_raw_name_in_the_message_s_own_header_becomes_a_parameter() -> None:
    message = sent(
        'Content-Type: text/plain; charset=utf-8; name="å.txt"\nContent-Disposition: inline; filename=å.txt\n\nx\n'
    )
    assert message.get_filename() == "å.txt"
    assert (message.get_content_type(), message.get_content_charset()) == ("text/plain", "utf-8")


def test_parts_in_parts_and_messages_in_messages_are_encoded_too() -> None:
    inner = mixed("Content-Type: text/plain; charset=utf-8\n\nåäö\n", c="2")
    forwarded = (
        "Content-Type: message/rfc822\n\nSubject: inre åäö\nContent-Type: text/plain; charset=utf-8\n\nvidare åäö\n"
    )
    message = sent(mixed(inner, forwarded))
    texts = [part.get_content().strip() for part in message.walk() if part.get_content_type() == "text/plain"]
    assert texts == ["åäö", "vidare åäö"]
    assert "inre åäö" in [part["Subject"] for part in message.walk()]


def test_what_is_signed_is_not_touched() -> None:
    text = "Content-Type: text/plain; charset=utf-8\n\nåäö\n"
    signed = f"--b\n{text}--b\nContent-Type: application/pgp-signature\n\nxx\n--b--\n"
    raw = f"Subject: x\nContent-Type: multipart/signed; boundary=b\n\n{signed}"
    assert wire(raw.encode()).partition(b"\r\n\r\n")[2] == signed.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
def test_nul_bytes_survive_in_what_is_not_encoded_yet(kind: str) -> None:
    part = next(sent(mixed(f"Content-Type: {kind}\nContent-Transfer-Encoding: 8bit\n\na\0b\n")).iter_parts())
    content = part.get_payload(decode=True)
    assert content == b"a\0b\r\n"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_nul_bytes_in_what_says_that_it_is_encoded_are_refused(encoding: str) -> None:
    for raw in (
        f"Content-Transfer-Encoding: {encoding}\n\nYQ\0==\n",
        mixed(f"Content-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\nYQ\0==\n"),
    ):
        with pytest.raises(SmtpsetupError) as caught:
            wire(raw.encode())
        assert caught.value.exit_code == 65


SIGNED = (
    "--b\nContent-Type: text/plain; charset=utf-8\n\nåäö\n--b\nContent-Type: application/pgp-signature\n\nxx\n--b--\n"
)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/signed; boundary=b",
        "multipart/signed (PGP); boundary=b",
        "multipart/signed; boundary*=us-ascii''b",
        'multipart/signed; x="a; boundary=evil"; boundary="b"',
        "multipart/encrypted; boundary=b",
        "multipart/mixed",
        "multipart/mixed; boundary=wrong",
        "message/delivery-status",
        "message/rfc822",
    ],
)
def test_what_must_not_be_encoded_is_passed_on(kind: str) -> None:
    header, _empty, body = wire(f"Content-Type: {kind}\n\n{SIGNED}".encode()).partition(b"\r\n\r\n")
    assert body == SIGNED.replace("\n", "\r\n").encode()
    assert b"Content-Transfer-Encoding" not in header


def test_parts_of_a_digest_are_messages_and_stay() -> None:
    part = "Subject: x\n\nåäö"
    raw = mixed(f"\n{part}\n").replace("multipart/mixed", "multipart/digest")
    assert part.replace("\n", "\r\n").encode() in wire(raw.encode())


def test_deep_nesting_loses_no_character() -> None:
    raw = "Content-Type: text/plain; charset=utf-8\n\nåäö\n"
    for level in range(60):
        raw = f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n{raw}\n--b{level}--\n"
    assert b"?" not in wire(raw.encode())


@pytest.mark.parametrize("part", ["Hello wörld\nmore text\n\nrest ö\n", "X-A: å\nbroken line\nX-B: b\n\nrest ö\n"])
def test_lines_of_a_header_that_are_no_fields_are_kept(part: str) -> None:
    read_part = next(read(wire(mixed(part).encode())).iter_parts())
    content = read_part.get_payload(decode=True)
    assert isinstance(content, bytes)
    text = content.decode()
    for words in ("rest ö", "broken line" if "broken" in part else "Hello wörld"):
        assert words in text


def test_long_lines_and_nuls_in_the_header_of_a_part_are_made_sendable() -> None:
    inner = "X-Long: " + "abc " * 500 + '\nContent-Type: text/plain; x="a\0b"\n\nx'
    sent(mixed(f"Content-Type: message/rfc822\n\n{inner}", "X-B: " + "abc " * 500 + "\n\nå"))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("filename=\"å.pdf\"; filename*=utf-8''%C3%A5.pdf", "å.pdf"),
        ('filename*0="å"; filename*1="ä.pdf"', "åä.pdf"),
        ("x=å; filename*=utf-8''" + "%C3%A5" * 300 + ".pdf", "å" * 300 + ".pdf"),
        ('filename="x; charset=us-ascii å.txt"', "x; charset=us-ascii å.txt"),
        ('filename="a\\\\b \\"q\\" å.txt"', 'a\\b "q" å.txt'),
    ],
)
def test_names_in_every_form_become_one_parameter(given: str, name: str) -> None:
    message = sent(f"Content-Disposition: attachment; {given}\nContent-Type: application/pdf\n\nx\n")
    assert message.get_filename() == name
    assert message.defects == []


def test_colons_and_small_pieces_take_linear_time() -> None:
    started = time.process_time()
    entries("a@b" + ":" * 200_000)
    raw_header.split(spool.with_crlf([b"X: ", *[b"x" * 40] * 40_000, b"\n\n"]))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("charset", ["ANSI_X3.4-1968", "US-ASCII", "iso-ir-6"])
def test_a_text_that_is_more_than_the_ascii_it_claims_gets_its_charset(charset: str) -> None:
    message = sent(f'Content-Type: text/plain; charset="{charset}"\n\nåäö\n')
    assert message.get_content().split() == ["åäö"]


def test_a_named_charset_beyond_ascii_is_believed() -> None:
    message = sent("Content-Type: text/plain; charset=iso-8859-1\n\nåäö\n", "iso-8859-1")
    assert (message.get_content().split(), message.get_content_charset()) == (["åäö"], "iso-8859-1")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("Subject", "=?utf-8?q?R=C3=A4k?= åäö", "Räk åäö"),
        ("Subject", "=?utf-8?b?w6U=?= =?utf-8?b?w6Q=?= ö", "åä ö"),
        ("Subject", "=?x-none?q?a?= ö", "=?x-none?q?a?= ö"),
        ("Subject", "=?å?q?a?= ö", "=?å?q?a?= ö"),
        ("X-Comment", "åäö", "åäö"),
    ],
)
def test_texts_beyond_ascii_are_encoded_words_once(field: str, value: str, expected: str) -> None:
    assert sent(f"{field}: {value}\n\nx\n")[field] == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("In-Reply-To", "<a@x.se> <å@x.se>", "<a@x.se>"),
        ("References", "<a@x.se>\n <b@x.se> å <c@x.se>", "<a@x.se> <b@x.se> <c@x.se>"),
        ("List-Unsubscribe", "<https://x.se/å?a=b&c>", "<https://x.se/%C3%A5?a=b&c>"),
        ("List-Id", "Nyhetsbrev åäö <nytt.x.se>", "=?utf-8?b?TnloZXRzYnJldiDDpcOkw7Y=?= <nytt.x.se>"),
    ],
)
def test_identifiers_and_addresses_of_lists_stay_readable_by_machines(field: str, value: str, expected: str) -> None:
    lines = wire(f"{field}: {value}\n\nx\n".encode()).split(b"\r\n")
    assert f"{field}: {expected}".encode() in lines


def test_a_long_name_of_a_list_does_not_end_the_header() -> None:
    name = "Nyhetsbrevet för gamla ångbåtar i Stockholms skärgård"
    message = sent(f"List-Id: {name} <nytt.x.se>\nX-After: y\n\nText\n")
    assert (message["List-Id"], message["X-After"]) == (f"{name} <nytt.x.se>", "y")
    assert message.get_content() == "Text\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        "Content-Type: multipart/mixed\n\n--b\n\nåäö\n",
        "Content-Type: multipart/mixed; boundary=b\n\nåäö without a part\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nå",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nno header at all åäö\n--b",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n--b--\nåäö\n",
        'Content-Type: multipart/mixed; boundary=""\n\n--\nContent-Type: text/plain\n\nå\n',
        mixed("X-Long: " + "å" * 3000 + "\nContent-Type: text/plain\n\nx"),
    ],
)
def test_whatever_the_structure_it_can_be_sent(raw: str) -> None:
    content = wire(raw.encode())
    assert set(content.replace(b"\r\n", b"")).isdisjoint(b"\r\n\0")
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


def test_a_part_without_an_empty_line_after_its_header_keeps_its_text() -> None:
    message = sent(mixed("no header åäö\nsecond\n", "Content-Type: text/plain; charset=utf-8\nfirst åäö\n\nsecond\n"))
    assert [part.get_content().split() for part in message.iter_parts()] == [
        ["no", "header", "åäö", "second"],
        ["first", "åäö", "second"],
    ]


def test_a_message_in_a_part_without_a_header_keeps_its_text() -> None:
    message = sent(mixed("Content-Type: message/rfc822\n\nno header åäö\n"))
    texts = [part.get_content().strip() for part in message.walk() if part.get_content_type() == "text/plain"]
    assert texts == ["no header åäö"]


def test_what_is_around_the_parts_and_their_headers_has_no_long_lines_and_no_nul() -> None:
    long = "x" * 999 + "--b"
    part = f"X-Long: {long}\nX-Nul: a\0b\nContent-Type: text/plain\n\nå\n"
    plain = f"X-Long: {long}\nContent-Type: text/plain\n\ntext\n"
    around = mixed(part, plain).replace("\n--b\n", f"\n{long}{long * 200}\n--b\n", 1) + "y" * 70_000
    parts = list(sent(around).iter_parts())
    assert [one.get_content().strip() for one in parts] == ["å", "text"]
    assert [one["X-Long"].replace(" ", "") for one in parts] == [long, long]


def test_an_address_that_cannot_be_understood_is_not_encoded_again_in_a_mail_that_passes_again() -> None:
    once = wire("To: å@x@y, a@example.com\n\nx\n".encode())
    again = wire(once.replace(b"To: ", "To: é@x@y, ".encode(), 1))
    assert message_to(again) == "é@x@y, å@x@y, a@example.com"


def message_to(content: bytes) -> str:
    value = email.message_from_bytes(content)["To"]
    return ", ".join(str(make_header(decode_header(part.strip()))) for part in value.split(","))

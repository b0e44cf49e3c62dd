"""Composed messages conform to RFC 5322 and MIME, and typed text cannot leave its field."""

from __future__ import annotations

import datetime
import email
import email.header
import email.policy
import email.utils
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.attachments import from_bytes as attachment
from smtpsetup.message.compose import Draft, Mailbox, compose, new_message_id, parse_header, parse_mailboxes
from smtpsetup.message.html_to_text import text_of

if TYPE_CHECKING:
    from email.message import EmailMessage, MIMEPart

NOW = datetime.datetime(2026, 11, 24, 3, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
SENDER = Mailbox("Mitt Företag AB", parse_mailboxes("info@mindomän.se")[0].address)


def composed(**parts: Any) -> tuple[bytes, EmailMessage]:
    draft = Draft(**{"sender": SENDER, "to": parse_mailboxes("Åsa Öberg <asa@example.com>"), **parts})
    raw = b"".join(compose(draft, now=NOW, message_id="<1@example.com>").chunks())
    return raw, email.message_from_bytes(raw, policy=email.policy.default)


def shown(part: MIMEPart) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def sender_name(raw: bytes) -> str:
    """The name in From, by the legacy parser, which decodes adjacent encoded words by RFC 2047 section 6.2."""
    value = email.message_from_bytes(raw)["From"]
    name, _address = email.utils.parseaddr(value)
    return str(email.header.make_header(email.header.decode_header(name)))


def test_headers_have_sender_recipients_date_and_subject() -> None:
    raw, message = composed(
        subject="Fråga om åäö €",
        text="Hej!",
        cc=parse_mailboxes("bo@example.com"),
        reply_to=parse_mailboxes("svar@example.com"),
    )
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert str(message["From"]) == "Mitt Företag AB <info@xn--mindomn-bxa.se>"
    assert str(message["To"]) == "Åsa Öberg <asa@example.com>"
    assert (str(message["Cc"]), str(message["Reply-To"])) == ("bo@example.com", "svar@example.com")
    assert str(message["Subject"]) == "Fråga om åäö €"
    assert message["Date"] == "Tue, 24 Nov 2026 03:00:00 +0100"
    assert message["Message-ID"] == "<1@example.com>"
    assert shown(message) == "Hej!\n"


def test_bcc_is_in_the_envelope_and_nowhere_in_the_message() -> None:
    draft = Draft(SENDER, bcc=parse_mailboxes("hemlig@example.com"), text="x")
    assert draft.recipients == ("hemlig@example.com",)
    raw = b"".join(compose(draft, now=NOW, message_id="<1@example.com>").chunks())
    assert b"hemlig" not in raw
    assert b"bcc" not in raw.lower()


def test_a_recipient_named_twice_is_in_the_envelope_once() -> None:
    draft = Draft(SENDER, to=parse_mailboxes("a@example.com, A <a@example.com>"), cc=parse_mailboxes("a@example.com"))
    assert draft.recipients == ("a@example.com",)


def test_an_attachment_keeps_its_name_its_type_and_every_byte() -> None:
    data = bytes(range(256)) * 10
    raw, message = composed(
        text="x",
        attachments=(attachment("in/a/folder/Räkning 1 åäö €.pdf", data), attachment("a.csv", b"a;b\r\n1;2\n.\n")),
    )
    assert b"filename*=utf-8''" in raw  # RFC 2231
    first, second = message.iter_attachments()
    assert (first.get_filename(), first.get_content_type(), first.get_content()) == (
        "Räkning 1 åäö €.pdf",
        "application/pdf",
        data,
    )
    assert second.get_content_type() == "text/csv"
    assert second.get_payload(decode=True) == b"a;b\r\n1;2\n.\n"


def test_html_gets_a_text_part_and_its_pictures() -> None:
    html = (
        "<head><title>t</title><style>p{}</style></head><body><p>Hej &aring;!</p><a "
        'href="https://x.se">Länk</a><img src="cid:logo"></body>'
    )
    _raw, message = composed(
        html=html, attachments=(attachment("logo.png", b"\x89PNG", content_id="logo"), attachment("a.pdf", b"%PDF"))
    )
    plain = message.get_body(("plain",))
    assert plain
    assert shown(plain) == "Hej å!\n\nLänk <https://x.se>\n"
    body = message.get_body(("html",))
    assert body
    assert body.get_content().rstrip() == html
    picture = next(part for part in message.walk() if part["Content-ID"] == "<logo>")
    assert picture.get_content_disposition() == "inline"
    assert [part.get_filename() for part in message.iter_attachments()] == ["a.pdf"]


def test_long_lines_and_leading_dots_survive() -> None:
    text = ".\n..x\n" + "å" * 3000 + "\n" + "x" * 3000 + "\nFrom me\n"
    raw, message = composed(text=text)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert shown(message) == text


def test_a_local_part_that_is_not_ascii_is_written_as_utf8() -> None:
    raw, message = composed(to=parse_mailboxes("åsa@example.com"), text="x")
    assert "åsa@example.com".encode() in raw
    assert str(message["To"]) == "åsa@example.com"


@pytest.mark.parametrize(
    "text",
    ["a\nBcc: x@y.se", "a\r\nX: y", "a\rX: y", "a\0", "a\u2028X: y", "a\x0cX: y", "a\x1b[31m", "a\x9b31m", "a\udcf6"],
)
def test_a_line_break_cannot_add_a_header(text: str) -> None:
    for make in (
        lambda: composed(subject=text),
        lambda: parse_header(f"X-A: {text}"),
        lambda: parse_mailboxes(f"{text} <a@example.com>"),
        lambda: composed(headers=(("X-A", text),)),
        lambda: composed(sender=Mailbox(text, SENDER.address)),
        lambda: attachment(f"{text}.pdf", b""),
    ):
        with pytest.raises(SmtpsetupError) as caught:
            make()
        assert caught.value.exit_code == 65


@pytest.mark.parametrize(
    "text",
    [
        "nocolon",
        "Bad Name: x",
        ": x",
        "Å: x",
        "Subject: x",
        "bcc: a@b.se",
        "Message-ID: <x>",
        "Content-Type: x",
        "Content-Language: sv",
        "MIME-Version: 2",
        "Resent-Bcc: a@b.se",
    ],
)
def test_a_header_that_is_malformed_or_reserved_is_refused(text: str) -> None:
    with pytest.raises(SmtpsetupError) as caught:
        parse_header(text)
    assert caught.value.exit_code == 65


def test_other_headers_are_kept() -> None:
    _raw, message = composed(
        text="x", headers=(parse_header("X-Order: 4711 åäö"), parse_header("Auto-Submitted:auto-generated"))
    )
    assert message["X-Order"] == "4711 åäö"
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a@x.se", [("", "a@x.se")]),
        ("a@x.se, b@x.se", [("", "a@x.se"), ("", "b@x.se")]),
        ("Åsa <a@x.se>", [("Åsa", "a@x.se")]),
        ('"Öberg, Åsa" <a@x.se>, b@x.se', [("Öberg, Åsa", "a@x.se"), ("", "b@x.se")]),
        ('"ord, och" <"a,b"@x.se>,b@x.se', [("ord, och", '"a,b"@x.se'), ("", "b@x.se")]),
        ("<a@mindomän.se>", [("", "a@xn--mindomn-bxa.se")]),
        ("a@x.se; Åsa <b@x.se>", [("", "a@x.se"), ("Åsa", "b@x.se")]),  # as Outlook writes them
        ("a@x.se; Åsa <b@x.se>; ", [("", "a@x.se"), ("Åsa", "b@x.se")]),
        ("Styrelsen: a@x.se, b@x.se;", [("", "a@x.se"), ("", "b@x.se")]),
        ("Styrelsen: a@x.se, b@x.se;c@x.se", [("", "a@x.se"), ("", "b@x.se"), ("", "c@x.se")]),
        ("a@x.se (Åsa)", [("Åsa", "a@x.se")]),
    ],
)
def test_mailboxes_are_read_as_people_write_them(text: str, names: list[tuple[str, str]]) -> None:
    assert [(mailbox.name, mailbox.address.wire) for mailbox in parse_mailboxes(text)] == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@x.se,",
        ";",
        "a@x.se;;",
        "Åsa <>",
        "Åsa <a@@x.se>",
        "a@x.se b@x.se",
        "Åsa <a@x.se> b@x.se",
        ",",
        "<",
        "a@x.se, nobody",
    ],
)
def test_an_address_list_with_an_invalid_entry_is_refused(text: str) -> None:
    with pytest.raises(SmtpsetupError):
        parse_mailboxes(text)


ENCODED = "=?utf-8?q?hej=0d=0aBcc:_spy@evil.se=0d=0a=0d=0a<h1>fake</h1>?="
FIELDS = ["From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]


def test_text_that_looks_like_an_encoded_word_is_sent_literally() -> None:
    raw, message = composed(
        subject=ENCODED, text="x", sender=Mailbox(ENCODED, SENDER.address), headers=(("X-A", ENCODED),)
    )
    assert sorted(message.keys()) == sorted([*FIELDS, "X-A"])
    assert (str(message["Subject"]), str(message["X-A"])) == (ENCODED, ENCODED)
    assert sender_name(raw) == ENCODED
    assert b"spy@evil.se" not in raw.partition(b"\r\n\r\n")[0]


def test_a_file_name_that_looks_like_an_encoded_word_stays_one_name() -> None:
    raw, message = composed(text="x", attachments=(attachment("=?utf-8?q?a=22=0d=0aX-Evil:y=0d=0a?=.txt", b"x"),))
    (part,) = message.iter_attachments()
    assert b"X-Evil:" not in raw.replace(b"=0d=0aX-Evil:y", b"")
    assert set(part.keys()) == {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", "<https://example.com/" + "a" * 200 + ">"),
        ("References", " ".join(f"<{'x' * 60}{n}@example.com>" for n in range(5))),
        ("In-Reply-To", "<" + "x" * 120 + "@example.com>"),
    ],
)
def test_a_header_of_ids_or_urls_is_folded_and_otherwise_unchanged(name: str, value: str) -> None:
    raw, _message = composed(text="x", headers=((name, value),))
    assert f"{name}: {value}".encode() in raw.replace(b"\r\n ", b" ")


def test_a_second_header_of_a_kind_that_may_occur_once_is_refused() -> None:
    with pytest.raises(SmtpsetupError):
        composed(headers=(("Sender", "a@x.se"), ("sender", "b@x.se")))


def test_text_files_say_that_they_are_utf8_and_others_do_not() -> None:
    _raw, message = composed(
        text="x", attachments=(attachment("a.txt", "å".encode()), attachment("b.txt", "å".encode("latin-1")))
    )
    assert [part.get_content_charset() for part in message.iter_attachments()] == ["utf-8", None]


def test_html_without_a_closed_head_still_has_its_text() -> None:
    assert text_of("<html><head><title>t</title><body><p>Hej</p>") == "Hej\n"


def test_swedish_text_stays_readable_on_the_wire() -> None:
    raw, _message = composed(text="Hej! Här kommer fakturan.")
    assert b"H=C3=A4r kommer fakturan" in raw


TYPED = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=120)


@given(TYPED, TYPED, st.text(max_size=200))
def test_any_typed_text_survives_encoding(subject: str, name: str, text: str) -> None:
    raw, message = composed(text=text, subject=subject, sender=Mailbox(name.strip(), SENDER.address))
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert sorted(message.keys()) == sorted(FIELDS)
    assert " ".join(str(message["Subject"]).split()) == " ".join(subject.split())
    assert " ".join(sender_name(raw).split()) == " ".join(name.split())


def test_message_ids_differ_and_name_the_domain() -> None:
    ids = {new_message_id("example.com") for _ in range(100)}
    assert len(ids) == 100
    assert all(one.endswith("@example.com>") for one in ids)

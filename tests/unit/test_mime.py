"""MIME entities have the size announced, survive parsing, and are never in memory as a whole."""

from __future__ import annotations

import datetime
import email
import email.policy
import io
import os
import re
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message import mime
from smtpsetup.message.attachments import from_bytes, from_file
from smtpsetup.message.compose import Draft, Mailbox, compose, parse_mailboxes

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from smtpsetup.message.message import Message

BYTES = "application/octet-stream"
NOW = datetime.datetime(2026, 11, 24, 3, 0, tzinfo=datetime.UTC)
SENDER = Mailbox("", parse_mailboxes("info@example.com")[0].address)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)
# edge cases of the encodings: bare CRs, blanks at line ends, dots, From, encoded words, long lines
AWKWARD = st.lists(
    st.sampled_from(
        [
            "\r",
            "\n",
            "\r\n",
            " ",
            "\t",
            ".",
            "From x",
            "=",
            "=?utf-8?q?x?=",
            "å" * 30,
            "x" * 75,
            "x" * 999,
            "\x00",
            "\x7f",
            "€",
            "_",
        ]
    )
).map("".join)
CONTENT = st.one_of(st.binary(max_size=500), st.integers(0, 3 * 57 * 1024).map(bytes))


def composed(**parts: Any) -> Message:
    return compose(
        Draft(**{"sender": SENDER, "to": parse_mailboxes("a@example.com"), **parts}),
        now=NOW,
        message_id="<1@example.com>",
    )


def parsed(message: Message) -> EmailMessage:
    return email.message_from_bytes(b"".join(message.chunks()), policy=email.policy.default)


def lines_of(text: str) -> list[str]:
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


@given(words=st.one_of(WORDS, AWKWARD))
@settings(deadline=None)
def test_any_text_has_the_size_announced_and_lines_of_legal_length(words: str) -> None:
    entity = mime.text("plain", words)
    content = b"".join(entity.content())
    assert len(content) == entity.size
    assert content.isascii()
    assert b"\0" not in content
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    if "7bit" not in entity.fields:
        assert all(len(line) <= 76 for line in content.split(b"\r\n"))  # RFC 2045 section 6.7 and 6.8


@given(words=st.one_of(WORDS, AWKWARD))
@settings(deadline=None)
def test_any_text_survives_encoding_and_decoding(words: str) -> None:
    part = parsed(composed(text=words))
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert lines_of(payload.decode(part.get_content_charset() or "")) == lines_of(words)


@given(
    words=WORDS,
    html=st.sampled_from(["", "<p>hej å</p>", "<p>" + "x" * 2000 + "</p>"]),
    contents=st.lists(CONTENT, max_size=3),
    has_picture=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_message_has_the_size_announced(
    words: str,
    html: str,
    contents: list[bytes],
    has_picture: bool,  # noqa: FBT001  a parameter
) -> None:
    pictures = [from_bytes("logo.png", b"png", content_id="logo")] if html and has_picture else []
    message = composed(
        text=words,
        html=html,
        attachments=(*(from_bytes(f"{number}.bin", data) for number, data in enumerate(contents)), *pictures),
    )
    raw = b"".join(message.chunks())
    assert len(raw) == message.size
    assert raw == b"".join(message.chunks())  # each call starts anew
    found = [part.get_content() for part in parsed(message).iter_attachments()] if contents else []
    assert [data for data in found if data != b"png"] == [data for data in contents if data != b"png"]


ODD_NAMES = (
    ' "a".txt',
    "a;b.txt",
    "räksmörgås.pdf",
    "=?utf-8?q?x?=.txt",
    "'%41'.pdf",
    "a\tb.bin",
    "😀" * 60,
    "con",
    ".hidden",
)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="/\\"), min_size=1, max_size=80
)


@given(name=st.one_of(NAMES, st.sampled_from(ODD_NAMES)))
@settings(deadline=None)
def test_an_attachment_keeps_any_file_name(name: str) -> None:
    message = composed(text="x", attachments=(from_bytes(name, b"content"),))
    (part,) = parsed(message).iter_attachments()
    # Python's parser strips blanks at both ends, and angle brackets around what is left (email.utils.unquote)
    assert part.get_filename() in (name.strip(), re.sub(r"^<(.*)>$", r"\1", name.strip()))
    payload = part.get_payload(decode=True)
    assert payload == b"content"
    assert max(map(len, b"".join(message.chunks()).split(b"\r\n"))) <= 998


def test_a_file_name_that_is_not_utf8_is_refused_or_kept_without_an_internal_error(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.bin"
    with open(path, "wb") as file:
        file.write(b"x")
    try:
        message = composed(text="x", attachments=(from_file(os.fsdecode(path)),))
    except SmtpsetupError:
        return
    assert b"caf" in b"".join(message.chunks())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.eml", BYTES), ("a.tar.gz", BYTES), ("a.unknownending", BYTES), ("a.csv", "text/csv"), ("a", BYTES)],
)
def test_the_type_is_one_that_base64_may_carry(name: str, kind: str) -> None:
    (part,) = parsed(composed(text="x", attachments=(from_bytes(name, b"x"),))).iter_attachments()
    assert part.get_content_type() == kind


@given(size=st.integers(0, 400))
def test_base64_has_lines_of_76_characters(size: int) -> None:
    data = os.urandom(size)
    entity = mime.file("application/octet-stream", "x", lambda: io.BytesIO(data), size)
    content = b"".join(entity.content())
    assert len(content) == entity.size
    assert all(len(line) == 76 for line in content.split(b"\r\n")[:-2])


def test_boundaries_differ_and_occur_in_no_part() -> None:
    raw = b"".join(composed(text="x", html="<p>x</p>", attachments=(from_bytes("a.txt", b"x"),)).chunks()).decode()
    boundaries = re.findall('boundary="(.*?)"', raw)
    assert len(set(boundaries)) == 2
    assert all(raw.count(f"--{boundary}--") == 1 for boundary in boundaries)


@pytest.mark.slow
def test_a_large_attachment_is_never_read_into_memory_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    message = composed(text="x", attachments=(from_file(str(path)),))
    tracemalloc.start()
    try:
        produced = sum(map(len, message.chunks()))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert produced == message.size
    assert peak < 2_000_000

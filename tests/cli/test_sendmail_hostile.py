"""Hostile or malformed messages and arguments stay in their field, arrive whole, or are refused with an error."""

from __future__ import annotations

import email.header
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.sendmail import OWN, PROGRAM, assert_sound, body_of, configured, field_names, sendmail, sent

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

TO = "asa@example.com"
HEAD = b"To: asa@example.com\nSubject: x\n"


VALUES = (
    "x\nBcc: evil@example.com",
    "x\r\n\r\nevil",
    "x\rBcc: evil@example.com\r",
    "<evil@example.com>\x1b[31m",
    b"\xc5sa\xff\n",
)


@pytest.mark.matrix
@pytest.mark.parametrize("flag", ["-F", "-f", "-r", "-a", "-C", "-B", "-N", "-R", "-V", "-o", "-h"])
def test_an_option_value_adds_no_header_and_no_recipient(
    flag: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts, rows='allowed_from = "any"')
    for value in VALUES:
        done = sendmail(home, flag, value, TO, stdin=HEAD + b"\nx\n")
        assert done.code in (0, 64, 65, 67, 78), value
        assert done.err.replace("\n", "").isprintable(), value
    for mail in sandbox.mails:
        assert_sound(mail)
        assert mail.recipients == (TO,)
        assert body_of(mail) == b"x\r\n"


NAMES = (
    b"=?utf-8?q?x=0D=0ABcc=3A_evil=40example=2Ecom?=",
    b"=?utf-8?b?eA0KDQpldmls?=",
    b"=?utf-8?q?x=1B=5B31m=00?=",
    b"=?no-such-charset?q?x?=",
    b"=?utf-8?b?%%%?=",
    b'"x\\"\\\\, <evil@example.com>"',
    b"x \xff\x00\x1b\x7f",
    "\x85Bcc: evil@example.com\u2028x\u202e".encode(),
    b"x\r Bcc: evil@example.com",
    b"A" * 3000,
    "Å".encode() * 1500,
)


@pytest.mark.matrix
@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_field_adds_no_header_and_no_recipient(
    name: bytes, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    for field in ("From", "To", "Cc", "Reply-To", "Subject"):
        done = sendmail(home, "-i", TO, stdin=field.encode() + b": " + name + b" <bo@example.net>\nX-Last: yes\n\nx\n")
        assert (done.code, done.err) == (0, ""), field
        mail = sandbox.mails[-1]
        assert_sound(mail)
        assert mail.recipients == (TO,)
        assert field_names(mail).count(field.lower()) == 1
        assert body_of(mail) == b"x\r\n"


@pytest.mark.parametrize(
    "recipient",
    [
        "a b@example.com",
        "x\r\nDATA",
        "x@example.com\r\nRCPT TO:<evil@example.com>",
        "$(id)@example.com",
        "`id`",
        "x@",
        "\x1b[31mroot",
    ],
)
def test_an_invalid_recipient_is_an_error_and_adds_no_recipient(
    recipient: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    done = sendmail(home, "-i", "--", recipient, stdin=HEAD + b"\nx\n")
    assert done.code in (65, 67) or recipient.startswith("$")
    assert done.err.replace("\n", "").isprintable()
    assert {address for mail in sandbox.mails for address in mail.recipients} <= {recipient}


@pytest.mark.parametrize(
    "recipient",
    ["-oProxy@example.com", "-queen@example.com", "-bd@example.com", "-Ac@example.com", "o'brien|x@example.com"],
)
def test_a_recipient_may_look_like_a_flag_or_a_shell_command(
    recipient: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    assert sent(home, sandbox, "-i", "--", TO, recipient, stdin=HEAD + b"\nx\n").recipients == (TO, recipient)


@pytest.mark.matrix
@pytest.mark.parametrize("flags", [("-t", "-i"), ("-t",)])
@pytest.mark.parametrize("size", [900, 70_000, 200_000])
@pytest.mark.parametrize("word", [b"x", b"x ", b"\xc3\xa5"])
def test_a_long_header_line_is_folded_inside_the_header(  # noqa: PLR0913, PLR0917  a row of the table, and fixtures
    flags: tuple[str, ...], size: int, word: bytes, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    value = word * (size // len(word))
    mail = sent(
        home,
        sandbox,
        *flags,
        stdin=b"Subject: " + value + b"\nBcc: hemlig@example.com\nTo: asa@example.com\nX-Last: yes\n\nx\n",
    )
    assert set(mail.recipients) == {TO, "hemlig@example.com"}
    assert b"hemlig" not in mail.content
    assert mail.message["X-Last"] == "yes"
    shown = str(email.header.make_header(email.header.decode_header(str(mail.message["Subject"]))))
    assert shown.replace(" ", "") == value.decode().replace(" ", "")
    assert body_of(mail) == b"x\r\n"


def test_many_recipients_without_blanks_are_folded_between_them(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    names = [f"recipient-number-{n}@example.com" for n in range(100)]
    mail = sent(home, sandbox, "-t", "-i", stdin=f"To: {','.join(names)}\nSubject: x\n\nx\n")
    assert list(mail.recipients) == names
    assert [entry.addr_spec for entry in mail.message["To"].addresses] == names


def test_a_long_field_name_does_not_make_the_mail_impossible(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    sent(home, sandbox, "-i", TO, stdin=b"X-" + b"a" * 150 + b": " + b"b" * 2000 + b"\n\nx\n")


STRANGE = (
    ("no header", b"hello\nTo: x\n", b"hello\r\nTo: x\r\n"),
    ("blank line first", b"\nhello\n", b"hello\r\n"),
    ("header alone", b"Subject: x\n", b""),
    ("header without a line end", b"Subject: x", b""),
    ("header and blank line", b"Subject: x\n\n", b""),
    ("nothing", b"", b""),
    ("body without a line end", b"Subject: x\n\nhello", b"hello\r\n"),
    ("From line", b"From root@x Tue Nov 24 03:00:00 2026\nSubject: x\n\nFrom me\n", b"From me\r\n"),
    (">From line", b">From root@x Tue Nov 24 03:00:00 2026\nSubject: x\n\nx\n", b"x\r\n"),
    ("CRLF", b"Subject: x\r\n\r\na\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ("CR", b"Subject: x\r\ra\r\rb\r", b"a\r\n\r\nb\r\n"),
    ("mixed", b"Subject: x\n\r\na\r\nb\rc\n", b"a\r\nb\r\nc\r\n"),
    ("LF smuggling", b"Subject: x\n\na\n.\r\nMAIL FROM:<x>\n", b"a\r\n.\r\nMAIL FROM:<x>\r\n"),
    ("CR smuggling", b"Subject: x\n\na\r.\rMAIL FROM:<x>\n", b"a\r\n.\r\nMAIL FROM:<x>\r\n"),
    ("dots", b"Subject: x\n\n.\n..\n.a\n", b".\r\n..\r\n.a\r\n"),
)


@pytest.mark.matrix
@pytest.mark.parametrize(("message", "body"), [row[1:] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_malformed_messages_are_read_as_intended(
    message: bytes, body: bytes, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-i", TO, stdin=message)
    assert body_of(mail).removesuffix(b"\r\n") == body.removesuffix(b"\r\n")
    assert ("subject" in field_names(mail)) == (b"Subject" in message)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (b"\na\n.\nb\n", b"a\r\n"),
        (b"\na\r\n.\r\nb", b"a\r\n"),
        (b"\n.\nb\n", b""),
        (b"\n.", b""),
        (b".\n", b""),
        (b"\n.a\n..\n", b".a\r\n..\r\n"),
    ],
)
def test_without_i_a_line_with_a_dot_ends_the_message(
    message: bytes, body: bytes, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    assert body_of(sent(home, sandbox, TO, stdin=message)) == body


def test_without_i_a_dot_ends_the_message_while_the_pipe_is_open(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    reading, writing = os.pipe()
    os.write(writing, b"Subject: x\n\na\n.\n")
    try:
        done = subprocess.run([PROGRAM, TO], env=home.env, stdin=reading, capture_output=True, timeout=10, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert body_of(sandbox.mails[0]) == b"a\r\n"


TEXTS = (
    "åäö € 日本語 𝄞\n",
    "Ångström\n" * 3000,
    "x" * 5000 + "å\n",
    " \t\ntrailing \n.\n",
    "=41\nåäö=\n",
    "nul \0 å\n",
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_encoded_in_7_bits_and_arrives_unchanged(
    text: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-i", TO, stdin=HEAD + b"\n" + text.encode())
    assert mail.content.isascii()
    assert b"\0" not in mail.content
    assert mail.message.get_content().replace("\r\n", "\n") == text


def test_latin_1_in_header_and_body_is_detected(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    mail = sent(
        home,
        sandbox,
        "-i",
        TO,
        stdin="Subject: åäö\nFrom: Åsa <root>\nTo: Åsa <asa@example.com>\n\nåäö\n".encode("latin-1"),
    )
    message = mail.message
    assert (message["Subject"], str(message["From"]), str(message["To"])) == (
        "åäö",
        f"Åsa <{OWN}>",
        "Åsa <asa@example.com>",
    )
    assert message.get_content().strip() == "åäö"
    assert message.get_content_charset() == "windows-1252"  # the IANA name; mail programs do not know Python's


@pytest.mark.parametrize("kind", ["text/html", "text/plain; format=flowed", "text/plain; charset=us-ascii"])
def test_text_without_a_charset_gets_the_detected_one(
    kind: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-i", TO, stdin=f"Content-Type: {kind}\nMIME-Version: 1.0\n\n<p>åäö €</p>\n")
    assert mail.message.get_content_type() == kind.partition(";")[0]
    assert mail.message.get_content().strip() == "<p>åäö €</p>"


def test_a_content_type_with_8_bits_in_a_parameter_stays_valid(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    message = 'Content-Type: text/html; charset=utf-8; name="räkning.html"\nMIME-Version: 1.0\n\n<p>å</p>\n'
    assert sent(home, sandbox, "-i", TO, stdin=message).message.get_content_type() == "text/html"


@pytest.mark.matrix
@pytest.mark.parametrize("n", [997, 998, 999, 1000, 1996, 100_000])
@pytest.mark.parametrize("encoding", ["", "7bit", "quoted-printable", "base64"])
def test_a_line_of_any_length_arrives(n: int, encoding: str, sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    head = HEAD + (f"MIME-Version: 1.0\nContent-Transfer-Encoding: {encoding}\n".encode() if encoding else b"")
    text = b"=41" * n if encoding == "quoted-printable" else b"QUFB" * n if encoding == "base64" else b"A" * n
    mail = sent(home, sandbox, "-i", TO, stdin=head + b"\n" + text + b"\n")
    assert mail.message.get_content().strip() == "A" * {"quoted-printable": n, "base64": 3 * n}.get(encoding, n)
    if not encoding:
        assert (body_of(mail) == text + b"\r\n") == (n <= 998)


def test_long_lines_in_parts_are_broken_between_characters(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    head = 'MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary="b"\n\n'
    part = "--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    mail = sent(home, sandbox, "-i", TO, stdin=f"{head}{part}{'åäö€ ' * 1000}\n--b--\n")
    (found,) = mail.message.iter_parts()
    shown = found.get_content()
    assert "\ufffd" not in shown
    assert "".join(shown.split()) == "åäö€" * 1000


def test_no_nul_is_sent(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    head = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\n'
    mail = sent(home, sandbox, "-i", TO, stdin=f"{head}a\0b\n--b--\n")
    assert b"\0" not in mail.content  # RFC 5322 section 4.1; some servers refuse it


def test_an_encoded_name_next_to_one_in_8_bits_is_encoded_once(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(
        home,
        sandbox,
        "-t",
        "-i",
        stdin="To: =?utf-8?q?=C3=85sa?= <asa@example.com>, Bö <bo@example.com>\nSubject: x\n\nx\n",
    )
    assert str(mail.message["To"]) == "Åsa <asa@example.com>, Bö <bo@example.com>"


def peak(home: Home, message: Path) -> int:
    """The peak memory of one run, in bytes."""
    program = (
        "import resource, subprocess, sys;"
        "code = subprocess.run(sys.argv[2:], stdin=open(sys.argv[1])).returncode;"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(message), PROGRAM, TO],
        # measured as a user would run it: under coverage each of two million lines takes several times as long
        env={name: value for name, value in home.env.items() if not name.startswith("COV")} | {"PYTHONWARNINGS": ""},
        capture_output=True,
        timeout=100,
        check=True,
    )
    code, kilobytes = done.stdout.split()
    assert (code, done.stderr) == (b"0", b"")
    return int(kilobytes) * 1024


LARGE = 30_000_000  # bytes
KINDS = {
    "text": b"0123456789 " * 6 + b"\n",
    "8 bits": "0123456789 å\n".encode(),
    "lines beyond the limit": b"x" * 5000 + b"\n",
    "one line": b"x" * 1000,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_large_message_takes_no_more_memory_than_a_small_one(
    kind: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    home = home.unmeasured
    small = peak(home, home.file("small", HEAD + b"\n" + b"x" * 999 + b"\n"))
    large = peak(home, home.file("large", HEAD + b"\n" + KINDS[kind] * (LARGE // len(KINDS[kind])) + b"\n"))
    assert large - small < 16 * 1024 * 1024
    assert len(sandbox.mails[1].content) > LARGE - 1_000_000

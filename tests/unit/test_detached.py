"""Taking the files out of a large message."""

from __future__ import annotations

import base64
import email
import email.policy

import pytest

from smtpsetup.message.detached import detached
from tests.messages import from_bytes

HEADER = b"From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=zz\r\n\r\n"
TEXT = b"--zz\r\nContent-Type: text/plain\r\n\r\nHej\r\n"
FILE = (
    b"--zz\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=f.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n"
)


def lines_of_base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("encoded", "content"),
    [
        (lines_of_base64(b"x" * 100_001), b"x" * 100_001),
        (base64.b64encode(b"y" * 100_000) + b"\r\n", b"y" * 100_000),  # one line
        (lines_of_base64(b"ab") + b"-- \r\nsig\r\n", b"ab"),  # behind the padding
        (b"Y W\tI=\r\n", b"ab"),
        (b"YW*J!j\r\n", b"abc"),
        (b"YWJj\r\nYW\r\n", b"abca"),  # the padding is missing
        (b"YWJj\r\nY\r\n", b"abc"),  # a letter alone stands for nothing
        (b"YQ==\r\nYWJj\r\n", b"a"),
        (b"\r\n", b""),
    ],
)
def test_a_file_has_the_bytes_that_its_base64_stands_for(encoded: bytes, content: bytes) -> None:
    message = from_bytes(HEADER + TEXT + FILE + encoded + b"--zz--\r\n")
    parts = detached(message)
    (file,) = parts.files
    assert (file.name, file.size, b"".join(file.content())) == ("f.pdf", len(content), content)
    assert b"".join(parts.message.chunks()) == HEADER + TEXT + b"--zz--\r\n"
    assert parts.message.size == len(HEADER + TEXT + b"--zz--\r\n")


def test_each_of_many_files_is_read_from_its_own_place() -> None:
    contents = [bytes([number]) * (number * 1000) for number in range(1, 40)]
    encoded = b"".join(FILE + lines_of_base64(content) for content in contents)
    files = detached(from_bytes(HEADER + TEXT + encoded + b"--zz--\r\n")).files
    assert [b"".join(file.content()) for file in reversed(files)] == contents[::-1]
    assert [file.size for file in files] == [len(content) for content in contents]


def test_a_header_that_ends_without_an_empty_line_is_read_to_its_end() -> None:
    message = from_bytes(HEADER + TEXT + FILE.removesuffix(b"\r\n") + b"YWJjZGVm/\r\nYWJj\r\n--zz--\r\n")
    (file,) = detached(message).files
    whole = b"".join(message.chunks())
    part = list(email.message_from_bytes(whole, policy=email.policy.compat32).walk())[-1]
    assert part.get_filename() == file.name
    assert file.size == len(b"".join(file.content()))


def test_a_mail_of_another_form_has_no_files() -> None:
    message = from_bytes(b"From: a@example.com\r\n\r\nHej\r\n")
    assert detached(message) == (message, ())

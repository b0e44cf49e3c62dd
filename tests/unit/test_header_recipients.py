"""A header that names the recipients of the envelope and nobody else."""

from __future__ import annotations

import pytest

from smtpsetup.message.header_recipients import addressed_by_header
from smtpsetup.message.message import Envelope
from tests.messages import from_bytes


@pytest.mark.parametrize(
    ("header", "recipients", "expected"),
    [
        (b"To: b@x.se\r\n", ("b@x.se",), b"To: b@x.se\r\n"),
        (b"To: b@X.SE\r\nCc: c@x.se\r\n", ("b@x.se", "c@x.se"), b"To: b@X.SE\r\nCc: c@x.se\r\n"),
        (b"To: b@x.se\r\nBcc: c@x.se\r\n", ("b@x.se",), b"To: b@x.se\r\n"),
        (b"To: b@x.se\r\n", ("b@x.se", "c@x.se"), b"To: b@x.se\r\nBcc: c@x.se\r\n"),
        (b"To: b@x.se, d@x.se\r\n", ("b@x.se",), b"X-Original-To: b@x.se, d@x.se\r\nTo: b@x.se\r\n"),
        (b"", ("b@x.se",), b"To: undisclosed-recipients:;\r\nBcc: b@x.se\r\n"),
        (b"To: undisclosed-recipients:;\r\n", ("b@x.se",), b"To: undisclosed-recipients:;\r\nBcc: b@x.se\r\n"),
        (b"To:\r\n", ("b@x.se",), b"To: undisclosed-recipients:;\r\nBcc: b@x.se\r\n"),
        (b"To: team:;\r\nCc: b@x.se\r\n", ("b@x.se",), b"Cc: b@x.se\r\nTo: team:;\r\n"),
        (b"Resent-To: d@x.se\r\nTo: b@x.se\r\n", ("b@x.se",), b"X-Resent-To: d@x.se\r\nTo: b@x.se\r\n"),
    ],
)
def test_the_header_names_who_gets_the_mail(header: bytes, recipients: tuple[str, ...], expected: bytes) -> None:
    message = from_bytes(b"From: a@x.se\r\n" + header + b"\r\nx\r\n")
    addressed = addressed_by_header(message, Envelope("a@x.se", recipients))
    assert addressed.header == b"From: a@x.se\r\n" + expected + b"\r\n"

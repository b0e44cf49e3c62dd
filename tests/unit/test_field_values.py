"""Values of header fields that somebody made to harm."""

from __future__ import annotations

import time

import pytest

from smtpsetup.message.field_values import decoded_words, wire_value

MANY = 100_000


@pytest.mark.parametrize(
    "text", ["=?utf-7?Q?x+2AA-y?=", r"=?unicode_escape?Q?x\ud800y?=", r"=?raw_unicode_escape?q?x\ud800?="]
)
def test_what_decodes_to_half_a_character_can_be_stored(text: str) -> None:
    decoded_words(text).encode()


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", 'text/plain; a="é"' + " " * MANY + "x"),
        ("Content-Type", "text/plain; a=é" + "; " * MANY),
        ("Content-Disposition", "attachment" + " ;" * MANY + "é"),
        ("Subject", "é" + "=?u?q?x?=" * 2 * MANY),
        ("Subject", "é" + "=?utf-8?q?x?= " * 2 * MANY),
        ("X-Name", "é" + "=?" * MANY),
    ],
)
def test_no_value_takes_time_with_the_square_of_its_length(name: str, value: str) -> None:
    began = time.process_time()
    wire_value(name, value)
    assert time.process_time() - began < 15  # of which a linear one takes a small part, and a square one minutes

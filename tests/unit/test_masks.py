"""Secrets are masked where a server repeats them, and nothing else is."""

from __future__ import annotations

import pytest

from smtpsetup.net.masks import Masks


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("hemligt-123", "your password hemligt-123 is wrong", "your password *** is wrong"),
        ("hemligt-123", "hex 68656d6c6967742d313233", "hex ***"),
        ("a", "a mail was accepted", "*** mail was accepted"),
        ("P", "HTTP/1.1 400 Bad Request, P", "HTTP/1.1 400 Bad Request, ***"),
        ("535", "535 5.7.8 code 5350", "*** 5.7.8 code 5350"),
        ("pass", "no password: pass", "no ***word: ***"),
    ],
)
def test_a_secret_is_masked_whole_and_a_short_one_only_as_a_word(secret: str, text: str, shown: str) -> None:
    masks = Masks()
    masks.add(secret)
    assert masks.applied(text) == shown

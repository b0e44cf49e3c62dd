"""Text for a terminal is broken at blanks, and commands are not broken."""

from __future__ import annotations

import pytest

from smtpsetup.terminal.wrapping import width_of, wrapped


def test_lines_are_broken_at_blanks_and_continuation_lines_are_indented() -> None:
    assert wrapped("  1. one two three four", 12, hang=5) == "  1. one two\n     three\n     four"


def test_without_a_hang_continuation_lines_keep_the_indentation() -> None:
    assert wrapped("one two\n  three four", 8) == "one two\n  three\n  four"


def test_a_command_is_moved_to_the_next_line_whole() -> None:
    assert wrapped("Try it: `ls -l file`.", 16) == "Try it:\n`ls -l file`."


def test_a_command_longer_than_a_line_gets_a_line_of_its_own() -> None:
    assert wrapped("a `much too long command` b", 10) == "a\n`much too long command`\nb"


@pytest.mark.parametrize("text", ["", " ", "word", "\n", "a\n\nb", "`", "x" * 99])
def test_text_without_a_break_point_is_unchanged(text: str) -> None:
    assert wrapped(text, 10) == text.rstrip(" ") or wrapped(text, 10) == text


def test_wide_letters_take_two_columns_and_combining_ones_none() -> None:
    assert width_of("日本") == 4
    assert width_of("a\u030a") == 1
    assert wrapped("日本 日本 日本", 9) == "日本 日本\n日本"

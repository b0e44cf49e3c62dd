"""`smtpsetup explain`: what every error code means, offline and in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    from tests.conftest import Home

KEYS = {"code", "stage", "exit_code", "retry", "text", "causes", "steps", "url"}


@pytest.mark.parametrize("language", ["en", "sv"])
def test_every_code_is_explained(home: Home, language: str) -> None:
    listed = home.run("explain", "--json", SMTPSETUP_LANG=language).json["result"]
    assert [one["code"] for one in listed] == sorted(EXIT_CODES)
    assert {frozenset(one) for one in listed} == {frozenset(KEYS)}
    texts = [text for one in listed for text in (one["text"], *one["causes"], *one["steps"])]
    assert all(texts)
    assert not [text for text in texts if "{" in text.replace("{docs}", "{")]
    assert all(one["exit_code"] == EXIT_CODES[one["code"]] for one in listed)


def test_the_languages_differ(home: Home) -> None:
    english, swedish = (home.run("explain", SMTPSETUP_LANG=language).out for language in ("en", "sv"))
    assert not set(english.splitlines()) & set(swedish.splitlines()) - {""}


def test_a_code_is_explained_with_what_to_do(home: Home) -> None:
    shown = home.run("explain", "auth.bad-credentials").out
    assert "Possible causes:" in shown
    assert "1. Enter the password again: `smtpsetup login ACCOUNT`, or `smtpsetup configure ADDRESS`" in shown
    assert "`smtpsetup sandbox --fault auth.bad-credentials`" in shown
    assert home.run("explain", "(auth.bad-credentials)").out == shown  # as it stands below an error


def test_an_unknown_code_gets_a_suggestion(home: Home) -> None:
    for typed, meant in (("auth.bad-credential", "auth.bad-credentials"), ("hostname", "tls.hostname-mismatch")):
        run = home.run("explain", typed)
        assert (run.code, meant in run.err) == (2, True)

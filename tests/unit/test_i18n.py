"""The language comes from the first locale variable that is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.core import i18n

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SMTPSETUP_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for cached in (i18n.language, i18n._catalogue):
        cached.cache_clear()
    yield
    for cached in (i18n.language, i18n._catalogue):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("env", "language"),
    [
        ({}, "en"),
        ({"LANG": "sv_SE.UTF-8"}, "sv"),
        ({"LANG": "sv"}, "sv"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "sv_SE.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "sv_SE.UTF-8"}, "sv"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "de:sv:en"}, "sv"),
        ({"SMTPSETUP_LANG": "en", "LANGUAGE": "sv", "LANG": "sv_SE.UTF-8"}, "en"),
        ({"SMTPSETUP_LANG": "sv", "LC_ALL": "C"}, "sv"),
        ({"SMTPSETUP_LANG": "../../x", "LANG": "sv"}, "en"),
    ],
)
def test_the_first_locale_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], language: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert i18n.language() == language


def test_texts_are_translated_in_the_plural_form_of_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPSETUP_LANG", "sv")
    assert i18n.gettext("Error: ") == "Fel: "
    assert i18n.ngettext("Cause:", "Possible causes:", 1) == "Orsak:"
    assert i18n.ngettext("Cause:", "Possible causes:", 2) != "Possible causes:"
    assert i18n.gettext("a text that nobody translated") == "a text that nobody translated"


@pytest.mark.parametrize(("tag", "shown"), [("en", "6.8"), ("sv", "6,8")])
def test_decimals_have_the_separator_of_the_language(monkeypatch: pytest.MonkeyPatch, tag: str, shown: str) -> None:
    monkeypatch.setenv("SMTPSETUP_LANG", tag)
    assert i18n.decimal(6.84, 1) == shown
    assert i18n.decimal(7, 0) == "7"

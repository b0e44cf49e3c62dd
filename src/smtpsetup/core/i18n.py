"""The language a person reads: English in the code, every other language in a gettext catalogue."""

from __future__ import annotations

import gettext as _gettext
import os
from functools import cache

DOMAIN = "smtpsetup"
LOCALE_DIR = os.path.join(os.path.dirname(os.path.dirname(__file__)), "locale")
LANGUAGES = ("en", "sv")
_WITH_COMMA = ("sv",)
_VARIABLES = ("SMTPSETUP_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@cache
def language() -> str:
    """The language to speak, one of LANGUAGES, from the first environment variable that is set."""
    for variable in _VARIABLES:
        wanted = os.environ.get(variable, "")
        if wanted:
            for choice in wanted.split(":"):
                tag = choice.replace("-", "_").partition(".")[0].partition("_")[0].lower()
                if tag in LANGUAGES:
                    return tag
            return "en"
    return "en"


@cache
def _catalogue() -> _gettext.NullTranslations:
    if language() == "en":
        return _gettext.NullTranslations()
    return _gettext.translation(DOMAIN, LOCALE_DIR, languages=[language()])


def gettext(message: str) -> str:
    """`message` in the person's language."""
    return _catalogue().gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The form of the message that suits `n`, in the person's language."""
    return _catalogue().ngettext(singular, plural, n)


def decimal(number: float, places: int) -> str:
    """A number with so many decimals, and the mark before them that the person's language has."""
    text = f"{number:.{places}f}"
    return text.replace(".", ",") if language() in _WITH_COMMA else text


def N_(message: str) -> str:  # noqa: N802  the name that gettext tools extract by
    """Marks `message` for the catalogue without translating it yet."""
    return message


def translate_click() -> None:
    """Let Click's own texts (usage, prompts, errors) come from the same catalogue."""
    if language() != "en":
        os.environ["LANGUAGE"] = language()
        _gettext.bindtextdomain(DOMAIN, LOCALE_DIR)
        _gettext.textdomain(DOMAIN)

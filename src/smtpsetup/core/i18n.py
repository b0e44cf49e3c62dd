"""Translation: texts in the code are English, every other language has a gettext catalogue."""

from __future__ import annotations

import gettext as _gettext
import io
import os
from functools import cache

DOMAIN = "smtpsetup"
LOCALE_DIR = os.path.join(os.path.dirname(os.path.dirname(__file__)), "locale")
LANGUAGES = ("en", "sv")
_DECIMAL_COMMA = ("sv",)
_VARIABLES = ("SMTPSETUP_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@cache
def language() -> str:
    """The user's language, one of LANGUAGES, from the first environment variable that is set."""
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
    if _is_packed():
        import pkgutil  # in a zipapp only

        catalogue = pkgutil.get_data("smtpsetup", f"locale/{language()}/LC_MESSAGES/{DOMAIN}.mo")
        return _gettext.GNUTranslations(io.BytesIO(catalogue or b""))
    return _gettext.translation(DOMAIN, LOCALE_DIR, languages=[language()])


def _is_packed() -> bool:
    """Whether the catalogues are in a zipapp, which `gettext` cannot open."""
    return not os.path.isdir(LOCALE_DIR)


def gettext(message: str) -> str:
    """`message` in the user's language."""
    return _catalogue().gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The singular or plural form for `n`, in the user's language."""
    return _catalogue().ngettext(singular, plural, n)


def decimal(number: float, places: int) -> str:
    """A number with that many decimals and the decimal mark of the user's language."""
    text = f"{number:.{places}f}"
    return text.replace(".", ",") if language() in _DECIMAL_COMMA else text


def N_(message: str) -> str:  # noqa: N802  gettext's own name, by which tools extract texts
    """Mark `message` for the catalogue; it is translated later."""
    return message


def translate_click() -> None:
    """Make Click translate its own texts (usage, prompts, errors) with the same catalogue."""
    if language() != "en" and _is_packed():
        _gettext.dgettext = lambda domain, message: gettext(message)  # noqa: ARG005  as in gettext
        _gettext.dngettext = lambda domain, msgid1, msgid2, n: ngettext(msgid1, msgid2, n)  # noqa: ARG005  as above
    elif language() != "en":
        os.environ["LANGUAGE"] = language()
        _gettext.bindtextdomain(DOMAIN, LOCALE_DIR)
        _gettext.textdomain(DOMAIN)

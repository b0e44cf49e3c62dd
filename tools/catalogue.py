"""Keep the Swedish catalogue in step with the code: `update` adds new texts, `check` fails where one is missing.

Click's texts (usage, prompts, errors) are in the catalogue, too.
"""

from __future__ import annotations

import datetime
import importlib.util
import io
import string
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "smtpsetup"
PO_FILE = SOURCE / "locale" / "sv" / "LC_MESSAGES" / "smtpsetup.po"
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CLICK_MODULES = ("core", "decorators", "exceptions", "formatting", "parser", "termui", "types")
# what Click 8.1, the oldest that may be installed, says to people otherwise than the Click of constraints.txt
OLDER_CLICK = {
    "No such option: {name}": "exceptions",
    "Error: The value you entered was invalid.": "termui",
    "Error: {e.message}": "termui",
    "{value!r} is not a valid boolean.": "types",
}
KEYWORDS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}


def extracted() -> Catalog:
    """Every text in the code and in Click."""
    catalogue = Catalog(domain="smtpsetup", project="smtpsetup")
    for name, _line, message, comments, _context in extract_from_dir(SOURCE, keywords=KEYWORDS):
        catalogue.add(message, locations=[(f"src/smtpsetup/{name}", 0)], auto_comments=comments)
    spec = importlib.util.find_spec("click")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("click is not installed")
    for module in CLICK_MODULES:
        path = Path(spec.submodule_search_locations[0], f"{module}.py")
        for _line, message, comments, _context in extract_from_file("python", path, keywords=KEYWORDS):
            catalogue.add(message, locations=[(f"click/{module}.py", 0)], auto_comments=comments)
    for message, module in OLDER_CLICK.items():
        catalogue.add(message, locations=[(f"click/{module}.py", 0)])
    return catalogue


def loaded() -> Catalog:
    """The Swedish catalogue on disk."""
    if not PO_FILE.exists():
        return Catalog(locale="sv", domain="smtpsetup", project="smtpsetup", fuzzy=False)
    with PO_FILE.open("rb") as file:
        return read_po(file, locale="sv", domain="smtpsetup")


def as_po(catalogue: Catalog) -> bytes:
    """The catalogue as text, without line numbers and dates."""
    buffer = io.BytesIO()
    write_po(
        buffer, catalogue, width=140, sort_output=True, ignore_obsolete=True, include_lineno=False, omit_header=True
    )
    header = 'msgid ""\nmsgstr ""\n"Language: sv\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n'
    return (
        header + '"Content-Type: text/plain; charset=utf-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n\n'
    ).encode() + buffer.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """The catalogue in the binary form of gettext, with a fixed date."""
    catalogue.creation_date = catalogue.revision_date = EPOCH
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def fields(text: str) -> set[str]:
    """The names of the fields in braces."""
    return {name for _literal, name, _spec, _conversion in string.Formatter().parse(text) if name is not None}


def faults(catalogue: Catalog) -> list[str]:
    """Texts without a translation, and translations whose braces differ from the text's."""
    found = []
    for message in catalogue:
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple | list) else (message.id,)
        texts = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if not all(texts) or message.fuzzy:
            found.append(f"not translated: {ids[0]!r}")
        elif fields("".join(filter(None, texts))) != fields("".join(ids)):
            found.append(f"other fields: {ids[0]!r} -> {texts[0]!r}")
    return found


def main() -> None:
    """Run `update` or `check`."""
    catalogue = loaded()
    catalogue.update(extracted(), no_fuzzy_matching=True)
    po_text = as_po(catalogue)
    mo_file = PO_FILE.with_suffix(".mo")
    if sys.argv[1:] == ["update"]:
        PO_FILE.write_bytes(po_text)
        mo_file.write_bytes(as_mo(loaded()))
        print(f"{len(catalogue)} texts, {len(faults(loaded()))} to fix")
        return
    wrong = faults(catalogue)
    if po_text != PO_FILE.read_bytes():
        wrong.append("the catalogue does not hold exactly the texts of the code")
    elif as_mo(loaded()) != mo_file.read_bytes():
        wrong.append("smtpsetup.mo is not what smtpsetup.po says")
    if wrong:
        sys.exit(
            "\n".join(
                [*wrong, "Run `make translations`, then fill in src/smtpsetup/locale/sv/LC_MESSAGES/smtpsetup.po."]
            )
        )


if __name__ == "__main__":
    main()

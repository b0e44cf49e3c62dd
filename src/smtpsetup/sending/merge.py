"""One mail for each row of a table: `$column` in texts, addresses and paths is replaced by the cell."""

from __future__ import annotations

import codecs
import csv
import html
import io
import os
import re
from string import Template
from typing import TYPE_CHECKING

from smtpsetup.address.address_list import Entry, entries
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.sending.batch_input import Item, Keys, LineError, bounded
from smtpsetup.sending.drafts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HIDDEN = 0xF0000  # the first of the private code points that stand for `${columns}` while addresses are split
_DELIMITERS = (";", ",", "\t", "|")
_TO_COLUMNS = (
    "to",
    "till",
    "email",
    "e-mail",
    "epost",
    "e-post",
    "mail",
    "mejl",
    "address",
    "adress",
    "mejladress",
    "e-postadress",
)


class _Columns(Template):
    """`$name` with letters of any language, `${any name}` with other characters, `$$` for a dollar sign."""

    idpattern = r"[^\W\d]\w*"
    braceidpattern = r"[^{}]+"
    flags = re.UNICODE


def rows(data: bytes) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with the number of the line on which each begins. Raises SmtpsetupError.

    Encoding and delimiter are detected.
    """
    text = _decoded(data)
    found: list[tuple[int, dict[str, str]]] = []
    names: list[str] = []
    line = 0
    try:
        for line, cells in _cells(text, _delimiter(text)):
            if not names:
                names = _names(line, cells)
            elif len(cells) != len(names):
                raise LineError(
                    line,
                    _("it has {n} columns, but the first line has {wanted}.").format(n=len(cells), wanted=len(names)),
                )
            else:
                found.append((line, dict(zip(names, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise LineError(line + 1, _("it is not CSV: {reason}.").format(reason=error)) from error
    if not names:
        raise SmtpsetupError(
            "config.invalid", _("The table is empty: its first line must name the columns."), exit_code=EX_DATAERR
        )
    return found


def _delimiter(text: str) -> str:
    """The delimiter: the one that gives the most cells in the first line that is not empty."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))


def _cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    start = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1


def _names(line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise LineError(line, _("the column {name} is there twice.").format(name=twice))
    return names


def _decoded(data: bytes) -> str:
    """The text of a table. Excel writes UTF-8 with a byte order mark, UTF-16, or Windows-1252."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                message = _("The table says that it is {encoding}, but it is not.").format(
                    encoding=encoding.removesuffix("-sig").upper()
                )
                raise SmtpsetupError("config.invalid", message, exit_code=EX_DATAERR) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def merged(
    table: list[tuple[int, dict[str, str]]], template: Parts, root: str | None = None
) -> Iterator[Item | LineError]:
    """A mail or an error for each row. Raises SmtpsetupError for a column that does not exist.

    `root` is that of `bounded`.
    """
    if not table:
        return
    keys = Keys()
    names = list(table[0][1])
    if not template.to:
        template = _with_recipient(template, names)
    for line, row in table:
        fill = _filler(row)
        key = keys.key(row, template)
        own_id = row.get("id") or None
        try:
            parts = _filled(template, fill, row, root)
        except SmtpsetupError as error:
            yield LineError(line, error.message, cause=error)
            continue
        except KeyError as error:
            raise _no_column(str(error.args[0]), names) from error
        except ValueError as error:
            raise SmtpsetupError(
                "config.invalid",
                _("There is a $ with no column behind it."),
                hints=(_("Write $$ for a dollar sign, and ${column} where a letter follows."),),
                exit_code=EX_DATAERR,
            ) from error
        if not any(address.strip() for address in (*parts.to, *parts.cc, *parts.bcc)):
            yield LineError(line, _("it has no recipient."))
            continue
        yield Item(line, own_id, key, parts)


def _with_recipient(template: Parts, names: list[str]) -> Parts:
    column = next((name for name in names if name.lower() in _TO_COLUMNS), None)
    if column is None:
        raise SmtpsetupError(
            "config.invalid",
            _("It is not clear which column has the recipients."),
            hints=(_("Say it: `--to '$column'`. The columns are: {names}.").format(names=", ".join(names)),),
            exit_code=EX_DATAERR,
        )
    return template._replace(to=(f"${{{column}}}",))


def _no_column(name: str, names: list[str]) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("The table has no column {name}.").format(name=name),
        hints=(_("The columns are: {names}. Write $$ for a dollar sign.").format(names=", ".join(names)),),
        exit_code=EX_DATAERR,
    )


def _filler(row: dict[str, str]) -> Callable[[str], str]:
    return lambda text: _Columns(text).substitute(row) if "$" in text else text


def _filled(template: Parts, fill: Callable[[str], str], row: dict[str, str], root: str | None) -> Parts:
    as_html = _filler({name: html.escape(value) for name, value in row.items()})
    below = "" if root is None else os.path.realpath(root)
    filled = [_path(path, fill) for path in template.attach]
    attach = tuple(bounded(path, root) for path, _own in filled)
    inline = tuple((name, bounded(path, root)) for name, path in template.inline)
    # of two directories that a path is below, the longer one is the smaller
    within = [(path, max(own, below, key=len)) for path, (_filled_path, own) in zip(attach, filled, strict=True)]
    within += [(path, below) for _name, path in inline]
    return Parts(
        to=_addresses(template.to, fill),
        cc=_addresses(template.cc, fill),
        bcc=_addresses(template.bcc, fill),
        reply_to=_addresses(template.reply_to, fill),
        from_="".join(_addresses((template.from_,), fill)) if template.from_ else None,
        subject=fill(template.subject),
        body=fill(template.body),
        html=as_html(template.html),
        attach=attach,
        inline=inline,
        headers=tuple(fill(one) for one in template.headers),
        within=tuple(within),
    )


def _addresses(templates: tuple[str, ...], fill: Callable[[str], str]) -> tuple[str, ...]:
    """The addresses with cells filled in, empty ones left out. Whatever a cell has, a name stays one name.

    Raises SmtpsetupError where a cell has more than one address.
    """
    found = []
    for name, address in (pair for text in templates for pair in _single(text)):
        filled = fill(address).strip()
        if not filled:
            continue
        if len(entries(filled)) > 1 or (name and any(char in filled for char in "<>")):
            raise SmtpsetupError(
                "config.invalid",
                _("{text} is more than one address: a cell of the table may hold only one.").format(
                    text=plain_text(filled)
                ),
                hints=(_("Give each address a column of its own: `--to '$email1' --to '$email2'`."),),
                exit_code=EX_DATAERR,
            )
        words = fill(name).strip().replace("\\", "\\\\").replace('"', '\\"')
        found.append(f'"{words}" <{filled}>' if words else filled)
    return tuple(found)


def _single(text: str) -> list[Entry]:
    """The recipients of a template; commas inside `${column names}` do not separate."""
    columns: list[str] = []

    def hidden(match: re.Match[str]) -> str:
        columns.append(match[0])
        return chr(_HIDDEN + len(columns) - 1)

    found = entries(re.sub(r"\$\{[^{}]*\}", hidden, text))
    shown = dict(enumerate(columns, _HIDDEN))
    return [Entry(entry.name.translate(shown), entry.address.translate(shown)) for entry in found]


def _path(path: str, fill: Callable[[str], str]) -> tuple[str, str]:
    """A path with cells filled in, and the directory that it must be below, `""` where it has no cells.

    The table may come from strangers: the path must be below the directory before the first `$` of the template.
    """
    filled = fill(path)
    if filled == path:
        return path, ""
    own = os.path.realpath(os.path.dirname(path.partition("$")[0]) or ".")
    if "\0" in filled or os.path.commonpath([own, os.path.realpath(filled)]) != own:
        raise SmtpsetupError(
            "config.invalid",
            _("The attachment {path} is outside {directory}.").format(path=filled, directory=own),
            hints=(_("A table can name files only below the directory that stands before the first $ of --attach."),),
            exit_code=EX_DATAERR,
        )
    return filled, own

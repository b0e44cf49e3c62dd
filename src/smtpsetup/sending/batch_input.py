"""The mails of a batch, from JSON lines; everything is checked before anything is sent."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.address.address import MalformedAddressError
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.sending.drafts import Parts, text_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LISTS = ("to", "cc", "bcc", "attach", "reply_to")
_TEXTS = ("subject", "body", "html", "html_file", "from")
_LONGEST_PATH = 300  # characters; what is longer is a text
_LOOKS_LIKE_A_PATH = re.compile(r"[./~]*[\w ./~-]*(?:\.html?|/[\w.-]+)\s*", re.IGNORECASE)
_KEYS = (*_LISTS, *_TEXTS, "headers", "id")


class Item(NamedTuple):
    """One mail of many: the number of its line, from 1, and the id that the user gave it.

    `key` is the same when the file is read again.
    """

    line: int
    id: str | int | None
    key: str
    parts: Parts


class LineError(SmtpsetupError):
    """A line that cannot be used; `line` is its number, from 1."""

    def __init__(self, line: int, reason: str, *, cause: SmtpsetupError | None = None) -> None:
        """`cause` gives the exit code and the hints."""
        if isinstance(cause, MalformedAddressError):
            reason = f"{cause.text}: {reason}"
        message = _("Line {line}: {reason}").format(line=line, reason=reason)
        super().__init__(
            "config.invalid",
            message,
            hints=cause.hints if cause else (),
            exit_code=cause.exit_code if cause else EX_DATAERR,
        )
        self.line = line


class Keys:
    """Keys for mails, derived from their content; equal mails get different keys."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def key(self, *identity: object) -> str:
        """The key of the next mail with this identity."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:24]
        number = self._seen[digest] = self._seen.get(digest, 0) + 1
        return digest if number == 1 else f"{digest}-{number}"


def json_lines(lines: Iterable[bytes], from_: str | None, root: str | None = None) -> Iterator[Item | LineError]:
    """The mails of JSON lines, and an error for each line that cannot be used; blank lines are skipped.

    `root` is that of `bounded`.
    """
    keys = Keys()
    ids: dict[object, int] = {}
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        try:
            row = _parsed(number, raw)
            _note_id(ids, row.get("id"), number)
            yield Item(number, row.get("id"), keys.key(row), _parts(number, row, from_, root))
        except LineError as error:
            yield error


def _note_id(ids: dict[object, int], own_id: object, line: int) -> None:
    if own_id is not None and own_id in ids:
        raise LineError(line, _("the id {id} stands in line {line} already.").format(id=own_id, line=ids[own_id]))
    ids[own_id] = line


def _json_in(number: int, raw: bytes) -> object:
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        raise LineError(
            number, _("it is not JSON; the fault is at column {column}.").format(column=error.colno)
        ) from error
    except UnicodeDecodeError as error:
        raise LineError(number, _("it is not UTF-8.")) from error
    except RecursionError as error:
        raise LineError(number, _("it is not JSON: {reason}.").format(reason=_("it is nested too deeply"))) from error
    except ValueError as error:
        raise LineError(number, _("it is not JSON: {reason}.").format(reason=error)) from error


def _parsed(number: int, raw: bytes) -> dict[str, Any]:
    row = _json_in(number, raw)
    if not isinstance(row, dict):
        raise LineError(number, _("it is not a JSON object."))
    unknown = [key for key in row if key not in _KEYS]
    if unknown:
        known = ", ".join(_KEYS)
        raise LineError(
            number, _("the key {key} is not known; these are: {known}.").format(key=unknown[0], known=known)
        )
    for key in _LISTS:
        values = row.get(key, [])
        if not isinstance(values, str) and not (
            isinstance(values, list) and all(isinstance(value, str) for value in values)
        ):
            raise LineError(
                number, _("{key} must be {wanted}.").format(key=key, wanted=_("a string or a list of strings"))
            )
    for key in _TEXTS:
        if not isinstance(row.get(key, ""), str):
            raise LineError(number, _("{key} must be {wanted}.").format(key=key, wanted=_("a string")))
    headers = row.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise LineError(number, _("{key} must be {wanted}.").format(key="headers", wanted=_("an object of strings")))
    if isinstance(row.get("id", ""), bool) or not isinstance(row.get("id", ""), str | int):
        raise LineError(number, _("{key} must be {wanted}.").format(key="id", wanted=_("a string or a whole number")))
    return row


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated keys. Raises ValueError."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(
            _("{key} stands there twice").format(key=next(name for name in names if names.count(name) > 1))
        )
    return row


def bounded(path: str, root: str | None) -> str:
    """A path from a line or a table; with a `root`, resolved and below that directory. Raises SmtpsetupError."""
    if root is None:
        return path
    try:
        own, real = os.path.realpath(root), os.path.realpath(path)
        is_inside = os.path.commonpath([own, real]) == own
    except ValueError:  # a NUL in the path
        own, real, is_inside = root, path, False
    if not is_inside:
        raise SmtpsetupError(
            "config.invalid",
            _("{path} is outside {directory}.").format(path=plain_text(path), directory=own),
            hints=(_("With --root, mails may use only files inside that directory."),),
            exit_code=EX_DATAERR,
        )
    return real


def _html(number: int, row: dict[str, Any], root: str | None) -> str:
    html: str = row.get("html", "")
    if row.get("html_file") and html:
        raise LineError(number, _("give the HTML in html or in html_file, not in both."))
    if html and len(html) < _LONGEST_PATH and "<" not in html and _LOOKS_LIKE_A_PATH.fullmatch(html):
        raise LineError(
            number, _("html must hold the HTML itself, but its value looks like a path. To name a file, use html_file.")
        )
    return text_in(bounded(row["html_file"], root)) if row.get("html_file") else html


def _parts(number: int, row: dict[str, Any], from_: str | None, root: str | None) -> Parts:
    lists = {key: (value,) if isinstance(value := row.get(key, []), str) else tuple(value) for key in _LISTS}
    try:
        html = _html(number, row, root)
        lists["attach"] = tuple(bounded(path, root) for path in lists["attach"])
    except LineError:
        raise
    except SmtpsetupError as error:
        raise LineError(number, error.message, cause=error) from error
    return Parts(
        **lists,
        from_=row.get("from", from_),
        subject=row.get("subject", ""),
        body=row.get("body", ""),
        html=html,
        headers=tuple(f"{name}: {value}" for name, value in row.get("headers", {}).items()),
        within=tuple((path, os.path.realpath(root)) for path in lists["attach"]) if root is not None else (),
    )

"""Edits to a TOML text that change one table or value and keep every other byte."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class _Statement(NamedTuple):
    """The text of a header, a key with its value, or a comment. `table` is the path of its table."""

    text: str
    table: tuple[str, ...]
    is_header: bool
    value: dict[str, Any]


def _statements(text: str) -> Iterator[_Statement]:
    """The statements of a TOML text. Lines are joined until `tomllib` accepts them. Raises ValueError."""
    table: tuple[str, ...] = ()
    part = ""
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        part += line
        try:
            value = tomllib.loads(part)
        except ValueError:
            continue
        is_header = part.lstrip().startswith("[")
        if is_header:
            table = _path(value)
        yield _Statement(part, table, is_header, value)
        part = ""
    if part:
        raise ValueError(part)


def _path(value: dict[str, Any]) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    inner: Any = value
    while isinstance(inner, dict) and inner:
        key, inner = next(iter(inner.items()))
        path = (*path, key)
        if isinstance(inner, list):
            inner = inner[0]
    return path


def with_table(text: str, path: tuple[str, ...], values: dict[str, Any], owned: Collection[str]) -> str:
    """`text` with exactly `values` for the `owned` keys of the table at `path`. Raises SmtpsetupError."""
    left = dict(values)
    kept: list[str] = []
    insert_at: int | None = None
    for statement in _statements(text):
        if statement.table[: len(path)] != path:
            kept.append(statement.text)
        elif statement.table == path:
            kept += _rewritten(statement, values, left, owned, text)
            insert_at = len(kept) if statement.value else insert_at
        elif statement.table[len(path)] not in owned:
            kept.append(statement.text)
    if insert_at is not None:
        kept.insert(insert_at, _with_line_ends_of(text, _dumped(left)))
    else:
        end = "" if not kept or kept[-1].endswith("\n") else "\n"
        kept.append(_with_line_ends_of(text, end + ("\n" if kept else "") + _header(path) + _dumped(values)))
    return _checked("".join(kept), text, path, values, owned)


def _rewritten(
    statement: _Statement, values: dict[str, Any], left: dict[str, Any], owned: Collection[str], text: str
) -> list[str]:
    """The new text of a statement in the changed table. A key that it writes is removed from `left`."""
    whole = statement.text if statement.text.endswith("\n") else statement.text + "\n"
    if statement.is_header or not statement.value:
        return [whole]
    key, value = next(iter(statement.value.items()))
    if key not in owned:
        return [whole]
    if key not in left:
        return []
    del left[key]
    return [whole] if value == values[key] else [_with_line_ends_of(text, _dumped({key: values[key]}))]


def without_table(text: str, path: tuple[str, ...]) -> str:
    """`text` without the table at `path` and the tables inside it. Raises SmtpsetupError."""
    kept = [statement.text for statement in _statements(text) if statement.table[: len(path)] != path]
    return _checked("".join(kept), text, path, None)


def with_root_value(text: str, key: str, value: str | dict[str, str] | None) -> str:
    """`text` with a value before the first table, or without it for None. Raises SmtpsetupError."""
    line = _with_line_ends_of(text, _dumped({key: value})) if value is not None else ""
    kept: list[str] = []
    placed = False
    for statement in _statements(text):
        if not statement.table and key in statement.value:
            kept.append(line)
            placed = True
        else:
            kept.append(statement.text)
    if not placed and line:
        kept.insert(0, line + _with_line_ends_of(text, "\n" if kept else ""))
    return _checked("".join(kept), text, (key,), value)


def _header(path: tuple[str, ...]) -> str:
    """A header such as `[a."b.c"]`, quoted where TOML needs it."""
    import tomli_w  # only for a change to the configuration

    table: dict[str, Any] = {}
    for key in reversed(path):
        table = {key: table}
    return tomli_w.dumps(table)


def _dumped(values: dict[str, Any]) -> str:
    """One line for each key; a table such as `secret` is an inline table."""
    import tomli_w

    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{key} = {{ {', '.join(tomli_w.dumps(value).splitlines())} }}\n")
        else:
            lines.append(tomli_w.dumps({key: value}))
    return "".join(lines)


def _with_line_ends_of(text: str, added: str) -> str:
    return added.replace("\n", "\r\n") if "\r\n" in text else added


def _checked(after: str, before: str, path: tuple[str, ...], value: Any, owned: Collection[str] = ()) -> str:  # noqa: ANN401  any TOML value
    """`after`. Raises SmtpsetupError if it differs from `before` in anything but `path`."""
    wanted = tomllib.loads(before)
    parent = wanted
    for key in path[:-1]:
        parent = parent.setdefault(key, {})
    if value is None:
        parent.pop(path[-1], None)
    elif isinstance(value, dict):
        foreign = {key: kept for key, kept in parent.get(path[-1], {}).items() if key not in owned}
        parent[path[-1]] = {**foreign, **value}
    else:
        parent[path[-1]] = value
    try:
        is_right = _without_empty(tomllib.loads(after)) == _without_empty(wanted)
    except ValueError:
        is_right = False
    if not is_right:
        raise SmtpsetupError(
            "config.invalid",
            _("The configuration writes {key} in a form that smtpsetup cannot change.").format(key=".".join(path)),
            hints=(
                _(
                    'Write every account as a table of its own, such as [accounts."info@mittforetag.se"]. Nothing was '
                    "changed."
                ),
            ),
        )
    return after


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value != {}}

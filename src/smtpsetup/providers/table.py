"""The provider table: rows of `providers.toml`, found by domain, id or host. docs/providers.md has the keys."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any

from smtpsetup import DOCUMENTATION
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.providers import schema
from smtpsetup.providers.row import Provider, provider_of_row

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator


_ROW_HEADER = "[[provider]]\n"
_SUFFIX_LABELS = 8  # labels that an MX suffix may have
_ADDRESS_IN_NAME = r"(?<!\d)\d{1,3}([.-])\d{1,3}\1\d{1,3}\1\d{1,3}(?!\d)"


class Table:
    """The shipped rows, and those of `own_files`, which add to them and replace them.

    Of several rows with the same id or domain, the one in the last file wins; a file need not exist. Shipped rows are
    parsed when they are needed. Methods raise SmtpsetupError for a fault in a row.
    """

    def __init__(
        self, today: datetime.date, *, own_files: tuple[str, ...] = (), shipped_file: str | None = None
    ) -> None:
        self._today = today
        self._shipped_file = shipped_file or shipped_table()
        self._text = _read(shipped_file) if shipped_file else _read_shipped()
        self._own: dict[str, Provider] = {}
        for file in own_files:
            if os.path.exists(file):
                _check_permissions(file)
                rows = {row.id: row for row in _rows(_read(file), file, today)}
                self._own = {**rows, **{key: row for key, row in self._own.items() if key not in rows}}

    def by_domain(self, domain: str) -> Provider | None:
        """The provider of a mail domain (lower case, A-labels). `*.example.com` in a row means the names below it."""
        labels = domain.split(".")
        for name in (domain, *(f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels) - 1))):
            for row in self._rows_with(name):
                if name in row.domains:
                    return row
        return None

    def by_id(self, provider_id: str) -> Provider | None:
        """The provider with that id."""
        return next((row for row in self._rows_with(provider_id) if row.id == provider_id), None)

    def by_name(self, name: str) -> Provider | None:
        """The provider with that id, name or domain, in any letter case."""
        wanted = name.strip().lower()
        return self.by_id(wanted) or next(
            (row for row in self.all() if wanted in (row.name.lower(), *row.domains)), None
        )

    def by_server_host(self, host: str, domain: str = "") -> Provider | None:
        """The provider that a submission host belongs to. Of several, one that has `domain`, then one with signs."""
        rows = [row for row in self._rows_with(host) if any(server.host == host for server in row.servers)]
        return min(rows, key=lambda row: (domain not in row.domains, not row.signs), default=None)

    def by_mx_host(self, host: str) -> Provider | None:
        """The provider that an MX host (lower case) belongs to, by its longest suffix in the table.

        `!clients.example.com` in a row says that hosts below that name are not the provider's own.
        """
        if re.search(_ADDRESS_IN_NAME, host):  # a line or machine of a customer, with a mail server of its own
            return None
        labels = host.split(".")[-_SUFFIX_LABELS:]
        for suffix in (".".join(labels[start:]) for start in range(len(labels) - 1)):
            for row in (*self._rows_with(suffix), *self._shipped_containing(f'"!{suffix}"')):
                if suffix in row.mx_suffixes:
                    return row
                if f"!{suffix}" in row.mx_suffixes:
                    return None
        return None

    def often_mistyped(self) -> tuple[str, ...]:
        """The domains of large providers that are often misspelt."""
        rows = (*self._own.values(), *self._shipped_containing("\noften_mistyped = ["))
        return tuple(name for row in rows for name in row.often_mistyped)

    def with_signs(self) -> tuple[Provider, ...]:
        """The rows that list DNS records of their customers."""
        return (*(row for row in self._own.values() if row.signs), *self._shipped_containing("\nsigns = ["))

    def ids(self) -> list[str]:
        """The ids of all rows, without parsing the shipped ones."""
        return sorted({*self._own, *re.findall(r'^id = "([^"]+)"', self._text, re.MULTILINE)})

    def all(self) -> tuple[Provider, ...]:
        """Every row, those of other files before the shipped ones."""
        return (
            *self._own.values(),
            *(row for row in _rows(self._text, self._shipped_file, self._today) if row.id not in self._own),
        )

    def _rows_with(self, value: str) -> Iterator[Provider]:
        """The rows of other files, then the shipped ones that contain `value` as a quoted string."""
        yield from self._own.values()
        yield from self._shipped_containing(f'"{value}"')

    def _shipped_containing(self, wanted: str) -> Iterator[Provider]:
        """Rows whose text contains `wanted`. Only these are parsed, which keeps `identify` fast."""
        position = self._text.find(wanted)
        while position >= 0:
            start = self._text.rfind("\n" + _ROW_HEADER, 0, position) + 1
            end = self._text.find("\n" + _ROW_HEADER, position)
            end = len(self._text) if end < 0 else end
            for row in _rows(self._text[start:end], self._shipped_file, self._today):
                if row.id not in self._own:
                    yield row
            position = self._text.find(wanted, end)


def shipped_table() -> str:
    """The path of the table: in the package, or, where that is in `src` of the repository, at its top.

    The package may be in a zip file. No file near it is taken for the table, which decides where passwords are sent.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    repository, place = os.path.split(os.path.dirname(package))
    is_source = place == "src" and os.path.isdir(package) and os.path.isfile(os.path.join(repository, "pyproject.toml"))
    return os.path.join(repository if is_source else package, "providers.toml")


def _read_shipped() -> str:
    path = shipped_table()
    if os.path.isdir(os.path.dirname(path)):
        return _read(path)
    from importlib import resources  # 10 ms; only where the package is in a zip file

    return resources.files("smtpsetup").joinpath("providers.toml").read_text(encoding="utf-8")


def _read(path: str) -> str:
    if not os.path.isfile(path):
        raise _unreadable(path, _("it is not a regular file"))
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, reason_of(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, _("it is not UTF-8")) from error


def _check_permissions(path: str) -> None:
    """Raise SmtpsetupError for a table that others may change, since it decides where passwords are sent."""
    if sys.platform == "win32":
        from smtpsetup.state import windows_acl  # only on its platform

        hint, is_safe = windows_acl.hint(path), not windows_acl.others_have(path, windows_acl.WRITE)
    else:
        info = os.stat(path)
        import shlex  # for an error only

        hint = _("Make it yours alone to change: `chmod go-w {path}`.").format(path=shlex.quote(path))
        is_safe = info.st_uid in (0, os.geteuid()) and not info.st_mode & 0o022
    if not is_safe:
        raise SmtpsetupError(
            "config.permissions",
            _("Others may change the provider table {path}.").format(path=path),
            causes=(_("It names the servers that passwords are sent to, so only you may change it."),),
            hints=(hint,),
        )


def _unreadable(path: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("The provider table {path} cannot be read: {reason}.").format(path=path, reason=reason),
        hints=(_("Correct the file or move it away."),),
    )


def _rows(text: str, path: str, today: datetime.date) -> Iterator[Provider]:
    rows, faults = _parsed(text)
    if faults:
        raise SmtpsetupError(
            "config.invalid",
            _("The provider table {path} has a fault: {fault}.").format(path=path, fault=faults[0]),
            causes=tuple(faults[1:]),
            hints=(
                _("Correct the file or move it away. Every key is described in {docs}/providers.md.").format(
                    docs=DOCUMENTATION
                ),
            ),
        )
    for row in rows:
        yield provider_of_row(row, path, today)


def faults_of(path: str) -> tuple[int, list[str]]:
    """The number of rows in a table file, and its faults. Raises SmtpsetupError if the file cannot be read."""
    rows, faults = _parsed(_read(path))
    return len(rows), faults


def _parsed(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a table, and its faults; the rows are valid only if there are none."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return [], [str(error)]
    rows = table.get("provider", [])
    return rows if isinstance(rows, list) else [], schema.faults(table)

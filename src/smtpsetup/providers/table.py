"""The provider table: rows of `providers.toml`, found by domain, id or host. docs/providers.md has the keys."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup import DOCUMENTATION
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import language
from smtpsetup.core.model import Auth, ProviderStatus, Security, Server
from smtpsetup.providers import schema

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

    from smtpsetup.core.oauth_types import Endpoints

_ROW_HEADER = "[[provider]]\n"
_SUFFIX_LABELS = 8  # labels that an MX suffix may have
_ADDRESS_IN_NAME = r"(?<!\d)\d{1,3}([.-])\d{1,3}\1\d{1,3}\1\d{1,3}(?!\d)"
_AGED_DAYS = 365
_SUGGESTS_ONLY_DAYS = 3 * 365


class Refusal(NamedTuple):
    """The meaning of one of a provider's replies. `phrase` is lower case; `""` fits any text.

    A refusal has either `causes`, the likeliest first, or one cause in `note`.
    """

    code: int
    enhanced: str
    phrase: str
    error: str
    note: str
    causes: tuple[str, ...]


class Sign(NamedTuple):
    """A DNS record that the customers of a provider have.

    `type` is CNAME or TXT. `name` is relative to the domain. `value` is the target of a CNAME, or a word in a TXT.
    `counts_with_own_mx` says that the provider's customers have MX hosts in their own domain.
    """

    type: str
    name: str
    value: str
    counts_with_own_mx: bool = False

    @property
    def is_weak(self) -> bool:
        """Whether it shows only that the provider may send for the domain, as an SPF record does."""
        return not self.name


class Username(NamedTuple):
    """The form of a provider's user names; `label` is its term for a name that only the customer knows."""

    form: str
    value: str
    label: str
    note: str


class Citation(NamedTuple):
    """Where facts of a row were read.

    `date` is the day on which the source was written or last changed, None where that is not known. `still_listed` is
    the day on which a list that is kept up to date still had the entry.
    """

    at: str
    date: datetime.date | None
    still_listed: datetime.date | None
    note: str


class Provider(NamedTuple):
    """One row of the table, with the texts that are valid today, in the user's language.

    `last_checked` is the date of its newest source, None where no source has one. `is_aged` says that this is more than
    a year ago, `only_suggests` that no source of the last three years supports the row, so that its server must be
    confirmed. `has_closed` says that the service exists no more, `needs_paid_plan`
    that customers of a free plan cannot send from other programs.
    """

    id: str
    name: str
    domains: tuple[str, ...]
    mx_suffixes: tuple[str, ...]
    signs: tuple[Sign, ...]
    often_mistyped: tuple[str, ...]
    status: ProviderStatus
    servers: tuple[Server, ...]
    auth: tuple[Auth, ...]
    docs_url: str
    last_checked: datetime.date | None
    is_aged: bool
    only_suggests: bool
    has_closed: bool
    needs_paid_plan: bool
    confidence: str
    sources: tuple[Citation, ...]
    username: Username
    enable_steps: tuple[str, ...]
    enable_url: str
    limits: dict[str, int | str]
    from_policy: str
    notes: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    file: str
    oauth2: Endpoints | None = None

    @property
    def deserves_second_opinion(self) -> bool:
        """Whether the owner of the domain is to be asked about the server, too: the row is old, or sources were few."""
        return bool(self.servers) and (self.is_aged or self.confidence != "high")

    def limit(self, key: str) -> int | None:
        """One of the provider's limits, by a key of `schema.LIMITS`; None if it is not known."""
        limit = self.limits.get(key)
        return limit if isinstance(limit, int) else None


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
        yield _provider(row, path, today)


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


def _provider(row: dict[str, Any], path: str, today: datetime.date) -> Provider:
    """A row that fits the schema, as a Provider."""
    enable = row.get("enable", {})
    username = row["username"]
    sources = tuple(_citation(source) for source in row.get("sources", ()))
    dates = [source.date for source in sources if source.date]
    supported = [day for source in sources for day in (source.date, source.still_listed) if day]
    return Provider(
        id=row["id"],
        name=row["name"],
        domains=tuple(row["domains"]),
        mx_suffixes=tuple(row["mx_suffixes"]),
        signs=tuple(Sign(**sign) for sign in row.get("signs", ())),
        often_mistyped=tuple(row.get("often_mistyped", ())),
        status=ProviderStatus(row["status"]),
        servers=tuple(Server(place["host"], place["port"], Security(place["security"])) for place in row["servers"]),
        auth=tuple(Auth(auth) for auth in row["auth"]),
        docs_url=row["docs_url"],
        last_checked=max(dates, default=None),
        is_aged=not dates or (today - max(dates)).days > _AGED_DAYS,
        only_suggests=bool(sources) and (not supported or (today - max(supported)).days > _SUGGESTS_ONLY_DAYS),
        has_closed=row.get("has_closed", False),
        needs_paid_plan=row.get("needs_paid_plan", False),
        confidence=row["confidence"],
        sources=sources,
        username=Username(
            username["form"],
            username.get("value", ""),
            _translated(username.get("label")),
            _translated(username.get("note")),
        ),
        enable_steps=_valid_texts(enable.get("steps", ()), today),
        enable_url=enable.get("url", ""),
        limits={key: _translated(limit) if key == "note" else limit for key, limit in row.get("limits", {}).items()},
        from_policy=_translated(row.get("from_policy")),
        notes=_valid_texts(row.get("notes", ()), today),
        refusals=tuple(
            Refusal(
                refusal["code"],
                refusal.get("enhanced", ""),
                refusal.get("phrase", ""),
                refusal["error"],
                _translated(refusal.get("note")),
                _valid_texts(refusal.get("causes", ()), today),
            )
            for refusal in row.get("refusals", ())
        ),
        file=path,
        oauth2=_endpoints(row["oauth2"]) if "oauth2" in row else None,
    )


def _citation(source: dict[str, Any]) -> Citation:
    return Citation(source["at"], source.get("date"), source.get("still_listed"), source.get("note", ""))


def _endpoints(table: dict[str, Any]) -> Endpoints:
    from smtpsetup.core.oauth_types import Endpoints  # few rows have any

    parameters = tuple(table.get("parameters", {}).items())
    return Endpoints(**{**table, "scopes": tuple(table["scopes"]), "parameters": parameters})


def _translated(text: dict[str, str] | None) -> str:
    return text[language()] if text else ""


def _valid_texts(texts: Iterable[dict[str, Any]], today: datetime.date) -> tuple[str, ...]:
    """The texts that are valid on a day, in the user's language."""
    return tuple(_translated(text) for text in texts if text.get("from", today) <= today <= text.get("until", today))

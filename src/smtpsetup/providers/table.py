"""The provider table: rows of `providers.toml`, found by domain or id, validated as they are loaded (schema.

Docs/providers.md).
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

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
_SUFFIX_LABELS = 8  # of a host's name that a suffix can have


class Refusal(NamedTuple):
    """How one of a provider's own replies is to be understood. `phrase` is lower case, `""` where any text fits.

    `causes` are for a reply that has several, the likeliest on the day first; `note` is for one that has one.
    """

    code: int
    enhanced: str
    phrase: str
    error: str
    note: str
    causes: tuple[str, ...]


class Sign(NamedTuple):
    """A DNS record of a provider's customers.

    `type` (CNAME or TXT) at `name` below the domain, `""` for the domain itself.

    `value` is where a CNAME points, or a word of the text.
    """

    type: str
    name: str
    value: str

    @property
    def is_weak(self) -> bool:
        """Whether it says no more than that the provider may send for the domain."""
        return not self.name


class Username(NamedTuple):
    """The form of a provider's login name; `label` is the provider's word for one that only the customer knows."""

    form: str
    value: str
    label: str
    note: str


class Provider(NamedTuple):
    """One row of the table, its texts in the person's language.

    It has only those texts that are true on the day of the look-up.
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
    last_checked: datetime.date
    confidence: str
    sources: tuple[str, ...]
    username: Username
    enable_steps: tuple[str, ...]
    enable_url: str
    limits: dict[str, int | str]
    from_policy: str
    notes: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    file: str
    oauth2: Endpoints | None = None

    def limit(self, key: str) -> int | None:
        """How many the provider allows of something; None where that is not known."""
        limit = self.limits.get(key)
        return limit if isinstance(limit, int) else None


class Table:
    """The shipped rows and those of other files, which add to and replace them.

    Shipped rows are parsed when they are asked for.

    Of `own_files` (the system's, then the user's) those that exist are read; the last one that has an id or a domain
    wins.
    """

    def __init__(
        self, today: datetime.date, *, own_files: tuple[str, ...] = (), shipped_file: str | None = None
    ) -> None:
        self._today = today
        self._shipped_file = shipped_file or shipped_table()
        self._text = _read(self._shipped_file)
        self._own: dict[str, Provider] = {}
        for file in own_files:
            if os.path.exists(file):
                _refuse_foreign(file)
                rows = {row.id: row for row in _rows(_read(file), file, today)}
                self._own = {**rows, **{key: row for key, row in self._own.items() if key not in rows}}

    def by_domain(self, domain: str) -> Provider | None:
        """The provider of a mail domain (lower case, A-labels), or None."""
        labels = domain.split(".")
        below = [f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels) - 1)]
        is_national = len(labels) == 2 or labels[1:-1] in (["co"], ["com"])  # noqa: PLR2004  hotmail.se, hotmail.co.uk, but not live.mycompany.se
        family = [f"{labels[0]}.*"] if is_national else []
        for name in (domain, *below, *family):
            for row in (*self._own.values(), *self._shipped_with(name)):
                if name in row.domains:
                    return row
        return None

    def by_id(self, provider_id: str) -> Provider | None:
        """The provider of that id, or None."""
        if provider_id in self._own:
            return self._own[provider_id]
        return next((row for row in self._shipped_with(provider_id) if row.id == provider_id), None)

    def by_name(self, name: str) -> Provider | None:
        """The provider that a person means by its id, its name or a domain of its own, in any letter case, or None."""
        wanted = name.strip().lower()
        return self.by_id(wanted) or next(
            (row for row in self.all() if wanted in (row.name.lower(), *row.domains)), None
        )

    def by_server_host(self, host: str, domain: str = "") -> Provider | None:
        """The provider that a submission host belongs to, or None.

        Where several share it: the one whose customers have domains like `domain`.
        """
        rows = [
            row
            for row in (*self._own.values(), *self._shipped_with(host))
            if any(server.host == host for server in row.servers)
        ]
        return min(rows, key=lambda row: (domain not in row.domains, not row.signs), default=None)

    def by_mx_host(self, host: str) -> Provider | None:
        """The provider that a domain's MX host (lower case) belongs to, or None.

        The longest suffix that a row has decides.
        """
        labels = host.split(".")[-_SUFFIX_LABELS:]
        for suffix in (".".join(labels[start:]) for start in range(len(labels) - 1)):
            for row in (*self._own.values(), *self._shipped_with(suffix)):
                if suffix in row.mx_suffixes:
                    return row
        return None

    def often_mistyped(self) -> tuple[str, ...]:
        """The large providers' domains that people often misspell."""
        rows = (*self._own.values(), *self._shipped_holding("\noften_mistyped = ["))
        return tuple(name for row in rows for name in row.often_mistyped)

    def with_signs(self) -> tuple[Provider, ...]:
        """The rows that say how their customers' DNS gives them away."""
        return (*(row for row in self._own.values() if row.signs), *self._shipped_holding("\nsigns = ["))

    def all(self) -> tuple[Provider, ...]:
        """Every row, those of the user's and the system's files first."""
        return (
            *self._own.values(),
            *(row for row in _rows(self._text, self._shipped_file, self._today) if row.id not in self._own),
        )

    def _shipped_with(self, value: str) -> Iterator[Provider]:
        """Rows that hold `value` as a quoted string."""
        return self._shipped_holding(f'"{value}"')

    def _shipped_holding(self, wanted: str) -> Iterator[Provider]:
        """Rows by a piece of their text: parsing one row instead of all is what keeps `identify` quick."""
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
    """Where the table is: inside an installed package, or at the top of the checkout in an editable install."""
    package = os.path.dirname(os.path.dirname(__file__))
    inside = os.path.join(package, "providers.toml")
    return (
        inside if os.path.exists(inside) else os.path.join(os.path.dirname(os.path.dirname(package)), "providers.toml")
    )


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


def _refuse_foreign(path: str) -> None:
    """Raise SmtpsetupError for a table that others may change: it says where passwords are sent."""
    info = os.stat(path)
    if os.name == "posix" and (info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022):
        raise SmtpsetupError(
            "config.permissions",
            _("Others may change the provider table {path}.").format(path=path),
            causes=(_("It names the servers that passwords are sent to, so only you may change it."),),
            hints=(_("Make it yours alone to change: `chmod go-w {path}`.").format(path=path),),
        )


def _unreadable(path: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("The provider table {path} cannot be read: {reason}.").format(path=path, reason=reason),
        hints=(_("Mend the file or move it away."),),
    )


def _rows(text: str, path: str, today: datetime.date) -> Iterator[Provider]:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        faults: list[str] = [str(error)]
    else:
        faults = schema.faults(table)
    if faults:
        raise SmtpsetupError(
            "config.invalid",
            _("The provider table {path} has a fault: {fault}.").format(path=path, fault=faults[0]),
            causes=tuple(faults[1:]),
            hints=(_("Mend the file or move it away. Every key is described in docs/providers.md."),),
        )
    for row in table.get("provider", ()):
        yield _provider(row, path, today)


def faults_of(path: str) -> tuple[int, list[str]]:
    """How many rows a table file has, and everything that is wrong with it.

    Raises SmtpsetupError for a file that cannot be read.
    """
    try:
        table = tomllib.loads(_read(path))
    except (ValueError, RecursionError) as error:
        return 0, [str(error)]
    rows = table.get("provider", [])
    return len(rows) if isinstance(rows, list) else 0, schema.faults(table)


def _provider(row: dict[str, Any], path: str, today: datetime.date) -> Provider:
    """A row that the schema has accepted, as a Provider."""
    enable = row.get("enable", {})
    username = row["username"]
    return Provider(
        id=row["id"],
        name=row["name"],
        domains=tuple(row["domains"]),
        mx_suffixes=tuple(row["mx_suffixes"]),
        signs=tuple(Sign(sign["type"], sign["name"], sign["value"]) for sign in row.get("signs", ())),
        often_mistyped=tuple(row.get("often_mistyped", ())),
        status=ProviderStatus(row["status"]),
        servers=tuple(
            Server(server["host"], server["port"], Security(server["security"])) for server in row["servers"]
        ),
        auth=tuple(Auth(auth) for auth in row["auth"]),
        docs_url=row["docs_url"],
        last_checked=row["last_checked"],
        confidence=row["confidence"],
        sources=tuple(row["sources"]),
        username=Username(
            username["form"], username.get("value", ""), _said(username.get("label")), _said(username.get("note"))
        ),
        enable_steps=_true_texts(enable.get("steps", ()), today),
        enable_url=enable.get("url", ""),
        limits={key: _said(limit) if key == "note" else limit for key, limit in row.get("limits", {}).items()},
        from_policy=_said(row.get("from_policy")),
        notes=_true_texts(row.get("notes", ()), today),
        refusals=tuple(
            Refusal(
                refusal["code"],
                refusal.get("enhanced", ""),
                refusal.get("phrase", ""),
                refusal["error"],
                _said(refusal.get("note")),
                _true_texts(refusal.get("causes", ()), today),
            )
            for refusal in row.get("refusals", ())
        ),
        file=path,
        oauth2=_endpoints(row["oauth2"]) if "oauth2" in row else None,
    )


def _endpoints(table: dict[str, Any]) -> Endpoints:
    from smtpsetup.core.oauth_types import Endpoints  # few rows have one

    return Endpoints(
        client=table["client"],
        token_endpoint=table["token_endpoint"],
        authorization_endpoint=table.get("authorization_endpoint", ""),
        device_authorization_endpoint=table.get("device_authorization_endpoint", ""),
        registration_endpoint=table.get("registration_endpoint", ""),
        scopes=tuple(table["scopes"]),
        tenant=table.get("tenant", ""),
        parameters=tuple(table.get("parameters", {}).items()),
        redirect_host=table.get("redirect_host", "127.0.0.1"),
        unused_days=table.get("unused_days", 0),
        testing_days=table.get("testing_days", 0),
        register_url=table.get("register_url", ""),
        is_closed=table.get("is_closed", False),
    )


def _said(text: dict[str, str] | None) -> str:
    return text[language()] if text else ""


def _true_texts(texts: Iterable[dict[str, Any]], today: datetime.date) -> tuple[str, ...]:
    """The texts that hold on the day, in the person's language."""
    return tuple(_said(text) for text in texts if text.get("from", today) <= today <= text.get("until", today))

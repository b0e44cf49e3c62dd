"""A row of the provider table: what is known of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.core.i18n import language
from smtpsetup.core.model import Auth, ProviderStatus, Security, Server

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from smtpsetup.core.oauth_types import Api, Endpoints

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
    api: Api | None = None

    @property
    def deserves_second_opinion(self) -> bool:
        """Whether the owner of the domain is to be asked about the server, too: the row is old, or sources were few."""
        return bool(self.servers) and (self.is_aged or self.confidence != "high")

    def limit(self, key: str) -> int | None:
        """One of the provider's limits, by a key of `schema.LIMITS`; None if it is not known."""
        limit = self.limits.get(key)
        return limit if isinstance(limit, int) else None


def provider_of_row(row: dict[str, Any], path: str, today: datetime.date) -> Provider:
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
        api=_api(row["api"]) if "api" in row else None,
    )


def _citation(source: dict[str, Any]) -> Citation:
    return Citation(source["at"], source.get("date"), source.get("still_listed"), source.get("note", ""))


def _endpoints(table: dict[str, Any]) -> Endpoints:
    from smtpsetup.core.oauth_types import Endpoints  # few rows have any

    parameters = tuple(table.get("parameters", {}).items())
    return Endpoints(**{**table, "scopes": tuple(table["scopes"]), "parameters": parameters})


def _api(table: dict[str, Any]) -> Api:
    from smtpsetup.core.model import TransportKind  # few rows have an API
    from smtpsetup.core.oauth_types import Api

    return Api(**{**table, "transport": TransportKind(table["transport"]), "scopes": tuple(table["scopes"])})


def _translated(text: dict[str, str] | None) -> str:
    return text[language()] if text else ""


def _valid_texts(texts: Iterable[dict[str, Any]], today: datetime.date) -> tuple[str, ...]:
    """The texts that are valid on a day, in the user's language."""
    return tuple(_translated(text) for text in texts if text.get("from", today) <= today <= text.get("until", today))

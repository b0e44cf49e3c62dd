"""The schema of the provider table. Faults are reported by row and key."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

from smtpsetup import DOCUMENTATION
from smtpsetup.address.hosts import InvalidHostError, checked_host
from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.i18n import LANGUAGES
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, ProviderStatus, Security, TransportKind, plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USERNAME_FORMS = ("address", "local-part", "local-part.domain", "fixed", "own", "none")
CONFIDENCE = ("high", "medium", "low")
LIMITS = (
    "messages_per_day",
    "recipients_per_day",
    "messages_per_hour",
    "messages_per_minute",
    "recipients_per_message",
    "message_size_mb",
    "connections",
)
_HIGHEST_PORT = 65535
_UNFIT = ((465, Security.STARTTLS), (25, Security.TLS))  # RFC 8314 section 3.3; 587 with implicit TLS does occur

# each key with its type, and whether it is required
_ROW: dict[str, tuple[type, bool]] = {
    "id": (str, True),
    "name": (str, True),
    "domains": (list, True),
    "mx_suffixes": (list, True),
    "signs": (list, False),
    "often_mistyped": (list, False),
    "status": (str, True),
    "servers": (list, True),
    "auth": (list, True),
    "docs_url": (str, True),
    "has_closed": (bool, False),
    "needs_paid_plan": (bool, False),
    "confidence": (str, True),
    "sources": (list, False),
    "username": (dict, True),
    "enable": (dict, False),
    "limits": (dict, False),
    "oauth2": (dict, False),
    "api": (dict, False),
    "from_policy": (dict, False),
    "notes": (list, False),
    "refusals": (list, False),
}
_SOURCE: dict[str, tuple[type, bool]] = {
    "at": (str, True),
    "date": (datetime.date, False),
    "still_listed": (datetime.date, False),
    "note": (str, False),
}
_SERVER: dict[str, tuple[type, bool]] = {"host": (str, True), "port": (int, True), "security": (str, True)}
_TEXT: dict[str, tuple[type, bool]] = {
    "en": (str, True),
    "sv": (str, True),
    "from": (datetime.date, False),
    "until": (datetime.date, False),
}
_USERNAME: dict[str, tuple[type, bool]] = {
    "form": (str, True),
    "value": (str, False),
    "label": (dict, False),
    "note": (dict, False),
}
_ENABLE: dict[str, tuple[type, bool]] = {"url": (str, True), "steps": (list, True)}
_LIMITS: dict[str, tuple[type, bool]] = {**dict.fromkeys(LIMITS, (int, False)), "note": (dict, False)}
_OAUTH2: dict[str, tuple[type, bool]] = {
    "client": (str, True),
    "authorization_endpoint": (str, False),
    "token_endpoint": (str, True),
    "device_authorization_endpoint": (str, False),
    "registration_endpoint": (str, False),
    "scopes": (list, True),
    "tenant": (str, False),
    "parameters": (dict, False),
    "redirect_host": (str, False),
    "unused_days": (int, False),
    "testing_days": (int, False),
    "register_url": (str, False),
    "is_closed": (bool, False),
    "app_scope": (str, False),
}
_API: dict[str, tuple[type, bool]] = {
    "transport": (str, True),
    "scopes": (list, True),
    "app_scope": (str, False),
    "large_scope": (str, False),
    "shared_scope": (str, False),
    "smtp_may_be_off": (bool, False),
}
_SIGN: dict[str, tuple[type, bool]] = {
    "type": (str, True),
    "name": (str, True),
    "value": (str, True),
    "counts_with_own_mx": (bool, False),
}
SIGN_TYPES = ("CNAME", "TXT")
_REFUSAL: dict[str, tuple[type, bool]] = {
    "code": (int, True),
    "enhanced": (str, False),
    "phrase": (str, False),
    "error": (str, True),
    "note": (dict, False),
    "causes": (list, False),
}


def faults(table: dict[str, Any]) -> list[str]:
    """Every fault of a parsed table, each with its row and key."""
    found = [_("unknown key {key}").format(key=key) for key in table if key != "provider"]
    rows = table.get("provider", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [*found, _("`provider` must be written as [[provider]] tables")]
    owners: dict[str, str] = {}
    ids: set[str] = set()
    for number, row in enumerate(rows, start=1):
        name = _("row {number} ({id})").format(number=number, id=plain_text(str(row.get("id", "?"))))
        wrong = [*_row_faults(row)]
        if not wrong and row["id"] in ids:
            wrong = [_("the id stands in an earlier row already")]
        if not wrong:
            ids.add(row["id"])
            wrong = [
                _("{domain} stands in {other} already").format(domain=domain, other=owners[domain])
                for domain in row["domains"]
                if owners.setdefault(domain, row["id"]) != row["id"]
            ]
        found += [f"{name}: {fault}" for fault in wrong]
    return found


def _row_faults(row: dict[str, Any]) -> Iterator[str]:
    shape = [*_shape("", row, _ROW), *_unprintable(row)]
    yield from shape
    if shape:
        return
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["id"]):
        yield _must_be("id", _("lower-case letters, digits and hyphens"))
    yield from _choice("status", row["status"], ProviderStatus)
    yield from _choice("confidence", row["confidence"], CONFIDENCE)
    for key in ("domains", "mx_suffixes", "often_mistyped", "auth"):
        if not all(isinstance(entry, str) for entry in row.get(key, ())):
            yield _must_be(key, _("a list of strings"))
            return
    # `*.` stands for the names below a domain, `!` for MX hosts that are not the provider's own
    for key, prefix in (("domains", "*."), ("mx_suffixes", "!")):
        for domain in row[key]:
            if domain != domain.lower() or not domain.isascii() or set("@ *!") & set(domain.removeprefix(prefix)):
                yield _("{key}: {value} must be a domain in lower case, an international one as its xn-- form").format(
                    key=key, value=domain
                )
    for auth in row["auth"]:
        yield from _choice("auth", auth, Auth)
    yield from _status_faults(row)
    yield from _part_faults(row)


def _status_faults(row: dict[str, Any]) -> Iterator[str]:
    without_servers = (ProviderStatus.UNAVAILABLE, ProviderStatus.UNKNOWN)
    is_named_by_mx = all("{mx}" in str(server) for server in row["servers"])
    if row["domains"] and row["servers"] and is_named_by_mx:
        yield _("a row with domains needs a server that is not named by the MX")
    if row["status"] not in without_servers and not (row["servers"] and row["auth"]):
        yield _('only a row with status = "unavailable" or "unknown" may be without servers and auth')
    if row.get("has_closed") and row["status"] != ProviderStatus.UNAVAILABLE:
        yield _('a service that has closed has the status "unavailable"')
    if row["status"] == ProviderStatus.UNKNOWN and row["servers"]:
        yield _('a row with status = "unknown" has no servers')
    if row["status"] == ProviderStatus.PREPARE and "enable" not in row:
        yield _('status = "prepare" needs the table {key}').format(key="enable")


def _part_faults(row: dict[str, Any]) -> Iterator[str]:
    """The faults of the tables inside a row."""
    for number, source in enumerate(row.get("sources", ()), start=1):
        yield from _shape(f"sources[{number}].", source, _SOURCE)
    for server in row["servers"]:
        yield from _server_faults(server)
    username = row["username"]
    yield from _shape("username.", username, _USERNAME)
    yield from _choice("username.form", username.get("form"), USERNAME_FORMS)
    if username.get("form") == "fixed" and not username.get("value"):
        yield _("{key} is missing").format(key="username.value")
    if username.get("form") == "own" and "label" not in username:
        yield _("{key} is missing").format(key="username.label")
    enable = row.get("enable", {"url": "", "steps": []})
    yield from _shape("enable.", enable, _ENABLE)
    yield from _shape("limits.", row.get("limits", {}), _LIMITS)
    if "oauth2" in row:
        yield from _oauth2_faults(row["oauth2"])
    if "api" in row:
        yield from _api_faults(row)
    for number, sign in enumerate(row.get("signs", ()), start=1):
        wrong = [*_shape(f"signs[{number}].", sign, _SIGN)]
        yield from wrong or _choice(f"signs[{number}].type", sign["type"], SIGN_TYPES)
    for number, refusal in enumerate(row.get("refusals", ()), start=1):
        wrong = [*_shape(f"refusals[{number}].", refusal, _REFUSAL)]
        yield from wrong or _choice(f"refusals[{number}].error", refusal["error"], EXIT_CODES)
    for key, text in _texts(row, enable):
        wrong = [*_shape(f"{key}.", text, _TEXT)]
        yield from wrong or (_("{key} is empty").format(key=f"{key}.{tag}") for tag in LANGUAGES if not text[tag])


def _texts(row: dict[str, Any], enable: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every text of a row with its key; its type is not checked yet."""
    single = {
        "username.label": row["username"].get("label"),
        "username.note": row["username"].get("note"),
        "from_policy": row.get("from_policy"),
        "limits.note": row.get("limits", {}).get("note"),
    }
    yield from ((key, text) for key, text in single.items() if text is not None)
    steps = enable.get("steps")
    for name, entries in (("enable.steps", steps if isinstance(steps, list) else []), ("notes", row.get("notes", []))):
        yield from ((f"{name}[{number}]", entry) for number, entry in enumerate(entries, start=1))
    for number, refusal in enumerate(row.get("refusals", ()), start=1):
        if isinstance(refusal, dict) and "note" in refusal:
            yield f"refusals[{number}].note", refusal["note"]
        causes = refusal.get("causes", []) if isinstance(refusal, dict) else []
        if isinstance(causes, list):
            yield from ((f"refusals[{number}].causes[{place}]", cause) for place, cause in enumerate(causes, start=1))


def _oauth2_faults(table: dict[str, Any]) -> Iterator[str]:
    wrong = [*_shape("oauth2.", table, _OAUTH2)]
    yield from wrong
    if wrong:
        return
    for key in (key for key in table if key.endswith("_endpoint") or key == "register_url"):
        if not table[key].startswith("https://"):
            yield _must_be(f"oauth2.{key}", _("an address that begins with https://"))
    if not all(isinstance(scope, str) for scope in table["scopes"]) or not all(
        isinstance(value, str) for value in table.get("parameters", {}).values()
    ):
        yield _must_be("oauth2.scopes", _("a list of strings"))


def _api_faults(row: dict[str, Any]) -> Iterator[str]:
    table = row["api"]
    wrong = [*_shape("api.", table, _API)]
    yield from wrong
    if wrong:
        return
    yield from _choice("api.transport", table["transport"], (TransportKind.GRAPH, TransportKind.GMAIL))
    if not all(isinstance(scope, str) for scope in table["scopes"]):
        yield _must_be("api.scopes", _("a list of strings"))
    if "oauth2" not in row:
        yield _("{key} is missing").format(key="oauth2")


def _server_faults(server: object) -> Iterator[str]:
    wrong = [*_shape("servers.", server, _SERVER)]
    yield from wrong
    if wrong or not isinstance(server, dict):
        return
    yield from _choice("servers.security", server["security"], (Security.TLS, Security.STARTTLS))
    if (server["port"], server["security"]) in _UNFIT:
        yield _("{key}: port {port} does not go with {security}").format(
            key="servers", port=server["port"], security=server["security"]
        )
    if not 0 < server["port"] <= _HIGHEST_PORT:
        yield _must_be("servers.port", _("a number from 1 to 65535"))
    try:
        checked_host(server["host"].replace("{domain}", "d").replace("{domain-with-dashes}", "d").replace("{mx}", "d"))
    except InvalidHostError as error:
        yield f"servers.host: {str(error).rstrip('.')}"


def _unprintable(value: object, key: str = "") -> Iterator[str]:
    """Texts with control characters, anywhere in a row."""
    if isinstance(value, str) and not value.isprintable():
        yield _("{key} contains a control character").format(key=key)
    inner = value.items() if isinstance(value, dict) else enumerate(value, start=1) if isinstance(value, list) else ()
    for name, entry in inner:
        yield from _unprintable(entry, f"{key}.{name}".lstrip("."))


def _shape(prefix: str, table: object, keys: dict[str, tuple[type, bool]]) -> Iterator[str]:
    """Unknown, missing and wrongly typed keys."""
    if not isinstance(table, dict):
        yield _must_be(prefix.rstrip("."), _("a table"))
        return
    yield from (_("unknown key {key}").format(key=prefix + key) for key in table if key not in keys)
    for key, (kind, needed) in keys.items():
        if key not in table:
            if needed:
                yield _("{key} is missing").format(key=prefix + key)
        elif type(table[key]) is not kind:  # a bool is an int and a datetime is a date to isinstance
            yield _must_be(prefix + key, _kind_name(kind))


def _must_be(key: str, wanted: str) -> str:
    return _("{key} must be {wanted}").format(key=key, wanted=wanted)


def _choice(key: str, value: object, choices: Iterable[str]) -> Iterator[str]:
    allowed = [str(choice) for choice in choices]
    if value not in allowed:
        is_short = len(allowed) < 10  # noqa: PLR2004  a list that is short enough to read
        codes = _("the codes in {docs}/errors.md").format(docs=DOCUMENTATION)
        shown = ", ".join(sorted(allowed)) if is_short else codes
        yield _("{key} is {value}, but must be one of: {choices}").format(key=key, value=value, choices=shown)


def _kind_name(kind: type) -> str:
    names = {
        str: _("a string"),
        int: _("a whole number"),
        list: _("a list"),
        dict: _("a table"),
        datetime.date: _("a date"),
        bool: _("true or false"),
    }
    return names[kind]

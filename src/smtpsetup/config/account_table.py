"""An account as a table of the configuration: validated, read and written."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.address.hosts import InvalidHostError, checked_host, is_loopback
from smtpsetup.config.account import Account
from smtpsetup.config.secret_source import SecretSource
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import AllowedFrom, Auth, Queue, Security, Server, TransportKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.state.files import StrPath

_HIGHEST_PORT = 65535

# the keys that smtpsetup writes
KEYS: dict[str, type] = {
    "address": str,
    "from_name": str,
    "provider": str,
    "host": str,
    "port": int,
    "security": str,
    "auth": str,
    "username": str,
    "secret": dict,
    "ca_file": str,
    "tls_fingerprint": str,
    "verified": bool,
    "oauth2": dict,
    "transport": str,
    "endpoint": str,
    "proxy": str,
}
# keys that only the user writes
BY_HAND: dict[str, type] = {
    "queue": str,
    "on_unknown": str,
    "report_failures": bool,
    "allowed_from": str,
    "fallback": list,
}
_RESEND, _HOLD = "resend", "hold"
_CHOICES: dict[str, tuple[str, ...]] = {
    "security": tuple(Security),
    "auth": tuple(Auth),
    "queue": tuple(Queue),
    "on_unknown": (_RESEND, _HOLD),
    "allowed_from": tuple(AllowedFrom),
    "transport": tuple(TransportKind),
}
_NEEDED_FOR_SMTP = ("host", "port", "security")
_SIGN_IN_TEXTS = ("client_secret", "tenant", "issuer", "secret_expires")


def account_of(name: str, row: dict[str, Any], path: StrPath) -> Account:
    """The account in a table of the file at `path`. Raises ValueError with its first fault, in the user's language."""
    fault = next(_faults(row), None)
    if fault:
        raise ValueError(_("account {name}: {fault}").format(name=name, fault=fault))
    transport = TransportKind(row.get("transport", TransportKind.SMTP))
    usual_auth = Auth.PASSWORD if transport is TransportKind.SMTP else Auth.OAUTH2
    auth = Auth(row.get("auth", usual_auth))
    server, endpoint = _place(row, transport)
    return Account(
        name=name,
        address=row["address"],
        from_name=row.get("from_name", ""),
        provider=row.get("provider", ""),
        server=server,
        auth=auth,
        username=row.get("username", "" if auth is Auth.NONE else row["address"]),
        secret=SecretSource.from_table(row.get("secret", {"store": "keyring"})),
        ca_file=row.get("ca_file"),
        tls_fingerprint=row.get("tls_fingerprint"),
        verified=row.get("verified", False),
        queue=Queue(row.get("queue", Queue.ON_FAILURE)),
        hold_unknown=row.get("on_unknown", _RESEND) == _HOLD,
        report_failures=row.get("report_failures", False),
        allowed_from=AllowedFrom(row.get("allowed_from", AllowedFrom.ADDRESS)),
        oauth2=_token_client(row["oauth2"]) if "oauth2" in row else None,
        config_file=os.path.abspath(path) if "oauth2" in row else "",
        transport=transport,
        endpoint=endpoint,
        proxy=_proxy(row["proxy"]) if "proxy" in row else None,
        fallback=tuple(row.get("fallback", ())),
    )


def _place(row: dict[str, Any], transport: TransportKind) -> tuple[Server, str]:
    """The server, and with an API its base address. Raises ValueError as `endpoint.server_of`."""
    if transport is TransportKind.SMTP:
        return Server(checked_host(row["host"]), row["port"], Security(row["security"])), ""
    from smtpsetup.config import endpoint  # most accounts send over SMTP

    address = row.get("endpoint", endpoint.USUAL[transport]).rstrip("/")
    return endpoint.server_of(address), address


def _proxy(url: str) -> Proxy:
    """The proxy of a URL. Raises ValueError, with a text in the user's language."""
    from smtpsetup.net import proxy  # only for users of a proxy

    return proxy.parsed(url)


def _token_client(row: dict[str, Any]) -> TokenClient:
    from smtpsetup.core.oauth_types import Grant, TokenClient  # only for accounts that sign in with OAuth2

    scopes = tuple(row.get("scope", "").split())
    texts = {key: row.get(key, "") for key in _SIGN_IN_TEXTS}
    return TokenClient(
        row["client_id"],
        row["token_endpoint"],
        scopes,
        unused_days=row.get("unused_days", 0),
        grant=Grant(row.get("grant", Grant.REFRESH_TOKEN)),
        **texts,
    )


def _oauth2_faults(row: dict[str, Any]) -> Iterator[str]:
    from smtpsetup.core.oauth_types import Grant  # only for accounts that sign in with OAuth2

    yield from choice_faults(row, {"grant": tuple(Grant)})
    if not _is_day(str(row.get("secret_expires", ""))):
        yield must_be("oauth2.secret_expires", _("a day such as 2027-11-30"))
    for key in ("client_id", "token_endpoint"):
        if not isinstance(row.get(key), str) or not row[key]:
            yield must_be(f"oauth2.{key}", _("a string"))
    if not str(row.get("token_endpoint", "")).startswith("https://"):
        yield must_be("oauth2.token_endpoint", _("an address that begins with https://"))
    for key in ("scope", *_SIGN_IN_TEXTS):
        if not isinstance(row.get(key, ""), str):
            yield must_be(f"oauth2.{key}", _("a string"))
    if not isinstance(row.get("unused_days", 0), int):
        yield must_be("oauth2.unused_days", _("a whole number"))


def _faults(row: dict[str, Any]) -> Iterator[str]:
    """The faults of an account's table. Only the first is reported, and those after it may follow from it."""
    yield from choice_faults(row, {"transport": _CHOICES["transport"]})
    needed = ("address", *(() if _has_api(row) else _NEEDED_FOR_SMTP))
    yield from (_("{key} is missing").format(key=key) for key in needed if key not in row)
    yield from type_faults(row, KEYS | BY_HAND)
    yield from _value_faults(row)


def _has_api(row: dict[str, Any]) -> bool:
    """Whether the mail goes to an API, which needs no server."""
    return row.get("transport") in (TransportKind.GRAPH, TransportKind.GMAIL)


def type_faults(table: dict[str, Any], types: dict[str, type]) -> Iterator[str]:
    """Keys of a parsed TOML table whose values have another type than `types` says."""
    names = {
        str: _("a string"),
        int: _("a whole number"),
        dict: _("a table"),
        bool: _("true or false"),
        list: _("a list"),
    }
    for key, kind in types.items():
        if key in table and type(table[key]) is not kind:  # a bool is an int to isinstance
            yield must_be(key, names[kind])


def choice_faults(table: dict[str, Any], choices: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Keys of a parsed TOML table whose values are not among their choices."""
    for key, allowed in choices.items():
        if key in table and table[key] not in allowed:
            yield _("{key} is {value}, but must be one of: {choices}").format(
                key=key, value=table[key], choices=", ".join(allowed)
            )


def must_be(key: str, wanted: str) -> str:
    """The fault of a value of the wrong type or form."""
    return _("{key} must be {wanted}").format(key=key, wanted=wanted)


def _value_faults(row: dict[str, Any]) -> Iterator[str]:
    yield from _oauth2_faults(row["oauth2"]) if "oauth2" in row else ()
    texts = {**row, **{f"secret.{key}": value for key, value in row.get("secret", {}).items()}}
    # a shell command may have several lines
    texts["secret.command"] = str(texts.get("secret.command", "")).replace("\n", " ").replace("\t", " ")
    bad = (key for key, text in texts.items() if isinstance(text, str) and not text.isprintable())
    yield from (_("{key} contains a control character").format(key=key) for key in bad)
    yield from choice_faults(row, _CHOICES)
    if not 0 < row.get("port", 1) <= _HIGHEST_PORT:
        yield must_be("port", _("a number from 1 to 65535"))
    if not re.fullmatch("[0-9a-f]{64}", row.get("tls_fingerprint", "0" * 64)):
        yield must_be("tls_fingerprint", _("a SHA-256 in 64 hexadecimal digits"))
    try:
        parse_address(row["address"])
        server, _endpoint = _place(row, TransportKind(row.get("transport", TransportKind.SMTP)))
        if "proxy" in row:
            _proxy(row["proxy"])
        SecretSource.from_table(row.get("secret", {"store": "keyring"}))
    except MalformedAddressError as error:
        yield f"address: {str(error).rstrip('.')}"
    except InvalidHostError as error:
        yield f"host: {str(error).rstrip('.')}"
    except ValueError as error:
        yield str(error).rstrip(".")
    else:
        if server.security is Security.NONE and not is_loopback(server.host):
            yield _('security = "none" is for a server on this machine only')
    if not all(isinstance(name, str) and name for name in row.get("fallback", ())):
        yield must_be("fallback", _("a list of account names"))


def table_of(account: Account) -> dict[str, Any]:
    """The table of an account, as it is written to the file."""
    table: dict[str, Any] = {
        "address": account.address,
        "from_name": account.from_name,
        "provider": account.provider,
        **_place_table(account),
        "auth": str(account.auth),
        "username": account.username,
        "secret": account.secret.as_table(),
        "ca_file": account.ca_file,
        "tls_fingerprint": account.tls_fingerprint,
        "verified": account.verified,
        "oauth2": _oauth2_table(account.oauth2) if account.oauth2 else None,
        "proxy": account.proxy.url if account.proxy else None,
    }
    kept = {key: value for key, value in table.items() if value not in (None, "")}
    # without the key, the name would be the address
    return kept if account.username or account.auth is Auth.NONE else {**kept, "username": ""}


def _place_table(account: Account) -> dict[str, Any]:
    if account.transport is TransportKind.SMTP:
        server = account.server
        return {"host": server.host, "port": server.port, "security": str(server.security)}
    from smtpsetup.config import endpoint  # most accounts send over SMTP

    own = "" if account.endpoint == endpoint.USUAL[account.transport] else account.endpoint
    return {"transport": str(account.transport), "endpoint": own}


def _oauth2_table(client: TokenClient) -> dict[str, Any]:
    table = {"client_id": client.client_id, "token_endpoint": client.token_endpoint, "scope": " ".join(client.scopes)}
    table |= {"grant": str(client.grant)} if client.is_app_only else {}
    return table | {key: value for key in (*_SIGN_IN_TEXTS, "unused_days") if (value := getattr(client, key))}


def _is_day(text: str) -> bool:
    """Whether a text is a day (ISO 8601), or `""` for none."""
    if not text:
        return True
    import datetime  # only for an application's secret

    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False

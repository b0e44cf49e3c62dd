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
from smtpsetup.core.model import AllowedFrom, Auth, Queue, Security, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.core.oauth_types import TokenClient
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
}
# keys that only the user writes
BY_HAND: dict[str, type] = {
    "queue": str,
    "on_unknown": str,
    "report_failures": bool,
    "allowed_from": str,
}
_RESEND, _HOLD = "resend", "hold"
_CHOICES: dict[str, tuple[str, ...]] = {
    "security": tuple(Security),
    "auth": tuple(Auth),
    "queue": tuple(Queue),
    "on_unknown": (_RESEND, _HOLD),
    "allowed_from": tuple(AllowedFrom),
}
_NEEDED = ("address", "host", "port", "security")
_SIGN_IN_TEXTS = ("client_secret", "tenant", "issuer")


def account_of(name: str, row: dict[str, Any], path: StrPath) -> Account:
    """The account in a table of the file at `path`. Raises ValueError with its first fault, in the user's language."""
    fault = next(_faults(row), None)
    if fault:
        raise ValueError(_("account {name}: {fault}").format(name=name, fault=fault))
    auth = Auth(row.get("auth", Auth.PASSWORD))
    return Account(
        name=name,
        address=row["address"],
        from_name=row.get("from_name", ""),
        provider=row.get("provider", ""),
        server=Server(checked_host(row["host"]), row["port"], Security(row["security"])),
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
    )


def _token_client(row: dict[str, Any]) -> TokenClient:
    from smtpsetup.core.oauth_types import TokenClient  # only for accounts that sign in with OAuth2

    scopes = tuple(row.get("scope", "").split())
    texts = {key: row.get(key, "") for key in _SIGN_IN_TEXTS}
    return TokenClient(row["client_id"], row["token_endpoint"], scopes, unused_days=row.get("unused_days", 0), **texts)


def _oauth2_faults(row: dict[str, Any]) -> Iterator[str]:
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
    yield from (_("{key} is missing").format(key=key) for key in _NEEDED if key not in row)
    yield from type_faults(row, KEYS | BY_HAND)
    yield from _value_faults(row)


def type_faults(table: dict[str, Any], types: dict[str, type]) -> Iterator[str]:
    """Keys of a parsed TOML table whose values have another type than `types` says."""
    names = {str: _("a string"), int: _("a whole number"), dict: _("a table"), bool: _("true or false")}
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
    if not 0 < row["port"] <= _HIGHEST_PORT:
        yield must_be("port", _("a number from 1 to 65535"))
    if not re.fullmatch("[0-9a-f]{64}", row.get("tls_fingerprint", "0" * 64)):
        yield must_be("tls_fingerprint", _("a SHA-256 in 64 hexadecimal digits"))
    try:
        parse_address(row["address"])
        host = checked_host(row["host"])
        SecretSource.from_table(row.get("secret", {"store": "keyring"}))
    except MalformedAddressError as error:
        yield f"address: {str(error).rstrip('.')}"
    except InvalidHostError as error:
        yield f"host: {str(error).rstrip('.')}"
    except ValueError as error:
        yield str(error).rstrip(".")
    else:
        if row["security"] == Security.NONE and not is_loopback(host):
            yield _('security = "none" is for a server on this machine only')


def table_of(account: Account) -> dict[str, Any]:
    """The table of an account, as it is written to the file."""
    table: dict[str, Any] = {
        "address": account.address,
        "from_name": account.from_name,
        "provider": account.provider,
        "host": account.server.host,
        "port": account.server.port,
        "security": str(account.server.security),
        "auth": str(account.auth),
        "username": account.username,
        "secret": account.secret.as_table(),
        "ca_file": account.ca_file,
        "tls_fingerprint": account.tls_fingerprint,
        "verified": account.verified,
        "oauth2": _oauth2_table(account.oauth2) if account.oauth2 else None,
    }
    kept = {key: value for key, value in table.items() if value not in (None, "")}
    # without the key, the name would be the address
    return kept if account.username or account.auth is Auth.NONE else {**kept, "username": ""}


def _oauth2_table(client: TokenClient) -> dict[str, Any]:
    table = {"client_id": client.client_id, "token_endpoint": client.token_endpoint, "scope": " ".join(client.scopes)}
    return table | {key: value for key in (*_SIGN_IN_TEXTS, "unused_days") if (value := getattr(client, key))}

"""An account as a table of the configuration: checked, read and written."""

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
# never written here
_BY_HAND: dict[str, type] = {
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


def account_of(name: str, row: dict[str, Any], path: StrPath) -> Account:
    """A row of the file at `path` as an Account. Raises ValueError with what is wrong with it, for people."""
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


_SIGN_IN_TEXTS = ("client_secret", "tenant", "issuer")


def _token_client(row: dict[str, Any]) -> TokenClient:
    from smtpsetup.core.oauth_types import TokenClient  # only accounts that sign in with OAuth2

    scopes = tuple(row.get("scope", "").split())
    texts = {key: row.get(key, "") for key in _SIGN_IN_TEXTS}
    return TokenClient(row["client_id"], row["token_endpoint"], scopes, unused_days=row.get("unused_days", 0), **texts)


def _oauth2_faults(row: dict[str, Any]) -> Iterator[str]:
    for key in ("client_id", "token_endpoint"):
        if not isinstance(row.get(key), str) or not row[key]:
            yield _("{key} must be {wanted}").format(key=f"oauth2.{key}", wanted=_("a string"))
    if not str(row.get("token_endpoint", "")).startswith("https://"):
        yield _("{key} must be {wanted}").format(
            key="oauth2.token_endpoint", wanted=_("an address that begins with https://")
        )
    for key in ("scope", *_SIGN_IN_TEXTS):
        if not isinstance(row.get(key, ""), str):
            yield _("{key} must be {wanted}").format(key=f"oauth2.{key}", wanted=_("a string"))
    if not isinstance(row.get("unused_days", 0), int):
        yield _("{key} must be {wanted}").format(key="oauth2.unused_days", wanted=_("a whole number"))


def _faults(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a row, each fault with its key; the first one is what a person is told."""
    yield from (_("{key} is missing").format(key=key) for key in _NEEDED if key not in row)
    kinds = {str: _("a string"), int: _("a whole number"), dict: _("a table"), bool: _("true or false")}
    for key, kind in (KEYS | _BY_HAND).items():
        if key in row and (not isinstance(row[key], kind) or (kind is int and isinstance(row[key], bool))):
            yield _("{key} must be {wanted}").format(key=key, wanted=kinds[kind])
    yield from _value_faults(row)  # reached only when every type is right


def _value_faults(row: dict[str, Any]) -> Iterator[str]:
    yield from _oauth2_faults(row["oauth2"]) if "oauth2" in row else ()
    texts = {**row, **{f"secret.{key}": value for key, value in row.get("secret", {}).items()}}
    # as a shell would have it
    texts["secret.command"] = str(texts.get("secret.command", "")).replace("\n", " ").replace("\t", " ")
    bad = (key for key, text in texts.items() if isinstance(text, str) and not text.isprintable())
    yield from (_("{key} contains a control character").format(key=key) for key in bad)
    for key, choices in _CHOICES.items():
        if key in row and row[key] not in choices:
            yield _("{key} is {value}, but must be one of: {choices}").format(
                key=key, value=row[key], choices=", ".join(choices)
            )
    if not 0 < row["port"] <= _HIGHEST_PORT:
        yield _("{key} must be {wanted}").format(key="port", wanted=_("a number from 1 to 65535"))
    if not re.fullmatch("[0-9a-f]{64}", row.get("tls_fingerprint", "0" * 64)):
        yield _("{key} must be {wanted}").format(key="tls_fingerprint", wanted=_("a SHA-256 in 64 hexadecimal digits"))
    try:
        parse_address(row["address"])
        host = checked_host(row["host"])
        SecretSource.from_table(row.get("secret", {"store": "keyring"}))
    except (MalformedAddressError, ValueError) as error:
        key = (
            "address: "
            if isinstance(error, MalformedAddressError)
            else "host: "
            if isinstance(error, InvalidHostError)
            else ""
        )
        yield key + str(error).rstrip(".")
    else:
        if row["security"] == Security.NONE and not is_loopback(host):
            yield _('security = "none" is for a server on this machine only')


def table_of(account: Account) -> dict[str, Any]:
    """An account as the file writes it."""
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
    return {key: value for key, value in table.items() if value not in (None, "")}


def _oauth2_table(client: TokenClient) -> dict[str, Any]:
    table = {"client_id": client.client_id, "token_endpoint": client.token_endpoint, "scope": " ".join(client.scopes)}
    return table | {key: value for key in (*_SIGN_IN_TEXTS, "unused_days") if (value := getattr(client, key))}

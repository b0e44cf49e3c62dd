"""The reference of config.toml, the environment and the files. Its keys are compared with those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from smtpsetup.config import account_table, accounts
from smtpsetup.config.secret_source import STORES

_SOURCE = Path(__file__).parents[1] / "src" / "smtpsetup"
_TYPE_NAMES = {str: "string", int: "whole number", bool: "true or false", dict: "table", list: "list"}

TOP = {
    "version": "1; a later number is refused",
    "default": "the name of the account that is used where none is named",
    "ispdb": "`false` never asks Thunderbird's database, which learns the domain (default: `true`)",
    "aliases": 'names without a domain, each with an address or a list of addresses: `root = "admin@mittforetag.se"`',
    "aliases_file": "a file in the form of `/etc/aliases`, read where `aliases` has no such name",
    "log": "where a line for each mail goes: `file` (default: `mail.log` in the state directory), `syslog` or `none`",
    "outbox": "`postgresql://…` for an outbox that several machines share: see [scale.md](scale.md)",
    "outbox_secret": "where the password of its database is, as `secret` below; without it, libpq finds it",
    "outbox_key": "where the key is that protects shared sign-ins, as `secret` below; without it, in the keyring",
    "keep_sent": "for how many days a shared outbox lists sent mail (default: 14)",
    "oauth2": "clients by provider: `[oauth2.microsoft]` with `client_id`, and `client_secret` where one is wanted",
    "accounts": 'the accounts: `[accounts."NAME"]`, see below',
}
ACCOUNT = {
    "address": "the address that the account sends from (required)",
    "from_name": "the sender name that recipients see",
    "provider": "the id of the provider's row, from `smtpsetup providers list`",
    "host": "the server's name (required over SMTP)",
    "port": "its port, 1 to 65535 (required over SMTP)",
    "security": "`tls`, `starttls`, or `none` for a server on this machine (required over SMTP)",
    "auth": "`password` (default), `app-password`, `oauth2`, `api-key`, `token` or `none`",
    "username": "the user name; without it, the address",
    "secret": "where the password is, see below; without it, the keyring",
    "ca_file": "a file with the authorities to trust instead of the system's (PEM)",
    "tls_fingerprint": "the SHA-256 of the one certificate to trust, 64 hexadecimal digits",
    "verified": "whether a login has worked; written by smtpsetup",
    "oauth2": "the sign-in: `client_id`, `token_endpoint`, `scope` and more; written by smtpsetup",
    "transport": "`smtp` (default), `graph` or `gmail`; the last two need no `host`, `port` and `security`",
    "endpoint": "another base address of the API, such as that of a national cloud: `https://graph.microsoft.us/v1.0`",
    "proxy": "`socks5://HOST:PORT`, `http://HOST:PORT`, or `none`; without it, the environment decides",
    "fallback": "accounts that send this one's mail when it can no longer log in: see [sending.md](sending.md)",
    "queue": "what `send` does with a mail that cannot be sent now: `on-failure` (default), `never` or `always`",
    "on_unknown": "what becomes of a mail that may have arrived: `resend` (once, the default) or `hold`",
    "report_failures": "`true` sends a failure notice to the account's own address for each mail that is given up",
    "allowed_from": "which senders other programs may use: see [sending.md](sending.md)",
}
VARIABLES = {
    "SMTPSETUP_CONFIG": "another configuration file, as `--config`",
    "SMTPSETUP_STATE_DIR": "another place for the outbox, the log and the access tokens",
    "SMTPSETUP_OUTBOX": "another outbox, such as `postgresql:///mail`",
    "SMTPSETUP_NAMESERVER": "`HOST[:PORT]` of a name server to ask instead of the system's",
    "SMTPSETUP_LANG": "`sv` or `en`, before `LANGUAGE`, `LC_ALL`, `LC_MESSAGES` and `LANG`",
    "SMTPSETUP_<PROVIDER>_CLIENT_ID": "the OAuth2 client id, as `SMTPSETUP_MICROSOFT_CLIENT_ID`; also `_CLIENT_SECRET`",
    "ALL_PROXY, HTTPS_PROXY, NO_PROXY": "as everywhere; ALL_PROXY is for SMTP, too (HTTP and SOCKS5)",
    "SSL_CERT_FILE": "the authorities to trust, as everywhere",
    "NO_COLOR, FORCE_COLOR, TERM": "as everywhere: no colour and nothing redrawn, colour in a pipe, `dumb`",
    "XDG_CONFIG_HOME, XDG_STATE_HOME": "the base of the two directories below (Linux)",
}
FILES = {
    "~/.config/smtpsetup/config.toml": "the configuration, mode 0600; comments and unknown keys are kept",
    "~/.config/smtpsetup/providers.toml": "rows of your own for the provider table",
    "~/.config/smtpsetup/passwords/": "passwords and sign-ins that smtpsetup keeps in files, mode 0600",
    "~/.local/state/smtpsetup/outbox.db": "the outbox (SQLite), and `outbox.reserve` beside it",
    "~/.local/state/smtpsetup/mail.log": "a line for each mail",
    "~/.local/state/smtpsetup/tokens/": "access tokens, valid for about an hour",
    "/etc/smtpsetup/config.toml": "the machine's configuration, for users without one of their own",
    "/etc/smtpsetup/providers.toml": "rows for everybody on the machine",
}


def tables() -> str:
    """The page's tables. Raises SystemExit where the code has other keys than are described here."""
    account_types = account_table.KEYS | account_table.BY_HAND
    _compare("accounts", set(account_types), set(ACCOUNT))
    files = (_SOURCE / "config" / name for name in ("accounts.py", "outbox_settings.py"))
    read = [key for path in files for key in re.findall(r'\btable\.get\("(\w+)"', path.read_text("utf-8"))]
    _compare("config.toml", {*accounts.TYPES, *read}, set(TOP))
    used = {
        name for path in _SOURCE.rglob("*.py") for name in re.findall(r"SMTPSETUP_[A-Z_]+", path.read_text("utf-8"))
    }
    described = {name for name in used if not name.endswith(("_CLIENT_SECRET", "_COMPLETE"))}
    _compare("environment", described, {name for name in VARIABLES if re.fullmatch("SMTPSETUP_[A-Z_]+", name)})
    top_types = {
        "version": int,
        "accounts": dict,
        "aliases": dict,
        "oauth2": dict,
        "log": str,
        "keep_sent": int,
        **accounts.TYPES,
    }
    stores = [
        f"| `{store}` | {f'`{facts.key}`' if facts.key else ''} | `{facts.option}` | {facts.help} |"
        for store, facts in STORES.items()
    ]
    return "\n\n".join(
        (
            "## At the top of config.toml",
            _table("key", TOP, top_types),
            "## An account",
            _table("key", ACCOUNT, account_types),
            "## `secret`: where a password is",
            "\n".join(("| `store` | key beside it | option | meaning |", "| --- | --- | --- | --- |", *stores)),
            "## Environment",
            _table("variable", VARIABLES),
            "## Files",
            "The directories are those of Linux; on macOS and Windows they are where programs keep such files there.",
            _table("file", FILES),
        )
    )


def _table(first: str, rows: dict[str, str], types: dict[str, type] | None = None) -> str:
    kind = " type |" if types else ""
    lines = [f"| {first} |{kind} meaning |", f"| --- |{' --- |' if types else ''} --- |"]
    for key, meaning in rows.items():
        shown = ", ".join(f"`{one}`" for one in key.split(", "))
        lines.append(f"| {shown} |{f' {_TYPE_NAMES[types[key]]} |' if types else ''} {meaning} |")
    return "\n".join(lines)


def _compare(place: str, in_code: set[str], here: set[str]) -> None:
    if in_code != here:
        raise SystemExit(f"tools/configuration.py, {place}: {sorted(in_code ^ here)}")

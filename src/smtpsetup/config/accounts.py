"""The configuration `config.toml`: loaded, validated, and changed without touching anything else in the file."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.config import paths
from smtpsetup.config.account_table import KEYS, account_of, choice_faults, must_be, table_of, type_faults
from smtpsetup.config.outbox_settings import OutboxSettings, outbox_settings
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Log
from smtpsetup.state import files, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.state.files import StrPath

_KNOWN_VERSION = 1
TYPES: dict[str, type] = {
    "default": str,
    "ispdb": bool,
    "aliases_file": str,
    "outbox": str,
    "outbox_secret": dict,
    "outbox_key": dict,
}


class Config(NamedTuple):
    """The accounts by name, and the name of the default one or `""`.

    `ispdb` says whether Thunderbird's database may be asked about a domain. `aliases` maps local names such as `root`
    to addresses, for smtpsetup-sendmail; `aliases_file` is a file with more of them, or `""`. `oauth2_clients` has the
    user's own `client_id` and `client_secret` by provider. `outbox` is where mail waits.
    """

    path: StrPath
    accounts: dict[str, Account]
    default: str
    ispdb: bool = True
    aliases: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    aliases_file: str = ""
    log: Log = Log.FILE
    oauth2_clients: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    outbox: OutboxSettings = OutboxSettings()

    def account(self, name: str | None) -> Account:
        """The account with that name, or the only one with that address; without a name, the default account.

        Raises SmtpsetupError (`config.no-account`).
        """
        wanted = name or self.default or (next(iter(self.accounts)) if len(self.accounts) == 1 else "")
        by_address = [account for account in self.accounts.values() if account.address == wanted]
        if wanted in self.accounts:
            return self.accounts[wanted]
        if len(by_address) == 1:
            return by_address[0]
        hints: tuple[str, ...] = (_("Set one up: `smtpsetup configure`."),)
        if self.accounts:
            hints = (_("These are configured: {names}.").format(names=", ".join(self.accounts)), *hints)
        if not wanted and self.accounts:
            message = _("No account was named and none is the default.")
            hints = (*hints, _("Choose a default: `smtpsetup accounts default NAME`."))
        elif wanted:
            message = _("There is no account {name} in {path}.").format(name=wanted, path=self.path)
        else:
            message = _("No account is configured yet in {path}.").format(path=self.path)
        raise SmtpsetupError("config.no-account", message, hints=hints)


def load_with_system(path: StrPath | None, system: StrPath) -> Config:
    """The user's configuration, completed by that of the system, which only root may change. Raises as `load`.

    `path` is None for a user without a home.
    """
    if not os.path.exists(system):
        return load(path) if path is not None else Config(system, {}, "")
    own = load(path) if path is not None and _is_accessible(path) else Config(path or system, {}, "")
    shared = _config(_read(system, is_shared=True), system)
    return Config(
        path or system,
        {**shared.accounts, **own.accounts},
        own.default or shared.default,
        own.ispdb and shared.ispdb,
        {**shared.aliases, **own.aliases},
        own.aliases_file or shared.aliases_file,
        shared.log if own.log is Log.FILE else own.log,
        {**shared.oauth2_clients, **own.oauth2_clients},
        own.outbox.completed(shared.outbox),
    )


def _is_accessible(path: StrPath) -> bool:
    """Whether this user may know if the file exists: not if HOME is that of another user."""
    try:
        os.stat(path)
    except OSError as error:
        return not isinstance(error, PermissionError)
    return True


def load_named(path: str) -> Config:
    """The configuration at `path`, which may be the system's; the default one for `""`. Raises as `load`."""
    system = paths.system_config_file()
    if path in ("", system):
        return load_with_system(None if path else paths.own_config_file(), system)
    return load(path)


def outbox_of(config_file: str) -> OutboxSettings:
    """The outbox that mail of an account in this file goes to. Raises as `load`."""
    usual = (paths.own_config_file(), paths.system_config_file())
    return load_named("" if config_file in usual else config_file).outbox


def load(path: StrPath) -> Config:
    """The configuration at `path`, empty if there is no file.

    Raises SmtpsetupError (`config.invalid`, `config.permissions`).
    """
    return _config(_read(path), path)


def _config(text: str, path: StrPath) -> Config:
    table = _parse(text, path)
    accounts = {name: _account(name, row, path) for name, row in table.get("accounts", {}).items()}
    return Config(
        path,
        accounts,
        table.get("default", ""),
        table.get("ispdb", True),
        {name.lower(): tuple(_as_list(target)) for name, target in table.get("aliases", {}).items()},
        table.get("aliases_file", ""),
        Log(table.get("log", Log.FILE)),
        table.get("oauth2", {}),
        _outbox(table, path),
    )


def _outbox(table: dict[str, Any], path: StrPath) -> OutboxSettings:
    try:
        return outbox_settings(table)
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def save(path: StrPath, account: Account, *, make_default: bool) -> None:
    """Add or replace an account. Raises SmtpsetupError or OSError and leaves the file as it was."""
    from smtpsetup.config import toml_edit  # only a change needs it

    def change(text: str) -> str:
        text = toml_edit.with_table(text, ("accounts", account.name), table_of(account), KEYS)
        return toml_edit.with_root_value(text, "default", account.name) if make_default else text

    _change(path, change)


def mark_verified(path: StrPath, account: Account) -> None:
    """Mark an account as verified, unless it was changed or removed meanwhile. Raises as `save`."""
    from smtpsetup.config import toml_edit  # only a change needs it

    def change(text: str) -> str:
        if _config(text, path).accounts.get(account.name) != account:
            return text
        return toml_edit.with_table(text, ("accounts", account.name), {**table_of(account), "verified": True}, KEYS)

    _change(path, change)


def set_default(path: StrPath, name: str) -> None:
    """Make an account the default one. Raises as `save`."""
    from smtpsetup.config import toml_edit  # only a change needs it

    account = load(path).account(name)
    _change(path, lambda text: toml_edit.with_root_value(text, "default", account.name))


def set_outbox_key(path: StrPath, file: str) -> None:
    """Keep the key of the shared outbox in a file from now on. Raises as `save`."""
    from smtpsetup.config import toml_edit  # only a change needs it

    _change(path, lambda text: toml_edit.with_root_value(text, "outbox_key", {"store": "file", "path": file}))


def remove(path: StrPath, name: str) -> None:
    """Remove an account, also as the default. Raises as `save`."""
    from smtpsetup.config import toml_edit  # only a change needs it

    def change(text: str) -> str:
        text = toml_edit.without_table(text, ("accounts", name))
        return toml_edit.with_root_value(text, "default", None) if _config(text, path).default == name else text

    _change(path, change)


def _change(path: StrPath, change: Callable[[str], str]) -> None:
    with files.locked(path):
        before = _read(path)
        _config(before, path)
        after = change(before)
        _config(after, path)
        if after != before:
            files.write_atomically(path, after)


def _read(path: StrPath, *, is_shared: bool = False) -> str:
    with private_dir.as_root_again():
        return _read_as_owner(path, is_shared=is_shared)


def _read_as_owner(path: StrPath, *, is_shared: bool) -> str:
    try:
        if not is_shared:
            private_dir.become_owner_of(os.path.dirname(os.path.abspath(path)), for_good=True)
        nonblocking = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait for a writer
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | nonblocking)) as file:
            _check_permissions(os.fstat(file.fileno()), path, is_shared=is_shared)
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise _invalid(path, _("it is not UTF-8")) from error
    except OSError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The configuration {path} cannot be read: {reason}.").format(path=path, reason=reason_of(error)),
            hints=(_("Look at who may read it: `ls -ld {path}`.").format(path=shlex.quote(str(path))),),
        ) from error


def _check_permissions(info: os.stat_result, path: StrPath, *, is_shared: bool) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise _invalid(path, _("it is not a regular file"))
    causes = (_("It names commands that smtpsetup runs, so only you may change it."),)
    if sys.platform == "win32":
        from smtpsetup.state import windows_acl  # only on its platform

        if windows_acl.others_have(os.fspath(path), windows_acl.WRITE if is_shared else windows_acl.READ_OR_WRITE):
            raise SmtpsetupError(
                "config.permissions",
                _("Others may read or change the configuration {path}.").format(path=path),
                causes=causes,
                hints=(windows_acl.hint(os.fspath(path)),),
            )
        return
    if info.st_uid not in ((0,) if is_shared else (0, os.geteuid())):
        raise SmtpsetupError(
            "config.permissions",
            _("The configuration {path} belongs to another user.").format(path=path),
            causes=causes,
            hints=(
                _("Use a configuration of your own, or make this one yours: `chown {user} {path}`.").format(
                    user=os.geteuid(), path=shlex.quote(str(path))
                ),
            ),
        )
    if info.st_mode & (0o022 if is_shared else 0o077):
        raise SmtpsetupError(
            "config.permissions",
            _("Others may read or change the configuration {path} (mode {mode}).").format(
                path=path, mode=f"{stat.S_IMODE(info.st_mode):04o}"
            ),
            causes=causes,
            hints=(_("Make it private: `chmod 600 {path}`.").format(path=shlex.quote(str(path))),),
        )


def _parse(text: str, path: StrPath) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a date or a number may be out of range
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise _invalid(path, _("line {line} is not valid TOML").format(line=line), causes=(f"{error}.",)) from error
    fault = next(_faults(table), None)
    if fault:
        raise _invalid(path, fault)
    return table


def _faults(table: dict[str, Any]) -> Iterator[str]:
    """The faults of a configuration apart from its accounts. Only the first is reported."""
    version = table.get("version", _KNOWN_VERSION)
    if version != _KNOWN_VERSION:
        yield _("its version is {version}, but this smtpsetup knows only version 1").format(version=version)
    accounts = table.get("accounts", {})
    if not isinstance(accounts, dict) or not all(isinstance(row, dict) for row in accounts.values()):
        yield _('every account must be a table, such as [accounts."info@mittforetag.se"]')
    yield from type_faults(table, TYPES)
    logs = tuple(kind for kind in Log if sys.platform != "win32" or kind is not Log.SYSLOG)  # Windows has no syslog
    yield from choice_faults(table, {"log": logs})
    yield from _alias_faults(table.get("aliases", {}))
    if not _are_oauth2_clients(table.get("oauth2", {})):
        yield must_be("oauth2", _('tables such as [oauth2.microsoft] with client_id = "…"'))


def _are_oauth2_clients(clients: object) -> bool:
    known = {"client_id", "client_secret"}
    return isinstance(clients, dict) and all(
        isinstance(row, dict) and set(row) <= known and all(isinstance(value, str) for value in row.values())
        for row in clients.values()
    )


def _alias_faults(aliases: object) -> Iterator[str]:
    if not isinstance(aliases, dict):
        yield must_be("aliases", _("a table"))
        return
    for name, given in aliases.items():
        targets = _as_list(given)
        if not targets or not all(isinstance(target, str) for target in targets):
            yield must_be(f"aliases.{name}", _("an address, or a list of addresses"))
            return
        for target in targets:
            try:
                parse_address(target)
            except MalformedAddressError as error:
                yield f"aliases.{name}: {str(error).rstrip('.')}"


def _as_list(given: Any) -> list[Any]:  # noqa: ANN401  any TOML value
    return given if isinstance(given, list) else [given]


def _account(name: str, row: dict[str, Any], path: StrPath) -> Account:
    try:
        return account_of(name, row, path)
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: StrPath, fault: str, *, causes: tuple[str, ...] = ()) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("The configuration {path} has a fault: {fault}.").format(path=path, fault=fault),
        causes=causes,
        hints=(_("Correct that place in the file; nothing was changed."),),
    )

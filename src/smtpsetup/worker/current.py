"""The configuration as it is now: read again when its files have changed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from smtpsetup.config import accounts, paths
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.state import login_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.accounts import Config

    _T = TypeVar("_T")
    Signature = tuple[tuple[int, int, int] | None, ...]


_LOOK_SECONDS = 0.2


class CurrentConfig:
    """The configuration at `named`, `""` for the usual one; `directory` is the state directory.

    A change that cannot be read is reported once, and what was read before goes on to count. For any thread.
    """

    def __init__(self, named: str, directory: str, report: Callable[[str], None]) -> None:
        """Read it. Raises SmtpsetupError, OSError."""
        self.named = named
        self._directory = directory
        self._report = report
        own = paths.own_config_file()
        self._config_files = (named,) if named else (paths.system_config_file(), *([own] if own else []))
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._config_seen = signature_of(self._config_files)
        self._config = accounts.load_named(named)
        self._secrets_seen = self._secrets()

    @property
    def config(self) -> Config:
        """The configuration."""
        self._look()
        return self._config

    @property
    def signature(self) -> Signature:
        """A value that differs once the configuration, the file of a secret or a sign-in has changed."""
        self._look()
        return self._config_seen + self._secrets_seen

    def refresh(self) -> None:
        """Look now: a client that was added a moment ago is known."""
        self._next_look = 0.0

    def _look(self) -> None:
        """Read again what has changed, if the last look was long enough ago."""
        now = time.monotonic()
        if now < self._next_look:
            return
        with self._lock:
            self._next_look = now + _LOOK_SECONDS
            self._read_changed()

    def _read_changed(self) -> None:
        """Read again what has changed."""
        seen = signature_of(self._config_files)
        if seen != self._config_seen:
            self._config_seen = seen
            self._config = self._read(lambda: accounts.load_named(self.named)) or self._config
        self._secrets_seen = self._secrets()

    def _secrets(self) -> Signature:
        kept = [account.secret for account in self._config.accounts.values()]
        files = [os.path.expanduser(secret.reference) for secret in kept if secret.store is Store.FILE]
        return signature_of((login_stamp.path_in(self._directory), *files))

    def _read(self, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except SmtpsetupError as error:
            self._report(f"{error.message} ({error.code})")
        except OSError as error:
            self._report(f"{error.filename}: {reason_of(error)}")
        return None


def signature_of(files: tuple[str, ...]) -> Signature:
    """The inode, size and time of change of each file, None for one that cannot be looked at."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            info = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(found)

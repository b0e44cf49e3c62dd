"""Resolving local names such as `root` to addresses that a provider can deliver to."""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_NOUSER
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.state import input_file
from smtpsetup.submission.machine_names import is_name_of_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE_LIMIT = 10_000_000  # bytes
_DEFAULT = "default"


class Aliases(NamedTuple):
    """The addresses of local names.

    `configured` are those of the configuration, and `file` is the path of the aliases file or `""`. `user` is the
    caller's login name, `own_address` the address of the account, and `host` this machine's name.
    """

    configured: Mapping[str, tuple[str, ...]]
    file: str
    user: str
    own_address: str
    host: str

    def resolved(self, recipient: str) -> list[str]:
        """The addresses of a recipient, in their form for the envelope.

        Raises SmtpsetupError (`rcpt.unknown`, exit code 67).
        """
        if not self.is_local(recipient):
            return [parse_address(recipient).wire]
        name = recipient.partition("@")[0].strip('"').lower()
        found = self._looked_up(name)
        if not found and _DEFAULT in self.configured:
            found = list(self.configured[_DEFAULT])
        if not found and name == self.user:
            found = [self.own_address]
        if not found:
            raise SmtpsetupError(
                "rcpt.unknown",
                _("{name} is a name on this machine, and nothing says which address it has.").format(
                    name=plain_text(recipient)
                ),
                hints=(
                    _(
                        "Say it in the configuration, before the accounts: `[aliases]` and below it `{name} = "
                        '"me@example.com"`.'
                    ).format(name=plain_text(name)),
                ),
                exit_code=EX_NOUSER,
            )
        return [parse_address(address).wire for address in found]

    def is_local(self, recipient: str) -> bool:
        """Whether this is a name on this machine and not an Internet address."""
        name, at, domain = recipient.rpartition("@")
        domain = domain.lower().rstrip(".")
        if not at or not name:
            return True
        if "@" in name and not name.startswith('"'):
            return False  # malformed, and reported as that
        if domain == self.own_address.rpartition("@")[2].lower():
            return False
        if "." not in domain:
            return not domain.startswith("[")
        return domain in (self.host.lower(), "localhost.localdomain") or is_name_of_machine(domain, self.host)

    def _looked_up(self, name: str) -> list[str]:
        """The addresses that the configuration, else the aliases file, gives to a name; none where neither does."""
        if name in self.configured:
            return list(self.configured[name])
        aliases = _aliases_in(self.file, _changed_at(self.file)) if self.file else {}
        found: list[str] = []
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            local = waiting.pop(0)
            if local in seen:
                continue
            seen.add(local)
            for target in aliases.get(local, []):
                if not self.is_local(target):
                    found.append(target)
                elif (below := target.partition("@")[0].lower()) in self.configured:
                    found.extend(self.configured[below])
                elif below in aliases:
                    waiting.append(below)
                elif below == self.user:
                    found.append(self.own_address)
        return list(dict.fromkeys(found))


_TARGET = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"]+)')


def _changed_at(path: str) -> int:
    """When a file was changed last, in nanoseconds; 0 where that cannot be told."""
    try:
        return os.stat(os.path.expanduser(path)).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=1)
def _aliases_in(path: str, _changed_at: int) -> dict[str, list[str]]:
    """The addresses and names in a file such as /etc/aliases (aliases(5)); commands, files and includes are left out.

    It is read again once it has changed: a relay runs for long. Raises SmtpsetupError where it cannot be read.
    """
    aliases: dict[str, list[str]] = {}
    name = ""
    try:
        lines = input_file.read(os.path.expanduser(path), _FILE_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The aliases file {path} cannot be read: {reason}.").format(path=path, reason=reason_of(error)),
            hints=(_("It is named in the configuration as `aliases_file`."),),
        ) from error
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        targets = line
        if not line.startswith((" ", "\t")):
            name, _colon, targets = line.partition(":")
            name = name.strip().strip('"').lower()
        plain = ((match[1] if match[1] is not None else match[2]).strip() for match in _TARGET.finditer(targets))
        aliases.setdefault(name, []).extend(
            target for target in plain if target and not target.startswith(("|", "/", ":include:", "\\"))
        )
    return aliases

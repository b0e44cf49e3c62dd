"""From what a caller on this machine says, such as `root`, to addresses that a provider can deliver to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import addresses
from smtpsetup.errors import EX_NOUSER, SmtpsetupError
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEEPEST = 10  # aliases of aliases
_DEFAULT = "default"


class Aliases(NamedTuple):
    """The addresses of local names. `user` is the caller's login name and `own_address` the account's; `host` is this machine's name."""

    configured: Mapping[str, str]
    file: str
    user: str
    own_address: str
    host: str

    def resolved(self, recipient: str) -> list[str]:
        """The addresses that a recipient stands for, in the form for the envelope. Raises SmtpsetupError (`rcpt.unknown`, exit code 67)."""
        if not self.is_local(recipient):
            return [addresses.parse(recipient).wire]
        name = recipient.partition("@")[0].lower()
        found = self._looked_up(name, 0)
        if not found and _DEFAULT in self.configured:
            found = [self.configured[_DEFAULT]]
        if not found and name == self.user:
            found = [self.own_address]
        if not found:
            raise SmtpsetupError(
                "rcpt.unknown",
                _("{name} is a name on this machine, and nothing says which address it has.").format(name=recipient),
                hints=(
                    _('Say it in the configuration, before the accounts: `[aliases]` and below it `{name} = "me@example.com"`.').format(name=name),
                ),
                exit_code=EX_NOUSER,
            )
        return [addresses.parse(address).wire for address in found]

    def is_local(self, recipient: str) -> bool:
        """Whether this is a name on this machine and no address on the net."""
        name, at, domain = recipient.rpartition("@")
        return not at or not name or "." not in domain.strip(".") or domain.lower() in (self.host.lower(), "localhost.localdomain")

    def _looked_up(self, name: str, depth: int) -> list[str]:
        if name in self.configured:
            return [self.configured[name]]
        if not self.file or depth > _DEEPEST:
            return []
        targets = _aliases_in(self.file).get(name, [])
        found: list[str] = []
        for target in targets:
            if self.is_local(target):
                found += self._looked_up(target.partition("@")[0].lower(), depth + 1) or ([self.own_address] if target == self.user else [])
            else:
                found.append(target)
        return found


def _aliases_in(path: str) -> dict[str, list[str]]:
    """The addresses and names in a file such as /etc/aliases; commands, files and lists of others are no addresses and are left out."""
    aliases: dict[str, list[str]] = {}
    name = ""
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The aliases file {path} cannot be read: {reason}.").format(path=path, reason=error.strerror),
            hints=(_("It is named in the configuration as `aliases_file`."),),
        ) from error
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        targets = line
        if not line.startswith((" ", "\t")):
            name, _colon, targets = line.partition(":")
            name = name.strip().strip('"').lower()
        plain = (target.strip() for target in targets.split(","))
        aliases.setdefault(name, []).extend(target for target in plain if target and target[0] not in '|/:"\\')
    return aliases

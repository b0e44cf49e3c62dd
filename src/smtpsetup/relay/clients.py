"""The clients of the relay: programs and devices with a password of their own, kept as scrypt (RFC 7914)."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from smtpsetup.address.address import MalformedAddressError, ascii_lower, parse_address
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.state import files, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FILE = "relay-clients.json"
_LIMIT = 5_000_000  # bytes
_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that are mistaken for others on a printer's display
_LENGTH = 20  # letters, together 99 bits
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1  # 16 MB and some 40 ms a login
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # addresses of IPv4, which a client has here without the prefix
_WIDEST = {4: 8, 6: 32}  # bits of the prefix of a network, by the version of IP


@dataclass(frozen=True, slots=True)
class Client:
    """A client of the relay.

    `senders` are the addresses that it may send from, where it is bound to some. `account` is the name of the account
    that its mail goes through, `""` for that of the sender's address. From `nets` it needs no login, and from elsewhere
    it is refused. `per_day` is how many mails it may hand over in 24 hours. With `old_tls` it may log in over TLS 1.0
    and 1.1. `made_at` is in seconds since 1970.
    """

    name: str
    password_hash: str
    senders: tuple[str, ...] = ()
    account: str = ""
    nets: tuple[str, ...] = ()
    per_day: int | None = None
    old_tls: bool = False
    made_at: float = 0.0

    def comes_from(self, address: Address) -> bool:
        """Whether an address is in one of the client's networks."""
        return self.closeness(address) > 0

    def closeness(self, address: Address) -> int:
        """The length of the longest prefix of the client's networks that have an address, 0 for none, in bits."""
        return max((one.prefixlen for one in map(network, self.nets) if address in one), default=0)

    def may_send_from(self, sender: str) -> bool:
        """Whether the client may use a sender; it is bound to none where no senders are named."""
        return not self.senders or _comparable(sender) in map(_comparable, self.senders)


def _comparable(address: str) -> str:
    try:
        return ascii_lower(parse_address(address).wire)
    except MalformedAddressError:
        return ascii_lower(address)


@functools.lru_cache(maxsize=1024)
def network(text: str) -> Network:
    """A network from its CIDR notation. Raises ValueError, in the user's language, for one that is too wide."""
    try:
        found = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ValueError(
            _("{text} is no network. Write it as 192.168.1.0/24, or a single address as 192.168.1.20.").format(
                text=text
            )
        ) from error
    if found.version == 6 and found.subnet_of(_MAPPED):  # noqa: PLR2004  the version of IP
        raise ValueError(_("{text} stands for addresses of IPv4: write it as one of those.").format(text=text))
    if found.prefixlen < _WIDEST[found.version]:
        raise ValueError(
            _(
                "{text} is too wide: whoever is in it sends mail in your name. Name the addresses of your devices."
            ).format(text=text)
        )
    return found


def new_password() -> Secret:
    """A new password, easy to type on a device."""
    return Secret("".join(secrets.choice(_LETTERS) for _letter in range(_LENGTH)))


def hashed(password: Secret) -> str:
    """A password as it is kept: the parameters of scrypt, the salt and the hash."""
    salt = os.urandom(16)
    parts = (base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt)))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *parts))


def is_password(password: Secret, kept: str) -> bool:
    """Whether a password is the one that `hashed` was given."""
    try:
        kind, cost, block, parallel, salt, known = kept.split("$")
        wanted = (kind, int(cost), int(block), int(parallel)) == ("scrypt", _COST, _BLOCK, _PARALLEL)
        return wanted and hmac.compare_digest(
            _scrypt(password, base64.b64decode(salt, validate=True)), base64.b64decode(known, validate=True)
        )
    except ValueError:
        return False


def _scrypt(password: Secret, salt: bytes) -> bytes:
    data = password.reveal().encode("utf-8", "surrogateescape")
    return hashlib.scrypt(data, salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, maxmem=64_000_000, dklen=32)


NOBODY = f"scrypt${_COST}${_BLOCK}${_PARALLEL}${'A' * 22}==${'A' * 43}="
"""A hash that no password has: a login with an unknown name takes as long as one with a wrong password."""


def file_in(directory: str) -> str:
    """The path of the clients' file in the state directory."""
    return os.path.join(directory, _FILE)


def load(directory: str) -> dict[str, Client]:
    """The clients by name. Raises SmtpsetupError (`config.invalid`), OSError."""
    path = file_in(directory)
    private_dir.become_owner_of(directory)
    try:
        handle = private_dir.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    try:
        text = os.read(handle, _LIMIT)
    finally:
        os.close(handle)
    try:
        document = json.loads(text)
        rows = {_VERSION: document["clients"]}[document["version"]]
        return {name: _client(name, row) for name, row in rows.items()}
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The file {path} with the clients of the relay has a fault.").format(path=path),
            hints=(_("Move it away and add the clients again: `smtpsetup relay add-client NAME`."),),
        ) from error


def _client(name: str, row: Mapping[str, Any]) -> Client:
    client = Client(
        name,
        str(row["password_hash"]),
        tuple(map(str, row.get("senders", ()))),
        str(row.get("account", "")),
        tuple(map(str, row.get("nets", ()))),
        None if row.get("per_day") is None else int(row["per_day"]),
        bool(row.get("old_tls", False)),
        float(row.get("made_at", 0.0)),
    )
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    for text in client.nets:
        network(text)
    return client


def _change(directory: str, change: Callable[[dict[str, Client]], None]) -> None:
    """Change the file, one process at a time. Raises SmtpsetupError, OSError."""
    private_dir.prepare(directory)
    path = file_in(directory)
    with files.locked(path):
        clients = load(directory)
        change(clients)
        rows = {
            name: {key: value for key, value in asdict(client).items() if key != "name" and value not in ("", (), None)}
            for name, client in sorted(clients.items())
        }
        files.write_atomically(path, json.dumps({"version": _VERSION, "clients": rows}, indent=1) + "\n")


def add(directory: str, client: Client) -> Secret:
    """Add a client. Returns its password, which is kept nowhere. Raises SmtpsetupError, OSError."""
    if not _NAME.fullmatch(client.name):
        raise SmtpsetupError(
            "config.invalid",
            _("{name} cannot be the name of a client.").format(name=client.name),
            hints=(_("Use up to 64 letters, digits, dots and hyphens, such as `shop` or `printer-2`."),),
        )
    password = new_password()
    made = replace(client, password_hash=hashed(password), made_at=time.time())

    def change(clients: dict[str, Client]) -> None:
        if client.name in clients:
            raise SmtpsetupError(
                "config.invalid",
                _("There is a client {name} already.").format(name=client.name),
                hints=(
                    _("Give it a new password: `smtpsetup relay renew {name}`.").format(name=client.name),
                    _("Or remove it first: `smtpsetup relay remove {name}`.").format(name=client.name),
                ),
            )
        clients[client.name] = made

    _change(directory, change)
    return password


def renew(directory: str, name: str) -> Secret:
    """Give a client a new password, and return it. Raises SmtpsetupError, OSError."""
    password = new_password()

    def change(clients: dict[str, Client]) -> None:
        clients[name] = replace(found(clients, name), password_hash=hashed(password))

    _change(directory, change)
    return password


def remove(directory: str, name: str) -> None:
    """Remove a client. Raises SmtpsetupError, OSError."""

    def change(clients: dict[str, Client]) -> None:
        del clients[found(clients, name).name]

    _change(directory, change)


def found(clients: Mapping[str, Client], name: str) -> Client:
    """The client of that name. Raises SmtpsetupError (`config.invalid`)."""
    if name in clients:
        return clients[name]
    names = ", ".join(clients)
    raise SmtpsetupError(
        "config.invalid",
        _("The relay has no client {name}.").format(name=name),
        hints=(
            _("These are its clients: {names}.").format(names=names)
            if names
            else _("It has none yet. Add one: `smtpsetup relay add-client NAME`."),
        ),
    )

"""A message for a service that has no envelope and reads the recipients from the header.

Everybody in the envelope must stand in To, Cc or Bcc, and nobody else: an address in To that the envelope does not have
has got the mail already, or was never meant to (a mail for `root` that goes to somebody else).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.address.address import ascii_lower, parse_address
from smtpsetup.address.address_list import Entry, understood
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.raw_header import Field, as_bytes, raw_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpsetup.message.message import Envelope, Message

_ADDRESSED = ("to", "cc")
_RESENT = ("resent-to", "resent-cc", "resent-bcc")


def addressed_by_header(message: Message, envelope: Envelope) -> Message:
    """The message with a header that names the recipients of the envelope and nobody else.

    The bytes of its other fields and of its body stay as they are. Where To or Cc names somebody else, the field is
    written anew without them, and what it said is kept as X-Original-To or X-Original-Cc.
    """
    left = {_key(recipient): recipient for recipient in envelope.recipients}
    lines: list[bytes] = []
    to_nobody: list[bytes] = []  # an empty To, or a group without members
    is_addressed = False
    for field, raw in raw_fields(message.header):
        key = field.key if field else ""
        if field is None or key not in (*_ADDRESSED, "bcc"):
            # a service might deliver to those of an earlier sending
            lines.append(b"X-" + raw if key in _RESENT else raw)
            continue
        if key == "bcc":
            continue
        kept, foreign = _sorted(field, left)
        for entry in kept:
            left.pop(_key(entry.address), None)
        is_addressed = is_addressed or bool(kept)
        if key == "to" and not (kept or foreign):
            to_nobody.append(raw)
            continue
        if not foreign:
            lines.append(raw)
            continue
        lines.append(b"X-Original-" + raw)
        if kept:
            lines.append(_written(Field(field.name, ", ".join(_text(entry) for entry in kept))))
    lines += to_nobody if is_addressed else [b"To: undisclosed-recipients:;\r\n"]
    if left:
        lines.append(_written(Field("Bcc", ", ".join(left.values()))))
    return message._replace(header=b"".join(lines) + b"\r\n")


def _sorted(field: Field, wanted: Iterable[str]) -> tuple[list[Entry], bool]:
    """The entries that are wanted, and whether there are others, or any that cannot be understood."""
    found, faults = understood(field.value)
    named = [entry for entry in found if entry]
    kept = [entry for entry in named if _key(entry.address) in wanted]
    # a group without members, such as undisclosed-recipients:;, names nobody
    return kept, bool(faults) or len(kept) < len(named)


def _key(address: str) -> str:
    """An address in the form that is compared: domains in A-labels and in lower case."""
    try:
        local, _at, domain = parse_address(address).wire.rpartition("@")
    except SmtpsetupError:
        return address
    return f"{local}@{ascii_lower(domain)}"


def _text(entry: Entry) -> str:
    name = entry.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{entry.address}>' if name else entry.address


def _written(field: Field) -> bytes:
    return as_bytes([field]).removesuffix(b"\r\n")

"""What a mail provider reads and changes in the header of a message, without touching any other byte."""

from __future__ import annotations

import inspect
import re
from email.parser import HeaderParser
from email.utils import formataddr, getaddresses
from typing import Any

RECIPIENT_FIELDS = ("To", "Cc", "Bcc")


def split(message: bytes) -> tuple[bytes, bytes]:
    """The header, with the line end of its last field, and the rest from the empty line on."""
    if message.startswith((b"\r\n", b"\n")):
        return b"", message
    end = re.search(rb"\r?\n(?=\r?\n)", message)
    return (message, b"") if end is None else (message[: end.end()], message[end.end() :])


def fields(header: bytes) -> list[bytes]:
    """The fields as they stand, each with its continuation lines."""
    return re.findall(rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", header)


def without(message: bytes, name: str) -> bytes:
    """The message without a field."""
    header, rest = split(message)
    start = name.lower().encode() + b":"
    return b"".join(field for field in fields(header) if not field.lower().startswith(start)) + rest


def addresses(message: bytes, *names: str) -> tuple[str, ...]:
    """The addresses of fields in their order, those in groups included, and each of them once."""
    header = HeaderParser().parsestr(split(message)[0].decode("utf-8", "surrogateescape"))
    values = [str(value) for name in names for value in header.get_all(name, [])]
    return tuple(dict.fromkeys(address for _name, address in _parsed(values) if address))


def recipients(message: bytes) -> tuple[str, ...]:
    """Everyone whom To, Cc and Bcc name."""
    return addresses(message, *RECIPIENT_FIELDS)


def with_from(message: bytes, address: str) -> bytes:
    """The message from another address; the display name stays."""
    header, rest = split(message)
    values = HeaderParser().parsestr(header.decode("utf-8", "surrogateescape")).get_all("From", [""])
    name = _parsed([str(values[0])])[0][0] if str(values[0]) else ""
    try:
        line = formataddr((name, address))
    except UnicodeError:  # an address outside ASCII
        line = f"{name} <{address}>".strip()
    written = f"From: {line}".encode("utf-8", "surrogateescape") + (b"\r\n" if b"\r\n" in message else b"\n")
    kept = fields(header)
    place = next((index for index, field in enumerate(kept) if field.lower().startswith(b"from:")), None)
    if place is None:
        return written + message
    kept[place] = written
    return b"".join(kept) + rest


def _parsed(values: list[str]) -> list[tuple[str, str]]:
    """Display names and addresses; newer Pythons refuse a list with an empty group unless they are told not to."""
    lenient: dict[str, Any] = {"strict": False} if "strict" in inspect.signature(getaddresses).parameters else {}
    return getaddresses(values, **lenient)

"""What a running relay leaves for `relay --status`, and how it greets."""

from __future__ import annotations

import ipaddress
import json
import os
from typing import NamedTuple

GREETING = "ESMTP smtpsetup relay"
"""A part of the first line that it sends."""


USUAL_HOST, USUAL_PORT = "127.0.0.1", 2525


class Where(NamedTuple):
    """Where a relay listens, or would."""

    host: str
    port: int
    has_starttls: bool
    is_running: bool

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, for others
            return False


def document(address: str, tls_address: str, *, has_starttls: bool) -> str:
    """The content of the file."""
    values = {"address": address, "tls_address": tls_address or None, "starttls": has_starttls, "pid": os.getpid()}
    return json.dumps(values) + "\n"


def read(directory: str) -> tuple[str, bool]:
    """Where a relay said that it listens, HOST:PORT, and whether it offers STARTTLS; `""` where none has."""
    try:
        with open(running_file(directory), encoding="utf-8") as file:
            values = json.load(file)
        return str(values["address"]), bool(values["starttls"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", False


def forget(directory: str) -> None:
    """Delete the file, unless another relay has written it meanwhile. Errors are ignored."""
    try:
        with open(running_file(directory), encoding="utf-8") as file:
            is_ours = json.load(file)["pid"] == os.getpid()
        if is_ours:
            os.unlink(running_file(directory))
    except (OSError, ValueError, KeyError, TypeError):
        return


def split(address: str) -> tuple[str, int]:
    """The host and port of HOST:PORT. Raises ValueError."""
    host, _colon, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def running_file(directory: str) -> str:
    """The file in the state directory that says where a relay listens."""
    return os.path.join(directory, "relay.json")

"""How a failure is rehearsed: what the sandbox server does wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.model import Stage


class Act(StrEnum):
    """What the server does at the stage of the fault."""

    REPLY = "reply"
    DROP = "drop"
    SILENCE = "silence"
    REFUSE_CONNECTIONS = "refuse-connections"
    CLOG = "clog"  # connections are neither accepted nor refused, as by a firewall
    WRONG_PROTOCOL = "wrong-protocol"  # implicit TLS where plaintext is expected, and the reverse
    BAD_CERTIFICATE = "bad-certificate"
    OLD_TLS = "old-tls"
    BREAK_HANDSHAKE = "break-handshake"
    INJECT = "inject"  # another reply follows that to STARTTLS, before TLS
    WITHHOLD = "withhold"  # an extension is not offered


class Certificate(StrEnum):
    """The certificate that the server shows."""

    GOOD = "good"
    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    UNKNOWN_AUTHORITY = "unknown-authority"
    SELF_SIGNED = "self-signed"
    OWN_CHAIN = "own-chain"  # of an unknown authority, whose certificate is sent too, as by an antivirus program
    OTHER_HOST = "other-host"  # as OTHER_NAME, and the greeting names the same host


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An error of an API: `transport` is that of an account (`graph` or `gmail`)."""

    transport: str
    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and at which stage.

    `reply` is the whole reply. `offers` is what EHLO offers for AUTH (None: unchanged). With `only_tls_port`, the port
    with STARTTLS has no fault. `needs` are options of `configure` or `test` without which the fault does not
    occur. `ports` are the ports for implicit TLS and STARTTLS, 0 for any. With `api`, the server is that of an API.
    """

    stage: Stage
    act: Act = Act.REPLY
    reply: str = ""
    certificate: Certificate = Certificate.GOOD
    offers: str | None = None
    only_tls_port: bool = False
    needs: str = ""
    ports: tuple[int, int] = (0, 0)
    api: ApiAnswer | None = None

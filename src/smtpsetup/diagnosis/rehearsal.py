"""How a failure is rehearsed: what a server does in place of what is right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.model import Stage


class Act(StrEnum):
    """What the server does at the fault's stage, in place of what is right."""

    REPLY = "reply"
    DROP = "drop"
    SILENCE = "silence"
    REFUSE_CONNECTIONS = "refuse-connections"
    CLOG = "clog"  # connections are neither accepted nor refused, as behind a firewall
    WRONG_PROTOCOL = "wrong-protocol"  # TLS where the clear is expected, the clear where TLS is
    BAD_CERTIFICATE = "bad-certificate"
    OLD_TLS = "old-tls"
    BREAK_HANDSHAKE = "break-handshake"
    INJECT = "inject"
    WITHHOLD = "withhold"  # an extension is not offered


class Certificate(StrEnum):
    """The certificate that the server shows."""

    GOOD = "good"
    EXPIRED = "expired"
    OTHER_NAME = "other-name"
    UNKNOWN_AUTHORITY = "unknown-authority"
    SELF_SIGNED = "self-signed"
    OWN_CHAIN = "own-chain"  # an unknown authority's, which is shown as well, as an antivirus program does
    OTHER_HOST = "other-host"  # as OTHER_NAME, and the greeting names that host, too


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and where.

    `reply` is the whole reply; `offers` is what EHLO offers for AUTH (None: nothing changed).

    `only_tls_port` leaves the port with STARTTLS in order; `needs` are options that the account must have for the fault
    to show; `ports` are those that it must be on, 0 for any.
    """

    stage: Stage
    act: Act = Act.REPLY
    reply: str = ""
    certificate: Certificate = Certificate.GOOD
    offers: str | None = None
    only_tls_port: bool = False
    needs: str = ""
    ports: tuple[int, int] = (0, 0)

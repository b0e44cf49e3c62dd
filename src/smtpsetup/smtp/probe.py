"""Asking a server itself: EHLO over TLS, a look at what it offers and what it shows of itself, and goodbye.

Nobody logs in here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.core.failure import StageResult, TransportError
from smtpsetup.core.model import Auth, Stage
from smtpsetup.net import tls
from smtpsetup.smtp.sasl import TOKEN_MECHANISMS, best_mechanism
from smtpsetup.smtp.session import Session

if TYPE_CHECKING:
    from smtpsetup.core.failure import CertificateFacts, Failure
    from smtpsetup.core.model import Server
    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.tls import TlsPolicy


@dataclass(frozen=True, slots=True)
class Probed:
    """What a server showed of itself.

    `auth` is empty where nobody could log in; `failure` is None where it greeted and proved its name.

    `address` is the IP address that answered, `""` where none did.
    """

    server: Server
    mechanisms: tuple[str, ...] = ()
    address: str = ""
    failure: Failure | None = None

    @property
    def auth(self) -> tuple[Auth, ...]:
        """The proofs that it takes."""
        found = [Auth.PASSWORD] if best_mechanism(self.mechanisms) else []
        return (*found, *([Auth.OAUTH2] if set(TOKEN_MECHANISMS) & set(self.mechanisms) else []))

    @property
    def works(self) -> bool:
        """Whether it is a submission server that proved its name."""
        return bool(self.auth) and self.failure is None


def probe(
    server: Server, ehlo_name: str, policy: TlsPolicy, deadline: Deadline, look_up: LookUp | None = None
) -> Probed:
    """Open a session and leave it. Whatever goes wrong is the answer, not an error."""
    addresses: list[str] = []

    def note(result: StageResult) -> None:
        if result.stage is Stage.CONNECT:
            addresses.append(result.detail)

    session = Session(server, ehlo_name=ehlo_name, deadline=deadline, policy=policy, on_stage=note, look_up=look_up)
    try:
        with session:
            session.connect()
            return Probed(server, session.mechanisms, addresses[-1])
    except TransportError as error:
        return Probed(server, address=addresses[-1] if addresses else "", failure=error.failure)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server whose certificate did not verify shows of itself: for diagnosis only."""

    greeting: str
    certificate: CertificateFacts | None


def shown_by(server: Server, ehlo_name: str, deadline: Deadline, look_up: LookUp | None = None) -> Shown:
    """Look at a server's certificate and greeting without believing either: nothing but EHLO and STARTTLS is sent."""
    session = Session(server, ehlo_name=ehlo_name, deadline=deadline, policy=tls.unverified(), look_up=look_up)
    with session:
        with contextlib.suppress(TransportError):  # what was seen before it failed is still worth telling
            session.connect()
        return Shown(session.greeting.text if session.greeting else "", tls.certificate_facts(session.certificate))

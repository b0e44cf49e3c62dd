"""Probing a server: connect, TLS, EHLO, QUIT, without logging in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.core.failure import StageResult, TransportError
from smtpsetup.core.model import Auth, Stage
from smtpsetup.net import tls
from smtpsetup.smtp.sasl import best_mechanism
from smtpsetup.smtp.session import Session

if TYPE_CHECKING:
    from smtpsetup.core.failure import CertificateFacts, Failure
    from smtpsetup.core.model import Server
    from smtpsetup.net.dial import Deadline, LookUp
    from smtpsetup.net.tls import TlsPolicy


@dataclass(frozen=True, slots=True)
class Probed:
    """The result of a probe.

    `failure` is None if the server greeted and proved its name.
    `address` is the IP address that answered, `""` if none did.
    """

    server: Server
    mechanisms: tuple[str, ...] = ()
    address: str = ""
    failure: Failure | None = None

    @property
    def auth(self) -> tuple[Auth, ...]:
        """The ways to log in that it offers, of those that this program knows."""
        password = (Auth.PASSWORD,) if best_mechanism(self.mechanisms) else ()
        token = (Auth.OAUTH2,) if best_mechanism(self.mechanisms, with_token=True) else ()
        return (*password, *token)

    @property
    def works(self) -> bool:
        """Whether it is a submission server that proved its name."""
        return bool(self.auth) and self.failure is None


def probe(
    server: Server, ehlo_name: str, policy: TlsPolicy, deadline: Deadline, look_up: LookUp | None = None
) -> Probed:
    """Connect and leave. A failure is part of the result and is not raised."""
    address = ""

    def note_address(result: StageResult) -> None:
        nonlocal address
        if result.stage is Stage.CONNECT:
            address = result.detail

    try:
        with Session(
            server, ehlo_name=ehlo_name, deadline=deadline, policy=policy, on_stage=note_address, look_up=look_up
        ) as session:
            session.connect()
            return Probed(server, session.mechanisms, address)
    except TransportError as error:
        return Probed(server, address=address, failure=error.failure)


@dataclass(frozen=True, slots=True)
class Unverified:
    """The greeting and certificate of a server whose certificate did not verify: for diagnosis only."""

    greeting: str
    certificate: CertificateFacts | None


def probe_unverified(server: Server, ehlo_name: str, deadline: Deadline, look_up: LookUp | None = None) -> Unverified:
    """Read a server's certificate and greeting without trusting either: nothing but EHLO and STARTTLS is sent."""
    session = Session(server, ehlo_name=ehlo_name, deadline=deadline, policy=tls.unverified(), look_up=look_up)
    with session:
        with contextlib.suppress(TransportError):  # what was read before the failure is still worth reporting
            session.connect()
        return Unverified(session.greeting.text if session.greeting else "", tls.certificate_facts(session.certificate))

"""The interface of all transports: open a session for an account, and deliver messages.

It is only for types: no module loads it when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.failure import TransportError
    from smtpsetup.core.model import Secret, Stage
    from smtpsetup.message.delivery import Delivery, Outcome
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.sending.conditions import Conditions


class Session(Protocol):
    """A session with an account's server. As a context manager, it is ended in the protocol's way where possible."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object, /) -> None: ...

    def open(self, secret: Secret | None) -> None:
        """Connect and log in; `secret` is None where the account needs none. Raises TransportError."""

    def prove_sender(self) -> None:
        """Prove that the account may send from its own address, without sending a mail. Raises TransportError."""

    def deliver(self, delivery: Delivery, *, lockstep: bool = False) -> Outcome:
        """Deliver one message. With `lockstep`, a reply is awaited after each command, so that each stage is timed.

        Raises TransportError where no recipient was accepted or the outcome is unknown (`Failure.is_unknown`), and
        UnreadableMessageError where the message cannot be read.
        """

    def deliver_all(self, deliveries: Iterator[Delivery], *, lockstep: bool) -> Iterator[Outcome | TransportError]:
        """Deliver messages as they come, and give the outcome of each, in order: a TransportError where all refused it.

        Raises TransportError where the session cannot go on; it belongs to the first delivery that was taken and has no
        outcome. Raises UnreadableMessageError for the same delivery; then the session must be closed.
        """

    def close(self) -> None:
        """Close the connection at once."""

    @property
    def capabilities(self) -> Mapping[str, str]:
        """The server's EHLO keywords with their parameters, or their like; empty before the session is open."""

    @property
    def tls_facts(self) -> TlsFacts | None:
        """The connection's TLS parameters and certificate; only where `on_stage` is set."""


class Transport(Protocol):
    """A way to send. Without `has_envelope`, the server reads the recipients from the message's header."""

    has_envelope: bool

    def planned_stages(self, account: Account, *, login_only: bool) -> tuple[Stage, ...]:
        """The stages of a session with one message, or of a login, in order."""

    def session(self, account: Account, conditions: Conditions) -> Session:
        """A session that has not been opened.

        Raises SmtpsetupError (`config.invalid`) where the account's settings cannot be used.
        """

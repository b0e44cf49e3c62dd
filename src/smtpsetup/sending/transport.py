"""What every way to send mail can do: open a session for an account, and take deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.failure import StageResult, TransportError
    from smtpsetup.core.model import Secret, Stage
    from smtpsetup.message.delivery import Delivery, Outcome
    from smtpsetup.net.tls import TlsFacts


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a session is opened. `seconds` is for everything before the first message.

    `trace` gets the conversation line by line, secrets masked; `on_stage` how each stage went.
    """

    seconds: float
    trace: Callable[[str], None] | None = None
    on_stage: Callable[[StageResult], None] | None = None


class Session(Protocol):
    """A way to one account's server.

    As a context manager it is closed at the end, with a goodbye where that is still possible.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object, /) -> None: ...

    def open(self, secret: Secret | None) -> None:
        """Reach the server and log in; `secret` is None where the account needs none. Raises TransportError."""

    def deliver(self, delivery: Delivery, *, lockstep: bool = False) -> Outcome:
        """Hand over one message; who was accepted and who was refused. In `lockstep` every stage has its own time.

        Raises TransportError when nobody was accepted, or nobody knows (`Failure.is_unknown`), SmtpsetupError when the
        message cannot be read.
        """

    def deliver_all(self, deliveries: Iterator[Delivery], *, lockstep: bool) -> Iterator[Outcome | TransportError]:
        """Hand over messages as they come; what became of each, in order: a TransportError for one that nobody got.

        Raises TransportError when the session cannot go on: it concerns the first delivery that was taken and has no
        outcome. Raises SmtpsetupError for a message that cannot be read; then the session must be closed.
        """

    def close(self) -> None:
        """Drop the connection without a goodbye."""

    @property
    def capabilities(self) -> Mapping[str, str]:
        """What the server said it can do, by keyword; nothing before it has been reached."""

    @property
    def tls_facts(self) -> TlsFacts | None:
        """What the connection's TLS rests on, for a session whose stages somebody watches."""


class Transport(Protocol):
    """A way to send.

    `has_envelope` says that the recipients go beside the message; else the server reads them from its header.
    """

    has_envelope: bool

    def planned_stages(self, account: Account, *, login_only: bool) -> tuple[Stage, ...]:
        """The stages that sending goes through, in order."""

    def session(self, account: Account, conditions: Conditions) -> Session:
        """A session that is not open yet.

        Raises SmtpsetupError (`config.invalid`) where the account's settings cannot be used.
        """

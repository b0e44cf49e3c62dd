"""What asking a source takes, and what comes of it; shared by the sources."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from smtpsetup.discovery.dns import Answer, DnsStatus
from smtpsetup.discovery.findings import Candidate, Outcome, Rank, Source, Trust
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.addresses import Address
    from smtpsetup.discovery.dns import Resolver
    from smtpsetup.discovery.fetch import Fetcher
    from smtpsetup.discovery.settings import Setting
    from smtpsetup.providers import Table
    from smtpsetup.transport.dial import Deadline

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
GRACE_SECONDS = 1.0  # that an answer waits for a better one which is still on its way: four round trips to the other side of the world


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What every source needs to know. `ask_ispdb` is False for people who do not want a third party to learn the domain."""

    address: Address
    table: Table
    resolver: Resolver
    fetcher: Fetcher
    deadline: Deadline
    ask_ispdb: bool

    @property
    def domain(self) -> str:
        """The domain asked about, as A-labels."""
        return self.address.domain


@dataclass(frozen=True, slots=True)
class MailRoute:
    """Where the domain's incoming mail goes, as far as that tells something. `status` is how the look-up of its MX ended."""

    status: DnsStatus
    hosts: tuple[str, ...] = ()
    takes_no_mail: bool = False
    filter_name: str | None = None
    forwarder_name: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one source came to, and the questions that its answer raises."""

    outcome: Outcome
    detail: str = ""
    candidates: tuple[Candidate, ...] = ()
    next_steps: tuple[Step, ...] = ()
    route: MailRoute | None = None
    dns_failed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One source to ask. `rank` is the best that its answer can be."""

    source: Source
    rank: Rank
    origin: str
    ask: Callable[[Circumstances, Step], Finding] = field(repr=False)


def begun(ask: Callable[[], _Value], deadline: Deadline) -> Callable[[], _Value]:
    """Ask at once, in the background; the function that is given back waits for the answer. It raises what asking raised, and TimeoutError."""
    answers: queue.SimpleQueue[tuple[_Value | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((None, error))

    def answer() -> _Value:
        try:
            value, error = answers.get(timeout=deadline.remaining())
        except queue.Empty as late:
            raise TimeoutError from late
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # there is a value where there is no error

    threading.Thread(target=work, daemon=True).start()
    return answer


def side_by_side(
    questions: dict[_Key, Callable[[], _Value]], deadline: Deadline, *, is_enough: Callable[[_Value], bool] = lambda _value: False
) -> dict[_Key, _Value]:
    """The answers to several questions, asked at once; those that did not come in time are missing.

    After an answer that `is_enough`, the others have GRACE_SECONDS left.
    """
    answers: queue.SimpleQueue[tuple[_Key, _Value | None, Exception | None]] = queue.SimpleQueue()

    def work(key: _Key, ask: Callable[[], _Value]) -> None:
        try:
            answers.put((key, ask(), None))
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((key, None, error))

    for key, ask in questions.items():
        threading.Thread(target=work, args=(key, ask), daemon=True).start()
    found: dict[_Key, _Value] = {}
    while len(found) < len(questions):
        try:
            key, value, error = answers.get(timeout=deadline.remaining())
        except (queue.Empty, TimeoutError):
            break
        if error is not None:
            raise error
        found[key] = value  # type: ignore[assignment]  # there is a value where there is no error
        if is_enough(found[key]):
            deadline = deadline.at_most(GRACE_SECONDS)
    return found


def found(step: Step, trust: Trust, rank: Rank, settings: list[Setting], *, origin: str = "") -> Finding:
    """The finding for settings that a source names, best first."""
    first = settings[0]
    servers = tuple(dict.fromkeys(setting.server for setting in settings))
    candidate = Candidate(step.source, trust, rank, origin or step.origin, servers, username=first.username, auth=first.auth)
    return Finding(Outcome.FOUND, ", ".join(str(server) for server in servers), (candidate,))


def silence(answer: Answer, absent: str, route: MailRoute | None = None) -> Finding:
    """A look-up that gave no records: nothing there, or nobody said so."""
    if not answer.status.is_temporary:
        return Finding(Outcome.ABSENT, absent, route=route)
    outcome = Outcome.TIMEOUT if answer.status is DnsStatus.TIMEOUT else Outcome.FAILED
    return Finding(outcome, dns_reason(answer.status), route=route, dns_failed=True)


def dns_reason(status: DnsStatus) -> str:
    """Why the name servers gave no answer, for people."""
    reasons = {
        DnsStatus.TIMEOUT: _("the name servers did not answer in time"),
        DnsStatus.REFUSED: _("the name servers refused to answer"),
        DnsStatus.UNREACHABLE: _("no name server can be reached"),
    }
    return reasons.get(status) or _("the name servers answered with a failure")

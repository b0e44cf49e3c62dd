"""What a transport needs to open a session, beside the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.core.failure import StageResult
    from smtpsetup.core.model import Secret
    from smtpsetup.state.request_limits import Limits, RequestLimits


class Conditions(NamedTuple):
    """How a session is opened. `seconds` is the time limit for everything before the first message.

    `trace` gets the lines of the conversation, secrets masked; `on_stage` gets the result of each stage. `renew` gives
    another access token than one that was refused in the middle of a session, None where there is no other.
    `request_limits` gives the limits of a mailbox where several machines keep them together.
    """

    seconds: float
    trace: Callable[[str], None] | None = None
    on_stage: Callable[[StageResult], None] | None = None
    renew: Callable[[Secret], Secret | None] | None = None
    request_limits: Callable[[str, Limits], RequestLimits] | None = None

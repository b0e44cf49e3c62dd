"""The provider's daily limit, which is kept before it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.providers.row import Provider

_DAILY = ("messages_per_day", "recipients_per_day")


_MANY = 1_000_000


def has_daily_limit(provider: Provider | None) -> bool:
    """Whether the provider takes only so much a day."""
    return provider is not None and any(provider.limit(key) is not None for key in _DAILY)


def left_of_daily_limit(outbox: Outbox, account: str, provider: Provider | None, taken: tuple[int, int]) -> int:
    """How many more mails the provider takes in these 24 hours; a large number where it has no such limit.

    `taken` are the messages and recipients that this process is sending.
    """
    if provider is None or not has_daily_limit(provider):
        return _MANY
    limits = [provider.limit(key) for key in _DAILY]
    used = zip(limits, outbox.sent_last_day(account), outbox.taken_by_others(account), taken, strict=True)
    return min(_MANY if limit is None else max(0, limit - sum(counts)) for limit, *counts in used)


def respect_daily_limit(outbox: Outbox, account: str, provider: Provider | None) -> None:
    """Raise SmtpsetupError where the provider's daily limit is reached: further attempts could block the account."""
    messages, recipients = outbox.sent_last_day(account) if has_daily_limit(provider) else (0, 0)
    for key, n in zip(_DAILY, (messages, recipients), strict=True):
        limit = provider.limit(key) if provider else None
        if provider and limit is not None and n >= limit:
            raise SmtpsetupError(
                "limit.quota",
                _("{provider} allows {limit} mails or recipients in 24 hours, and there were {n}.").format(
                    provider=provider.name, limit=limit, n=n
                ),
                hints=(_("Nothing is to be done: the rest is sent when some of those are a day old."),),
            )

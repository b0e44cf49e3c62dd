"""How to send from a provider that takes no password from mail programs: the ways that work, with their effort."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, ProviderStatus

if TYPE_CHECKING:
    from smtpsetup.providers.row import Provider

HOSTS = ("Loopia", "one.com", "Oderland", "Simply.com", "OVHcloud", "Hetzner")
"""Hosts in Sweden and Europe that take a password for a domain of one's own, by their names in the provider table."""


class WayKind(StrEnum):
    """What a way consists of."""

    SIGN_IN = "sign-in"
    PAID_PLAN = "paid-plan"
    OWN_DOMAIN = "own-domain"
    GMAIL = "gmail"
    RELAY = "relay"


class Way(NamedTuple):
    """A way to send, for people: what to do, and the time or money that it takes."""

    kind: WayKind
    text: str
    effort: str


def ways_for(row: Provider, *, is_own_domain: bool) -> tuple[Way, ...]:
    """The ways for a provider that takes no password from its customers, or only from those who pay.

    `is_own_domain` says that the address is at a domain of the person's own.

    The easiest one that keeps the address comes first. None where the password or an app password is enough.
    """
    can_sign_in = row.auth == (Auth.OAUTH2,) and row.oauth2 is not None and not row.oauth2.is_closed
    is_without_smtp = row.status is ProviderStatus.UNAVAILABLE
    if not (can_sign_in or row.needs_paid_plan or is_without_smtp):
        return ()
    ways = []
    if can_sign_in:
        ways.append(
            Way(
                WayKind.SIGN_IN,
                _("Get a client id at {provider}, then sign in").format(provider=row.name),
                _("15 minutes, once"),
            )
        )
    if row.needs_paid_plan:
        text = _("Take the plan of {provider} that lets other programs send").format(provider=row.name)
        ways.append(Way(WayKind.PAID_PLAN, text, _("10 minutes, and what the plan costs")))
    if not is_own_domain:
        text = _("Use an address of a domain of your own, at a host that takes a password: {hosts}")
        ways += [
            Way(WayKind.OWN_DOMAIN, text.format(hosts=", ".join(HOSTS)), _("an hour, and a yearly fee")),
            Way(WayKind.GMAIL, _("Use a Gmail address with an app password"), _("10 minutes, free")),
        ]
    if can_sign_in:
        text = _("Let a program send that cannot sign in, such as an order program: sign in here, and use the relay")
        ways.append(Way(WayKind.RELAY, text, _("20 minutes, once")))
    return tuple(ways)

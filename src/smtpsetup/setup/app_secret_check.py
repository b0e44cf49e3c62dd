"""When the client secret or the certificate of a program ends that signs in by itself, for `doctor`."""

from __future__ import annotations

import datetime
import shlex
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.credentials import stores
from smtpsetup.setup.findings import ok, warning, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient
    from smtpsetup.setup.findings import Finding

_ENDS_SOON_DAYS = 30


def app_secret_findings(account: Account, client: TokenClient) -> Iterator[Finding]:
    """Whether the secret is about to end; nothing where its end is not known."""
    day = _end_of_secret(account, client)
    if not day:
        return
    left = (datetime.date.fromisoformat(day) - datetime.datetime.now(datetime.UTC).date()).days
    renew = _("Make a new one at the provider, then save it: `smtpsetup login {account}`.")
    renew = renew.format(account=shlex.quote(account.name))
    if left < 0:
        message = _("The client secret or certificate of {account} expired on {day}.")
        ended = SmtpsetupError(
            "auth.client-secret-expired", message.format(account=account.name, day=day), hints=(renew,)
        )
        yield wrong("sign-in", ended)
    elif left <= _ENDS_SOON_DAYS:
        message = ngettext(
            "The client secret or certificate expires in {n} day ({day}).",
            "The client secret or certificate expires in {n} days ({day}).",
            left,
        )
        yield warning("sign-in", message.format(n=left, day=day), renew)
    else:
        yield ok("sign-in", _("The client secret or certificate is good until {day}.").format(day=day))


def _end_of_secret(account: Account, client: TokenClient) -> str:
    """The last day of the secret: that of the certificate in its place now, else the one that was saved."""
    from smtpsetup.oauth import app_secret  # only for programs that sign in by themselves

    try:
        key = app_secret.parsed(stores.read(account, may_prompt=False))
    except SmtpsetupError:  # a finding of its own
        return client.secret_expires
    return key.expires or client.secret_expires

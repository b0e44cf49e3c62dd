"""The doctor's look at a shared outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.setup.findings import ok, warning, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.setup.findings import Finding

_CHECK = "shared-outbox"


def shared_outbox_findings(settings: OutboxSettings, directory: str, *, has_sign_ins: bool) -> Iterator[Finding]:
    """Whether the shared outbox can be used, whether anybody sends from it, and whether this machine has the key.

    `has_sign_ins` says that an account of this machine signs in with OAuth2.
    """
    from smtpsetup.outbox.postgresql import token_store  # psycopg costs 100 ms
    from smtpsetup.outbox.postgresql.store import PostgresqlOutbox

    try:
        with PostgresqlOutbox(settings, directory) as shared:
            workers = shared.summary(()).workers
            waits = shared.has_waiting()
        if has_sign_ins:
            token_store.own_key(settings)
    except SharedOutboxError as error:
        yield wrong(_CHECK, error.explained())
        return
    except SmtpsetupError as error:
        yield wrong(_CHECK, error)
        return
    if waits and not workers:
        yield warning(
            _CHECK,
            _("Mail waits in the shared outbox {url}, and no worker sends it at this moment.").format(
                url=settings.shown
            ),
            _("Set up a worker on any of the machines: `smtpsetup outbox work --install`."),
        )
        return
    text = ngettext(
        "The shared outbox {url} can be used; {n} worker sends from it now.",
        "The shared outbox {url} can be used; {n} workers send from it now.",
        workers,
    )
    yield ok(_CHECK, text.format(url=settings.shown, n=workers))

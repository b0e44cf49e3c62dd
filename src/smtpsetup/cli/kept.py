"""What `send` says of a mail that is in the outbox."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from smtpsetup.cli.state import tell
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.sending.send_or_queue import Policy


def tell_kept(result: SendResult, policy: Policy) -> None:
    """Say where a mail is kept, and whether anything sends it from there."""
    tell(_queued(result))
    if result.away:
        here = _("The mail is kept on this machine meanwhile, and `smtpsetup outbox work` or `flush` hands it on.")
        tell(f"{result.away.message} {here}")
    is_usual_place = sys.stderr.isatty() or sys.platform in ("win32", "darwin")  # where it is the usual state
    if is_usual_place and not policy.outbox.is_shared:  # workers elsewhere send from a shared one
        _warn_if_nothing_flushes()


def _queued(result: SendResult) -> str:
    """A sentence that says why a mail, or a part of its recipients, is in the outbox."""
    kept = _("The mail is in the outbox as number {number}: `smtpsetup outbox list`.").format(number=result.outbox_id)
    if not result.accepted:
        return f"{result.postponed_by.message} {kept}" if result.postponed_by else kept
    return _("It was sent to {names}; the others get it later.").format(names=", ".join(result.accepted)) + f" {kept}"


def _warn_if_nothing_flushes() -> None:
    from smtpsetup.setup import schedule  # needed for queued mail only

    if schedule.installed_scheduler() is None:
        tell(
            _(
                "Nothing on this machine sends what is in the outbox by itself: `{command}`, or "
                "`smtpsetup outbox flush`."
            ).format(command=schedule.how_to())
        )

"""What `doctor` looks at in the relay of this user, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.relay import clients, exposure
from smtpsetup.relay.status import where
from smtpsetup.setup.findings import ok, warning, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.setup.findings import Finding


def examine() -> Iterator[Finding]:
    """Whether the relay is running, and whom it lets in more widely than its owner may think."""
    directory = paths.state_dir()
    try:
        known = clients.load(directory) if directory else {}
    except SmtpsetupError as error:
        yield wrong("relay", error)
        return
    except OSError:  # the state directory has a finding of its own
        return
    if not known or directory is None:
        return
    place = where(directory)
    if place.is_running:
        text = ngettext("The relay listens, and has {n} client.", "The relay listens, and has {n} clients.", len(known))
        yield ok("relay", text.format(n=len(known)))
    else:
        yield warning(
            "relay",
            _("The relay is not running, so that its clients cannot hand over mail."),
            _("Start it: `smtpsetup relay`, or as a service: `smtpsetup relay --install`."),
        )
    for text in exposure.warnings(known, is_exposed=place.is_running and not place.is_loopback):
        yield warning("relay-client", text, _("Look at the clients: `smtpsetup relay list`."))

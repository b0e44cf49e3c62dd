"""A secret in an environment variable."""

from __future__ import annotations

import os

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The variable's value. Raises SmtpsetupError (`secret.missing`)."""
    value = os.environ.get(reference)
    if value is None:
        raise SmtpsetupError(
            "secret.missing",
            _("The environment variable {name} with the password of {account} is not set.").format(
                name=reference, account=account
            ),
            hints=(_("Set it where the command runs: cron and systemd do not read your shell's start-up files."),),
        )
    return value

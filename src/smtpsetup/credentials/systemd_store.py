"""A secret that systemd passes to a unit (https://systemd.io/CREDENTIALS)."""

from __future__ import annotations

import os
import sys

from smtpsetup.config import secret_source
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _


def read(reference: str, account: str, *, may_prompt: bool) -> str:  # noqa: ARG001  the stores' one interface
    """The credential's content. Raises SmtpsetupError (`secret.missing`)."""
    if sys.platform in ("win32", "darwin"):
        message = _("The password of {account} is the systemd credential {name}, but this system has no systemd.")
        hint = _("Name another place: {options}.").format(options=secret_source.other_places())
        raise SmtpsetupError("secret.missing", message.format(account=account, name=reference), hints=(hint,))
    hints = (
        _("Add it to the unit: `LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}`.").format(
            name=reference
        ),
        _("To set the account up outside the unit, add `--no-verify`; then run `smtpsetup test` in the unit."),
    )
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        message = _(
            "The password of {account} is the systemd credential {name}, and this process was not started by a unit "
            "that has it."
        )
        raise SmtpsetupError("secret.missing", message.format(account=account, name=reference), hints=hints)
    try:
        with open(os.path.join(directory, reference), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        message = _("The systemd credential {name} with the password of {account} cannot be read.")
        raise SmtpsetupError("secret.missing", message.format(account=account, name=reference), hints=hints) from error

"""Libraries of the extras, which need not be installed."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_EXTRAS = ("aiosmtpd", "cryptography", "trustme")


@contextmanager
def libraries_needed(extra: str, message: str) -> Iterator[None]:
    """Raise SmtpsetupError, with the command that installs them, where libraries of an extra are missing.

    `message` says so, with `{name}` for the library.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_EXTRAS:
            raise
        raise SmtpsetupError(
            "config.invalid",
            message.format(name=error.name),
            causes=(_("Sending mail does not need it, so smtpsetup can be installed without it."),),
            hints=(_("Install it: `{command}`.").format(command=_installation(extra)),),
        ) from error


def _installation(extra: str) -> str:
    """The command that installs an extra beside smtpsetup. Its requirements are in the metadata."""
    from importlib import metadata  # 20 ms, only for this error

    is_of_extra = re.compile(rf"""extra == ["']{extra}["']""")
    wanted = [
        text.partition(";")[0].strip() for text in metadata.requires("smtpsetup") or () if is_of_extra.search(text)
    ]
    packages = " ".join(map(shlex.quote, wanted))
    if os.path.exists(os.path.join(sys.prefix, "pipx_metadata.json")):
        return f"pipx inject smtpsetup {packages}"
    return f"{shlex.quote(sys.executable)} -m pip install {packages}"

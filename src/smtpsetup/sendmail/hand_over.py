"""From the options of a call and the bytes of a mail to its submission; a mail that fails there is saved to a file."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from smtpsetup.config import accounts, paths
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.message import raw_header, spool
from smtpsetup.sending.send_spooled import KeptError
from smtpsetup.sendmail.report import say, trace
from smtpsetup.submission import submission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpsetup.config.accounts import Config
    from smtpsetup.sendmail.options import Options
    from smtpsetup.submission.submission import RawSubmitted, Request


def request_of(options: Options) -> Request:
    """What the options ask for; the configuration is not looked at."""
    return submission.Request(
        options.recipients,
        options.account,
        options.sender,
        raw_header.decoded_text(options.full_name.encode("utf-8", "surrogateescape")),
        from_header=options.from_header,
        user=_user(),
        host=os.uname().nodename if hasattr(os, "uname") else "",
    )


def hand_over(options: Options, request: Request, lines: Iterable[bytes]) -> RawSubmitted:
    """Submit a mail, given in chunks with CRLF line ends. Raises SmtpsetupError, KeptError and OSError.

    Where neither sending nor keeping it is possible, it is saved to a file, whose path is written to standard error.
    """
    fault: SmtpsetupError | None = None
    try:
        fields, rest = raw_header.split(lines)
    except raw_header.EndlessFieldError as error:
        fields, rest, fault = error.fields, error.rest, error
    body = spool.Spool(rest)
    try:
        _raise(fault)
        config, named = config_of(options)
        shown = trace if options.is_verbose else None
        return submission.submit_raw(config, request._replace(config=named), fields, body, trace=shown)
    except KeptError as kept:
        if not kept.is_sent:
            say(_("The mail is in the outbox."))
        raise
    except Exception as unsent:
        from smtpsetup.sendmail import rescue  # only for failures

        for hint in rescue.saved(unsent, request, fields, body):
            say(hint)
        raise
    finally:
        body.close()


def _raise(error: SmtpsetupError | None) -> None:
    if error is not None:
        raise error


def config_of(options: Options) -> tuple[Config, str]:
    """The configuration, and its path where it was named. Raises SmtpsetupError."""
    named = named_config(options)
    return accounts.load_named(named), named


def named_config(options: Options) -> str:
    """The path of the configuration that was named, `""` for the usual one.

    Raises SmtpsetupError for one that -C may not name.
    """
    if not options.config:
        named = os.environ.get("SMTPSETUP_CONFIG")
        return os.path.abspath(os.path.expanduser(named)) if named else ""
    # strangers may control this flag (PHP's fifth parameter of mail), and a configuration names commands to run
    own = paths.own_config_file()
    for known in (paths.system_config_file(), *([own] if own else [])):
        if os.path.realpath(options.config) == os.path.realpath(known):
            return known
    hint = _("In a script of your own, name it in the variable SMTPSETUP_CONFIG instead.")
    message = _("-C may name only this machine's configuration or your own, not {path}.").format(path=options.config)
    raise SmtpsetupError("config.permissions", message, hints=(hint,))


def _user() -> str:
    """The caller's login name."""
    if sys.platform != "win32":
        import pwd

        with suppress(KeyError):
            return pwd.getpwuid(os.getuid()).pw_name.lower()
    return os.environ.get("LOGNAME", os.environ.get("USER", "")).lower()

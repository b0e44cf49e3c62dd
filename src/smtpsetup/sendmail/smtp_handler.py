"""`sendmail -bs`: mails that come by SMTP on standard input have the same fate as those of `sendmail -t`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message import spool
from smtpsetup.sending.send_spooled import KeptError
from smtpsetup.sendmail import hand_over
from smtpsetup.sendmail.report import report, tell
from smtpsetup.submission import submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.sendmail.options import Options


class SmtpHandler:
    """Submits the mails of one session. -f, -F and -a of the call count for each of them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._request = hand_over.request_of(options)

    def check_recipient(self, sender: str, recipient: str) -> None:
        """Raise SmtpsetupError for a name that has no address, and for anything but one address."""
        submission.check_is_one_address(recipient)
        try:
            config, _named = hand_over.config_of(self._options)
        except SmtpsetupError:
            return  # a mail with a broken configuration is saved, once it is there
        submission.resolve(config, self._of(sender, ()), recipient)

    def accept(self, sender: str, recipients: tuple[str, ...], chunks: Iterator[bytes]) -> SmtpsetupError | None:
        """Submit a mail; the error where nobody got it and it is not tried again (RFC 5321 section 6.1)."""
        try:
            done = hand_over.hand_over(self._options, self._of(sender, recipients), spool.with_crlf(chunks))
        except KeptError:
            return None  # it is in the outbox
        except SmtpsetupError as error:
            tell(error)
            return error
        report(done)
        return None if done.is_accepted or not done.errors else done.errors[0]

    def _of(self, sender: str, recipients: tuple[str, ...]) -> submission.Request:
        given = self._request.sender
        return self._request._replace(
            recipients=recipients, sender=sender if given is None else given, from_header=False
        )

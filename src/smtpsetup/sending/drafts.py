"""Making drafts and deliveries from what a command line or a batch line says."""

from __future__ import annotations

import datetime
import shlex
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_DATAERR, EX_IOERR, EX_NOINPUT
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.message.compose import Draft, Mailbox, compose, new_message_id, parse_header, parse_mailboxes
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.state import input_file

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.message.compose import Attachment


class Parts(NamedTuple):
    """A mail as the user wrote it.

    `attach` has paths, `inline` pairs of content id and path, `headers` lines such as `X-Order: 4711`. `within` has the
    directory, without links, that a path must be below, for those that stand in a line or a table.
    """

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    from_: str | None = None
    subject: str = ""
    body: str = ""
    html: str = ""
    attach: tuple[str, ...] = ()
    inline: tuple[tuple[str, str], ...] = ()
    headers: tuple[str, ...] = ()
    within: tuple[tuple[str, str], ...] = ()


def draft_of(account: Account, parts: Parts) -> Draft:
    """The draft, with everything checked, files included. Raises SmtpsetupError."""
    for text in (parts.body, parts.html):
        try:
            text.encode()
        except UnicodeEncodeError as error:  # a lone surrogate
            message = _("The text holds half a character, which no mail can carry.")
            raise SmtpsetupError("config.invalid", message, exit_code=EX_DATAERR) from error
    to, cc, bcc = (_mailboxes(texts) for texts in (parts.to, parts.cc, parts.bcc))
    if not (to or cc or bcc):
        raise SmtpsetupError("config.invalid", _("The mail has no recipient."), exit_code=EX_DATAERR)
    within = dict(parts.within)
    return Draft(
        sender=_sender(account, parts.from_),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_mailboxes(parts.reply_to),
        subject=parts.subject,
        text=parts.body,
        html=parts.html,
        attachments=(
            *(_attachment(path, within=within.get(path, "")) for path in parts.attach),
            *(_attachment(path, name, within=within.get(path, "")) for name, path in parts.inline),
        ),
        headers=tuple(parse_header(header) for header in parts.headers),
    )


def delivery_of(draft: Draft, *, message_id: str | None = None, key: object = None) -> Delivery:
    """The composed draft with its envelope. Raises SmtpsetupError."""
    identity = message_id or new_message_id(draft.sender.address.domain)
    message = compose(draft, now=datetime.datetime.now(datetime.UTC).astimezone(), message_id=identity)
    return Delivery(Envelope(draft.sender.address.wire, draft.recipients), message, identity, draft.subject, key)


def _mailboxes(texts: tuple[str, ...]) -> tuple[Mailbox, ...]:
    return tuple(mailbox for text in texts for mailbox in parse_mailboxes(text))


def _sender(account: Account, from_: str | None) -> Mailbox:
    if from_ is None:
        return Mailbox(account.from_name, parse_address(account.address))
    found = parse_mailboxes(from_)
    if len(found) != 1:
        raise SmtpsetupError(
            "config.invalid", _("A mail comes from one address, not from several."), exit_code=EX_DATAERR
        )
    sender = found[0]
    is_own = sender.address.wire.lower() == parse_address(account.address).wire.lower()
    return Mailbox(sender.name or (account.from_name if is_own else ""), sender.address)


def _attachment(path: str, content_id: str = "", *, within: str = "") -> Attachment:
    from smtpsetup.message import attachments  # most mail from scripts has none

    try:
        return attachments.from_file(path, content_id=content_id, within=within)
    except OSError as error:
        raise read_failed(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise _no_path(path) from error


def _no_path(path: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid", _("{path} cannot be a path.").format(path=plain_text(path)), exit_code=EX_DATAERR
    )


def text_in(path: str) -> str:
    """The text in a file. Raises SmtpsetupError."""
    try:
        data = input_file.read(path)
    except OSError as error:
        raise read_failed(path, error) from error
    except ValueError as error:  # as above
        raise _no_path(path) from error
    return decoded(data, path)


def decoded(data: bytes, place: str) -> str:
    """The text of bytes from `place`. Raises SmtpsetupError where they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The text from {place} is not UTF-8.").format(place=place),
            hints=(_("Convert it: `iconv -f ISO-8859-1 -t UTF-8`. Or send it as an attachment: `--attach FILE`."),),
            exit_code=EX_DATAERR,
        ) from error


def read_failed(path: str, error: OSError) -> SmtpsetupError:
    """The error for an input file that is missing or cannot be read: exit code 66, for a failing disk 74."""
    import errno  # only when something failed

    return SmtpsetupError(
        "config.invalid",
        _("{path} cannot be read: {reason}. Nothing was sent.").format(path=path, reason=reason_of(error)),
        hints=(_("Check the path and who may read it: `ls -l {path}`.").format(path=shlex.quote(path)),),
        exit_code=EX_IOERR if error.errno == errno.EIO else EX_NOINPUT,
    )

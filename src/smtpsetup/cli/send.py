"""`smtpsetup send`."""

from __future__ import annotations

import datetime
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from smtpsetup import addresses, credentials, paths, sent
from smtpsetup.cli import views
from smtpsetup.cli.state import State, common_options, read_failed, tell
from smtpsetup.compose import Draft, Mailbox, attachment, compose, new_message_id, parse_header, parse_mailboxes
from smtpsetup.errors import EX_DATAERR, SmtpsetupError
from smtpsetup.i18n import gettext as _
from smtpsetup.model import Auth
from smtpsetup.transport.submit import Envelope
from smtpsetup.workflows.send import send

if TYPE_CHECKING:
    from smtpsetup.account import Account
    from smtpsetup.compose import Attachment
    from smtpsetup.providers import Provider


_MANY_RECIPIENTS = 10  # no provider allows fewer
_MANY_A_DAY = 20  # recipients; no provider allows fewer
_LARGE = 5_000_000  # bytes; no provider allows less
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class _Options:
    """What was typed on the command line."""

    recipients: tuple[str, ...]
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    reply_to: tuple[str, ...]
    from_: str | None
    subject: str
    body: str | None
    body_file: str | None
    html: str | None
    attach: tuple[str, ...]
    inline: tuple[str, ...]
    headers: tuple[str, ...]


@click.command("send", help=_("Send a mail. The text comes from --body, --body-file or standard input; success is silent unless a person watches."))
@click.argument("recipients", nargs=-1, metavar="[RECIPIENT]...")
@click.option("-a", "--account", metavar="NAME", help=_("The account to send with (default: the default one)."))
@click.option("--to", multiple=True, metavar="ADDRESS", help=_("A recipient; may be given several times."))
@click.option("--cc", multiple=True, metavar="ADDRESS", help=_("A recipient of a copy that everyone sees."))
@click.option("--bcc", multiple=True, metavar="ADDRESS", help=_("A recipient of a copy that nobody else sees."))
@click.option("-s", "--subject", default="", help=_("The subject."))
@click.option("--reply-to", multiple=True, metavar="ADDRESS", help=_("Where answers go."))
@click.option("--from", "from_", metavar="ADDRESS", help=_("Another sender address, where the provider allows it."))
@click.option("--body", metavar="TEXT", help=_("The text."))
@click.option("--body-file", metavar="FILE", help=_("A file with the text; - for standard input."))
@click.option("--html", metavar="FILE", help=_("A file with an HTML version; a text version is made if none is given."))
@click.option("--attach", multiple=True, metavar="FILE", help=_("Attach a file; may be given several times."))
@click.option("--inline", multiple=True, metavar="CID=FILE", help=_("A picture that the HTML shows as cid:CID."))
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help=_("Another header; may be given several times."))
@click.option("--dry-run", is_flag=True, help=_("Print the message and send nothing."))
@click.option(
    "--queue",
    type=click.Choice(["never", "on-failure", "always"]),
    default="never",
    show_default=True,
    help=_("Keep mail that cannot be sent now. This version has no outbox yet: every mail is sent at once or not at all."),
)
@common_options
@click.pass_obj
def send_command(state: State, /, account: str | None, dry_run: bool, queue: str, **typed: Any) -> None:  # noqa: ANN401, FBT001  click's options, given a type at once
    """Parse, compose, send, render."""
    options = _Options(**typed)
    chosen = state.config().account(account)
    draft = _draft(chosen, options)
    message_id = new_message_id(draft.sender.address.domain)
    message = compose(draft, now=datetime.datetime.now(datetime.UTC).astimezone(), message_id=message_id)
    if dry_run:
        _print_message(state, chosen, draft, message, message_id)
        return
    if queue != "never":
        tell(_("This version has no outbox yet: the mail is sent now, and if that fails it is not kept."))
    _warn_of_limits(state, chosen, draft, message)
    secret = None if chosen.auth is Auth.NONE else credentials.read(chosen, may_prompt=state.may_ask)
    result = send(
        chosen,
        secret,
        envelope=Envelope(draft.sender.address.wire, draft.recipients),
        message=message,
        message_id=message_id,
        find_provider=lambda: _provider(state, chosen),
        trace=state.trace(),
    )
    if result.accepted:
        sent.record(paths.state_dir(), chosen.name, len(result.accepted))
    if state.json:
        view = views.json.send_result(result)
        if result.error is None:
            state.write_json(view)
            return
        result.error.result = view
    if result.error:
        raise result.error
    if sys.stdout.isatty():
        views.human.sent(result)


def _warn_of_limits(state: State, account: Account, draft: Draft, message: bytes) -> None:
    """Say so before the provider does, when a message breaks one of its limits; what is far below every limit need not be looked up."""
    messages, recipients = sent.last_day(paths.state_dir(), account.name)
    if len(draft.recipients) < _MANY_RECIPIENTS and len(message) < _LARGE and recipients < _MANY_A_DAY:
        return
    row = _provider(state, account)
    if row is None:
        return
    here = len(draft.recipients)
    for key, n, text in (
        ("recipients_per_message", here, _("Warning: the message has {n} recipients, but {provider} allows {limit}.")),
        ("message_size_mb", -(-len(message) // _MEGABYTE), _("Warning: the message has {n} MB, but {provider} allows {limit}.")),
        ("messages_per_day", messages + 1, _("Warning: this is message {n} in 24 hours, but {provider} allows {limit}.")),
        ("recipients_per_day", recipients + here, _("Warning: these are {n} recipients in 24 hours, but {provider} allows {limit}.")),
    ):
        limit = row.limits.get(key)
        if isinstance(limit, int) and n > limit:
            tell(text.format(n=n, provider=row.name, limit=limit))


def _provider(state: State, account: Account) -> Provider | None:
    """Who runs the account's server, for a better explanation. A broken table of the person's own must not hide what became of the mail."""
    try:
        return state.provider(account)
    except SmtpsetupError:
        return None


def _draft(account: Account, options: _Options) -> Draft:
    to = _mailboxes((*options.recipients, *options.to))
    cc, bcc = _mailboxes(options.cc), _mailboxes(options.bcc)
    if not (to or cc or bcc):
        raise click.UsageError(_("Give at least one recipient: `smtpsetup send ADDRESS`."))
    return Draft(
        sender=_sender(account, options.from_),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_mailboxes(options.reply_to),
        subject=options.subject,
        text=_text(options),
        html=_read_text(options.html) if options.html else "",
        attachments=tuple(_attachments(options)),
        headers=tuple(parse_header(header) for header in options.headers),
    )


def _mailboxes(texts: tuple[str, ...]) -> tuple[Mailbox, ...]:
    return tuple(mailbox for text in texts for mailbox in parse_mailboxes(text))


def _sender(account: Account, from_: str | None) -> Mailbox:
    if from_ is None:
        return Mailbox(account.from_name, addresses.parse(account.address))
    found = parse_mailboxes(from_)
    if len(found) != 1:
        raise click.UsageError(_("--from takes one address."))
    return Mailbox(found[0].name or account.from_name, found[0].address)


def _text(options: _Options) -> str:
    if options.body is not None and options.body_file is not None:
        raise click.UsageError(_("Give the text with --body or --body-file, not both."))
    if options.body is not None:
        return options.body
    if options.body_file not in (None, "-"):
        return _read_text(str(options.body_file))
    if options.html and options.body_file is None:
        return ""
    if sys.stdin.isatty():
        click.echo(_("Write the text; end it with Ctrl-D on a line of its own."), err=True)
    return _decoded(sys.stdin.buffer.read(), _("standard input"))


def _read_text(path: str) -> str:
    return _decoded(_read(path), path)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise read_failed(path, error) from error


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("The text from {place} is not UTF-8.").format(place=place),
            hints=(_("Convert it: `iconv -f ISO-8859-1 -t UTF-8`. Or send it as an attachment: `--attach FILE`."),),
            exit_code=EX_DATAERR,
        ) from error


def _attachments(options: _Options) -> list[Attachment]:
    files = [attachment(path, _read(path)) for path in options.attach]
    for entry in options.inline:
        content_id, equals, path = entry.partition("=")
        if not (content_id and equals and path):
            raise click.UsageError(_("--inline takes CID=FILE, for example logo=logo.png."))
        if not options.html:
            raise click.UsageError(_("--inline is for pictures in the HTML version: give --html, too."))
        files.append(attachment(path, _read(path), content_id=content_id))
    return files


def _print_message(state: State, account: Account, draft: Draft, message: bytes, message_id: str) -> None:
    """What --dry-run shows: the message as it would go over the wire, and to whom."""
    if state.json:
        state.write_json(
            {
                "account": account.name,
                "message_id": message_id,
                "accepted": [],
                "refused": [],
                "queued": False,
                "outbox_id": None,
                "reply": None,
                "message": message.decode("utf-8"),
                "recipients": list(draft.recipients),
            }
        )
        return
    recipients = ", ".join(draft.recipients)
    click.echo(
        _("Nothing is sent. It would go from {sender} to: {recipients}").format(sender=draft.sender.address.wire, recipients=recipients), err=True
    )
    sys.stdout.buffer.write(message.replace(b"\r\n", b"\n"))
    sys.stdout.flush()

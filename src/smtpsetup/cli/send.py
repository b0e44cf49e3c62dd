"""`smtpsetup send`."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click
from smtpsetup.cli.kept import tell_kept
from smtpsetup.cli.state import State, WholeNumberType, common_options, tell
from smtpsetup.config import paths
from smtpsetup.core.errors import reason_of
from smtpsetup.core.i18n import decimal
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Queue
from smtpsetup.sending.drafts import Parts, decoded, delivery_of, draft_of, text_in
from smtpsetup.sending.send_one import SendResult
from smtpsetup.sending.send_or_queue import Policy, send_or_queue
from smtpsetup.state import termination, usage
from smtpsetup.terminal import streams
from smtpsetup.terminal.streams import silence

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.message.delivery import Delivery

# every provider's limits are at least these (recipients of a message, recipients a day, bytes)
_MANY_RECIPIENTS = 10
_MANY_A_DAY = 20
_LARGE = 5_000_000
_MEGABYTE = 1_000_000


class _Options(NamedTuple):
    """The message as typed on the command line; the defaults are those of the options."""

    recipients: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    from_: str | None = None
    subject: str = ""
    body: str | None = None
    body_file: str | None = None
    html: str | None = None
    attach: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@click.command(
    "send",
    cls=Command,
    help=_(
        "Send a mail. The text comes from --body, --body-file or standard input; success is silent unless a person "
        "watches."
    ),
)
@click.argument("recipients", nargs=-1, metavar=_("[RECIPIENT]..."))
@click.option(
    "-a",
    "--account",
    metavar=_("NAME"),
    shell_complete=by_click(account_names),
    help=_("The account to send with (default: the default one)."),
)
@click.option("--to", multiple=True, metavar=_("ADDRESS"), help=_("A recipient; may be given several times."))
@click.option("--cc", multiple=True, metavar=_("ADDRESS"), help=_("A recipient of a copy that everyone sees."))
@click.option("--bcc", multiple=True, metavar=_("ADDRESS"), help=_("A recipient of a copy that nobody else sees."))
@click.option("-s", "--subject", default="", metavar=_("TEXT"), help=_("The subject."))
@click.option("--reply-to", multiple=True, metavar=_("ADDRESS"), help=_("Where answers go."))
@click.option("--from", "from_", metavar=_("ADDRESS"), help=_("Another sender address, where the provider allows it."))
@click.option("--body", metavar=_("TEXT"), help=_("The text."))
@click.option("--body-file", metavar=_("FILE"), help=_("A file with the text; - for standard input."))
@click.option(
    "--html",
    metavar=_("FILE"),
    help=_("A file with an HTML version. Standard input is then read only with `--body-file -`."),
)
@click.option("--attach", multiple=True, metavar=_("FILE"), help=_("Attach a file; may be given several times."))
@click.option("--inline", multiple=True, metavar=_("CID=FILE"), help=_("A picture that the HTML shows as cid:CID."))
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar=_("'NAME: VALUE'"),
    help=_("Another header; may be given several times."),
)
@click.option("--dry-run", is_flag=True, help=_("Send nothing; show the mail, or in a pipe the message."))
@click.option("--raw", is_flag=True, help=_("With --dry-run: print the message as it would be sent."))
@click.option(
    "--queue",
    type=click.Choice([str(value) for value in Queue]),
    help=_("When mail goes into the outbox: on-failure is when it cannot be sent now, and the default."),
)
@click.option(
    "--on-unknown",
    type=click.Choice(["resend", "hold"]),
    help=_(
        "What becomes of mail in the outbox that may have arrived: it is sent once more (the default), or held for "
        "you to decide."
    ),
)
@click.option(
    "--batch",
    metavar=_("FILE"),
    help=_("Send many: one JSON object a line, with keys named as the options are; - for standard input."),
)
@click.option(
    "--merge",
    metavar=_("FILE"),
    help=_("Send one mail for each row of a CSV file; $column in its texts, paths and addresses is filled in."),
)
@click.option(
    "--connections",
    type=WholeNumberType(1, 50),
    default=1,
    metavar="N",
    help=_("With --batch or --merge: connections side by side, where the provider allows it."),
)
@click.option(
    "--rate",
    metavar="N/s|N/m",
    callback=lambda _ctx, _param, value: _seconds_between(value),
    help=_("With --batch or --merge: at most so many mails a second or minute."),
)
@click.option(
    "--root", metavar=_("DIR"), help=_("With --batch or --merge: let mails use only files inside this directory.")
)
@click.option(
    "--restart", is_flag=True, help=_("With --batch or --merge: forget what an earlier run sent, and send everything.")
)
@common_options
def send_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    /,
    account: str | None,
    dry_run: bool,  # noqa: FBT001  as above
    raw: bool,  # noqa: FBT001  as above
    queue: str | None,
    on_unknown: str | None,
    batch: str | None,
    merge: str | None,
    connections: int,
    rate: float | None,
    root: str | None,
    restart: bool,  # noqa: FBT001  as above
    **typed: Any,  # noqa: ANN401  click's options, given a type at once
) -> None:
    """Send one mail, or many with --batch and --merge."""
    termination.raise_when_terminated()
    options = _Options(**typed)
    config = state.config()
    chosen = config.account(account)
    hold_unknown = on_unknown == "hold" if on_unknown else chosen.hold_unknown
    policy = Policy(Queue(queue) if queue else chosen.queue, hold_unknown=hold_unknown, config=state.named_config)
    policy = policy._replace(outbox=config.outbox, has_fallback=bool(chosen.fallback))
    if raw and not dry_run:
        raise click.UsageError(_("--raw is for --dry-run."))
    if batch is None and merge is None:
        if connections != 1 or rate is not None or restart or root is not None:
            raise click.UsageError(_("--connections, --rate, --root and --restart are for --batch and --merge."))
        if not (options.recipients or options.to or options.cc or options.bcc):
            raise click.UsageError(_("Give at least one recipient: `smtpsetup send ADDRESS`."))
        parts = _parts(options)
        takes_no_text = bool(options.html) and options.body is None and options.body_file is None
        is_told = takes_no_text and _tell_of_unread_text()
        if dry_run:
            _show_unsent(state, chosen, parts, is_raw=raw or not sys.stdout.isatty())
            return
        _send_one(state, chosen, policy, parts)
        if takes_no_text and not is_told:  # the text may have come meanwhile
            _tell_of_unread_text()
        return
    from smtpsetup.cli.batch import BatchOptions, send_many  # most runs send one mail

    if batch is not None and (merge is not None or options != _Options(from_=options.from_)):
        raise click.UsageError(
            _("--batch takes everything from its file: give no recipients, texts or --merge beside it.")
        )
    parts = Parts(from_=options.from_) if batch is not None else _parts(options)
    how = BatchOptions(batch, merge, connections, rate, restart=restart, dry_run=dry_run, raw=raw, root=root)
    send_many(state, chosen, policy, how, parts)


def _send_one(state: State, account: Account, policy: Policy, parts: Parts) -> None:
    delivery = delivery_of(draft_of(account, parts))
    if not (parts.subject or parts.body.strip() or parts.html or parts.attach):
        tell(_("Warning: the mail has no subject and no text."))
    _warn_of_limits(account, delivery)
    result = _watched(state, account, policy, delivery)
    if state.json:
        view = views.json.send_result(result)
        if result.error is None:
            _write_result(state, view)
            return
        result.error.result = view
    if result.error:
        if result.error.code == "data.too-large" and parts.attach:
            with suppress(OSError):  # a file may have gone meanwhile
                result.error.known_cause = _largest(parts.attach)
                result.error.causes = (result.error.known_cause, *result.error.causes)
        raise result.error
    if result.outbox_id is not None:
        tell_kept(result, policy)
    elif sys.stdout.isatty():
        with suppress(OSError):  # a closed standard output does not undo the sending
            views.human.sent(result)


def _largest(files: tuple[str, ...]) -> str:
    """A sentence that names the largest of these files."""
    file = max(files, key=os.path.getsize)
    text = _("The largest attachment is {file} ({n} MB).")
    return text.format(file=file, n=decimal(os.path.getsize(file) / _MEGABYTE, 1))


def _watched(state: State, account: Account, policy: Policy, delivery: Delivery) -> SendResult:
    """Send or keep the mail; where a person watches, show after a second that it goes on."""
    context = state.context(account)
    if state.verbose or state.json or not streams.can_redraw(sys.stderr):
        return send_or_queue(context, delivery, policy)
    from smtpsetup.terminal.waiting import Waiting  # cron has no terminal

    with Waiting(_("Sending …")) as waiting:
        if account.auth is Auth.NONE:
            waiting.start()

        def read_secret() -> Secret:
            secret = context.read_secret()  # its command may ask the person something
            waiting.start()
            return secret

        return send_or_queue(context._replace(read_secret=read_secret), delivery, policy)


def _write_result(state: State, view: dict[str, object]) -> None:
    """Write the JSON document. A failure to write is no failure to send: a script would send the mail again."""
    try:
        state.write_json(view)
    except OSError as error:
        silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            tell(
                _(
                    "The mail was sent or is in the outbox, but the result could not be written to standard output: "
                    "{reason}."
                ).format(reason=reason_of(error))
            )


def _warn_of_limits(account: Account, delivery: Delivery) -> None:
    """Warn where a message exceeds one of the provider's limits; a small one is not looked up."""
    messages, recipients = usage.last_day(paths.state_dir(), account.name)
    here, size = len(delivery.envelope.recipients), delivery.message.size
    if here < _MANY_RECIPIENTS and size < _LARGE and recipients < _MANY_A_DAY:
        return
    from smtpsetup.config.known_providers import known_provider  # a small mail to few recipients needs no table

    row = known_provider(account)
    if row is None:
        return
    for key, n, text in (
        ("recipients_per_message", here, _("Warning: the message has {n} recipients, but {provider} allows {limit}.")),
        (
            "message_size_mb",
            -(-size // _MEGABYTE),
            _("Warning: the message has {n} MB, but {provider} allows {limit}."),
        ),
        (
            "messages_per_day",
            messages + 1,
            _("Warning: this is message {n} in 24 hours, but {provider} allows {limit}."),
        ),
        (
            "recipients_per_day",
            recipients + here,
            _("Warning: these are {n} recipients in 24 hours, but {provider} allows {limit}."),
        ),
    ):
        limit = row.limit(key)
        if limit is not None and n > limit:
            tell(text.format(n=n, provider=row.name, limit=limit))


def _parts(options: _Options) -> Parts:
    inline = []
    for entry in options.inline:
        content_id, equals, path = entry.partition("=")
        if not (content_id and equals and path):
            raise click.UsageError(_("--inline takes CID=FILE, for example logo=logo.png."))
        if not options.html:
            raise click.UsageError(_("--inline is for pictures in the HTML version: give --html, too."))
        inline.append((content_id, path))
    return Parts(
        (*options.recipients, *options.to),
        options.cc,
        options.bcc,
        options.reply_to,
        options.from_,
        options.subject,
        _text(options),
        text_in(options.html) if options.html else "",
        options.attach,
        tuple(inline),
        options.headers,
    )


def _text(options: _Options) -> str:
    if options.body is not None and options.body_file is not None:
        raise click.UsageError(_("Give the text with --body or --body-file, not both."))
    if options.body is not None:
        return options.body
    if options.body_file not in (None, "-"):
        return text_in(str(options.body_file))
    if options.html and options.body_file is None:
        return ""
    if sys.stdin.isatty():
        tell(_("Write the text; end it with Ctrl-D on a line of its own."))
    return decoded(sys.stdin.buffer.read(), _("standard input"))


def _seconds_between(rate: str | None) -> float | None:
    """The seconds between two mails at a rate such as 30/m. Raises click.BadParameter."""
    if rate is None:
        return None
    number, _slash, unit = rate.partition("/")
    seconds = {"s": 1.0, "m": 60.0}.get(unit.strip().lower())
    if seconds is None or not re.fullmatch("[0-9]{1,6}", number.strip()) or int(number) == 0:
        raise click.BadParameter(_("Write a rate as 2/s or 30/m."))
    return seconds / int(number)


def _tell_of_unread_text() -> bool:
    """Say that text in a pipe is no part of the mail. It is not read unasked: it may be the list of a shell's loop.

    Returns whether there is any.
    """
    if not streams.waiting_in_pipe():
        return False
    tell(_("The text on standard input is not read. To send it beside the HTML version: `--body-file -`."))
    return True


def _show_unsent(state: State, account: Account, parts: Parts, *, is_raw: bool) -> None:
    """Print the mail and its envelope, for --dry-run."""
    delivery = delivery_of(draft_of(account, parts))
    message = b"".join(delivery.message.chunks())
    recipients = delivery.envelope.recipients
    if state.json:
        unsent = SendResult(account.name, delivery.message_id, accepted=(), refused=(), reply=None, error=None)
        view = views.json.send_result(unsent)
        state.write_json({**view, "message": message.decode("utf-8"), "recipients": recipients})
        return
    tell(
        _("Nothing is sent. It would go from {sender} to: {recipients}").format(
            sender=delivery.envelope.sender, recipients=", ".join(recipients)
        )
    )
    if is_raw:
        sys.stdout.buffer.write(message.replace(b"\r\n", b"\n"))
        sys.stdout.flush()
    else:
        views.preview.mail(message)

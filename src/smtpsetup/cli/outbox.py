"""`smtpsetup outbox`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, confirm
from smtpsetup.cli.command import Group
from smtpsetup.cli.open_outbox import open_outbox, open_to_read, state_directory
from smtpsetup.cli.outbox_schedule import schedule_command
from smtpsetup.cli.outbox_work import work_command
from smtpsetup.cli.shared_outbox import init_command, list_sent, share_key_command, status_command
from smtpsetup.cli.state import State, WholeNumberType, common_options, tell
from smtpsetup.config import accounts
from smtpsetup.config.outbox_settings import ON_THIS_MACHINE
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_DATAERR, EX_IOERR, EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.sending.context import context_for
from smtpsetup.sending.flush import flush
from smtpsetup.state import termination

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.flushed import Flushed
    from smtpsetup.sending.send_one import SendResult


@click.group(
    "outbox",
    cls=Group,
    invoke_without_command=True,
    help=_("The mail that waits: list it, show why, send it now, drop it."),
)
@common_options
@click.pass_context
def outbox_command(ctx: click.Context, state: State) -> None:
    """List the mails where no subcommand is given."""
    if ctx.invoked_subcommand is None:
        _list(state, here=False)


for _command in (init_command, schedule_command, share_key_command, status_command, work_command):
    outbox_command.add_command(_command)


_MAIL_NUMBER = WholeNumberType(0, 2**63 - 1)  # what the databases can hold
_here_option = click.option(
    "--here",
    is_flag=True,
    help=_("The mail that this machine keeps while a shared outbox is away, and not that outbox."),
)


def _settings(state: State, *, here: bool) -> OutboxSettings:
    """The outbox that a command is about."""
    return ON_THIS_MACHINE if here else state.config().outbox


def _choose_mails(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the numbers of mails, and --all."""
    command = click.option("--all", "take_all", is_flag=True, help=_("Every mail in the outbox."))(command)
    return click.argument("numbers", type=_MAIL_NUMBER, nargs=-1, metavar=_("[NUMBERS]..."))(command)


@outbox_command.command("list", help=_("Every mail that waits, and when it is tried again."))
@click.option(
    "--sent", "is_about_sent", is_flag=True, help=_("The mail that was sent last, which a shared outbox remembers.")
)
@_here_option
@common_options
def list_command(state: State, is_about_sent: bool, here: bool) -> None:  # noqa: FBT001  click passes flags by name
    """List the mails."""
    if is_about_sent and here:
        raise click.UsageError(_("Give --sent or --here, not both."))
    if is_about_sent:
        list_sent(state)
    else:
        _list(state, here=here)


def _list(state: State, *, here: bool) -> None:
    with open_to_read(_settings(state, here=here)) as opened:
        opened.revive(time.time())
        listed = opened.mails()
    state.output(lambda: [views.json.outbox_mail(mail) for mail in listed], lambda: views.outbox.mails(listed))


@outbox_command.command("show", help=_("One mail: its state, the last reply, its headers."))
@click.argument("number", type=_MAIL_NUMBER, metavar=_("NUMBER"))
@_here_option
@common_options
def show_command(state: State, number: int, here: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Show one mail."""
    with open_to_read(_settings(state, here=here)) as opened:
        opened.revive(time.time())
        mail = _mail(opened, number)
        is_damaged = not opened.is_sound(mail)
        header = (
            opened.message(number, is_checked=False).header.decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
        )
    if state.json:
        state.write_json(
            {
                **views.json.outbox_mail(mail),
                "sender": mail.sender,
                "size": mail.size,
                "error": mail.last_code or None,
                "client": mail.client or None,
                "header": header,
            }
        )
        return
    views.outbox.mail(mail, header)
    if is_damaged:
        views.human.note(
            _(
                "This mail is damaged: part of it has changed since it was put into the outbox. `smtpsetup outbox "
                "repair` saves what can be saved."
            )
        )


def _mail(opened: Outbox, number: int) -> Mail:
    mail = opened.mail(number)
    if mail is None:
        raise SmtpsetupError(
            "config.invalid",
            _("There is no mail {number} in the outbox.").format(number=number),
            causes=(_("Perhaps it was sent or dropped."),),
            hints=(_("See what there is: `smtpsetup outbox list`."),),
            exit_code=EX_DATAERR,
        )
    return mail


@outbox_command.command(
    "flush",
    help=_("Send every mail that is due. For cron or a timer: see `schedule`."),
    short_help=_("Send every mail that is due."),
)
@click.option("--now", "takes_all", is_flag=True, help=_("Try also what waits for a later time."))
@common_options
def flush_command(state: State, takes_all: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Send what is due. Mail that still waits is no failure."""
    termination.raise_when_terminated()
    own = state.config()
    configs: dict[str, accounts.Config] = {}

    def open_context(name: str, path: str) -> Context:
        """The context of an account, from the configuration that the mail was queued with."""
        config = configs[path] if path in configs else configs.setdefault(path, accounts.load_named(path))
        return context_for(config, config.account(name), may_prompt=state.may_ask, trace=state.trace())

    with open_outbox(own.outbox, is_durable=False, is_for_sending=True, accounts=own.accounts) as opened:
        if takes_all:
            opened.make_due(time.time())
        done = flush(opened, open_context, log=own.log, on_result=_report_refusal)
        is_shown = sys.stdout.isatty() and not state.json
        left = opened.mails() if is_shown and not opened.is_shared else []  # of a shared one, it may be a million
        waiting = opened.summary(()).count(MailState.WAITING) if is_shown and opened.is_shared else None
    _show_flushed(state, done, left, waiting)


def _report_refusal(mail: Mail, result: SendResult) -> None:
    if result.error and result.error.exit_code not in (EX_TEMPFAIL, EX_IOERR):  # a damaged mail is reported at the end
        with suppress(OSError):  # a closed standard error must not stop the mails after this one
            views.outbox.refused(mail, result)


def _show_flushed(state: State, done: Flushed, left: list[Mail], waiting: int | None) -> None:
    """Report the run. Raises the first error that a person must fix before more can be sent."""
    to_fix = [
        error for error in done.errors.values() if error.exit_code != EX_TEMPFAIL or error.code.startswith("secret.")
    ]
    view = (
        {
            **views.outbox.counts(done),
            "mails": [{**views.json.send_result(result), "outbox_id": number} for number, result in done.results],
        }
        if state.json
        else None
    )
    if sys.stdout.isatty() and not state.json:
        for error in done.errors.values():
            if error not in to_fix:
                views.human.note(error.message)
        views.outbox.flushed(done, left, waiting)
    if to_fix:
        to_fix[0].result = view
        for error in to_fix[1:]:
            views.errors.error(error, verbose=state.verbose)
        raise to_fix[0]
    if state.json:
        state.write_json(view)


@outbox_command.command(
    "retry",
    help=_("Try these mails again with the next flush, also those that were refused."),
    short_help=_("Try mails again, also those that were refused."),
)
@_choose_mails
@_here_option
@common_options
def retry_command(state: State, numbers: tuple[int, ...], take_all: bool, here: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Make mails due now."""
    with open_outbox(_settings(state, here=here)) as opened:
        chosen = _chosen(opened, numbers, take_all=take_all)
        sound = [mail for mail in chosen if opened.is_sound(mail)]
        for mail in sound:
            opened.retry(mail.id, time.time())
    view: dict[str, object] = {"retried": [mail.id for mail in sound]}
    if len(sound) < len(chosen):
        damaged = ", ".join(str(mail.id) for mail in chosen if mail not in sound)
        raise SmtpsetupError(
            "outbox.damaged",
            _("Mail {number} in the outbox is damaged and is not sent.").format(number=damaged),
            hints=(_("Save what can be read of it: `smtpsetup outbox repair`."),),
            result=view,
        )
    text = ngettext(
        "{n} mail is tried again with the next `smtpsetup outbox flush`.",
        "{n} mails are tried again with the next `smtpsetup outbox flush`.",
        len(sound),
    )
    state.output(lambda: view, lambda: views.human.say(text.format(n=len(sound))))


@outbox_command.command(
    "drop", help=_("Throw these mails away. They are not sent."), short_help=_("Throw mails away unsent.")
)
@_choose_mails
@_here_option
@common_options
def drop_command(state: State, numbers: tuple[int, ...], take_all: bool, here: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Confirm, then delete mails."""
    with open_outbox(_settings(state, here=here)) as opened:
        chosen = _chosen(opened, numbers, take_all=take_all)
        question = ngettext("Throw {n} mail away, unsent?", "Throw {n} mails away, unsent?", len(chosen)).format(
            n=len(chosen)
        )
        if state.may_ask and chosen and not confirm(question, default=False):
            raise DeclinedError
        dropped = [mail.id for mail in chosen if opened.drop(mail.id)]
    text = ngettext("{n} mail is thrown away.", "{n} mails are thrown away.", len(dropped))
    state.output(lambda: {"dropped": dropped}, lambda: views.human.say(text.format(n=len(dropped))))


def _chosen(opened: Outbox, numbers: tuple[int, ...], *, take_all: bool) -> list[Mail]:
    """The mails with these numbers, or all that are not being sent.

    Raises click.UsageError, or SmtpsetupError where a mail does not exist or is being sent.
    """
    if take_all == bool(numbers):
        raise click.UsageError(_("Give the numbers of the mails, or --all."))
    opened.revive(time.time())
    mails = opened.mails() if take_all else [_mail(opened, number) for number in dict.fromkeys(numbers)]
    sending = [str(mail.id) for mail in mails if mail.state is MailState.SENDING]
    if sending and not take_all:
        raise SmtpsetupError(
            "config.invalid",
            _("Mail {numbers} is being sent at this moment.").format(numbers=", ".join(sending)),
            hints=(_("Wait, then look again: `smtpsetup outbox list`."),),
            exit_code=EX_TEMPFAIL,
        )
    return [mail for mail in mails if mail.state is not MailState.SENDING]


@outbox_command.command("repair", help=_("Save what can be read of a damaged outbox."))
@common_options
def repair_command(state: State) -> None:
    """Rebuild the outbox where it is damaged. Raises SmtpsetupError where mail was lost or has changed."""
    directory = state_directory()
    if state.config().outbox.is_shared:
        tell(_("PostgreSQL looks after the shared outbox itself; this is about the outbox of this machine."))
    if not _is_damaged(directory):
        state.output(
            lambda: {"saved": 0, "lost": 0, "damaged_file": None, "changed": []},
            lambda: views.human.say(_("The outbox is sound: there is nothing to repair.")),
        )
        return
    from smtpsetup.outbox.sqlite.repair import repair  # needed for a damaged outbox only
    from smtpsetup.relay.running import is_running

    try:
        done = repair(directory)
    except OSError as error:
        if not is_running(directory):
            raise
        raise SmtpsetupError(
            "outbox.unavailable",
            _("The relay is using the outbox."),
            hints=(_("Stop the relay, and run this again."),),
            exit_code=EX_TEMPFAIL,
        ) from error
    view: dict[str, object] = {
        "saved": done.saved,
        "lost": done.lost,
        "damaged_file": done.damaged_file,
        "changed": list(done.changed),
    }
    lost = _("it cannot be told") if done.lost is None else str(done.lost)
    text = _("Saved: {saved}. Lost: {lost}. The damaged file is {path}.").format(
        saved=done.saved, lost=lost, path=done.damaged_file
    )
    if done.changed:
        numbers = ", ".join(map(str, done.changed))
        text += " " + _("Saved but damaged, so not sent by themselves: {numbers}.").format(numbers=numbers)
    if done.lost != 0 or done.changed:
        hints = (
            _("See which mails are left: `smtpsetup outbox list`. The log of what was sent and kept is {path}.").format(
                path=f"{directory}/mail.log"
            ),
        )
        raise SmtpsetupError("outbox.damaged", text, hints=hints, result=view)
    state.output(lambda: view, lambda: views.human.say(text))


def _is_damaged(directory: str) -> bool:
    try:
        with SqliteOutbox(directory) as opened:
            return bool(opened.fault())
    except OutboxDamagedError:
        return True

"""`smtpsetup outbox`."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.ask import confirm
from smtpsetup.cli.state import State, WholeNumberType, common_options
from smtpsetup.config import accounts, paths
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_DATAERR, EX_IOERR, EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.outbox import reserve, snapshot
from smtpsetup.outbox.database import OutboxDamagedError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.store import Outbox
from smtpsetup.sending.context import context_for
from smtpsetup.sending.flush import Flushed, flush
from smtpsetup.state import private_dir, termination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_one import SendResult


@click.group(
    "outbox",
    help=_("The mail that waits: list it, show why, send it now, drop it."),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def outbox_command() -> None:
    """Only a group."""


@contextmanager
def _opened(*, is_durable: bool = True, is_for_sending: bool = False) -> Iterator[Outbox]:
    """The outbox. Raises SmtpsetupError (exit code 74) where it cannot be used."""
    directory = directory_of_outbox()
    is_full = is_for_sending and reserve.is_needed(directory) and reserve.give(directory)
    try:
        with Outbox(directory, is_durable=is_durable) as opened:
            if is_full:
                opened.be_frugal()
            yield opened
        if is_for_sending:
            reserve.keep(directory)
    except OutboxDamagedError as error:
        raise damaged(error) from error
    except private_dir.UnsafePathError as error:
        message = _("{path} cannot be trusted: {reason}.").format(path=error.filename, reason=reason_of(error))
        hint = _(
            "Look at it: `ls -ld {path}`. It must belong to you or to root, and nobody else may be able to change it: "
            "`chmod go-w {path}`."
        ).format(path=error.filename)
        raise SmtpsetupError("config.permissions", message, hints=(hint,), exit_code=EX_IOERR) from error
    except OSError as error:
        message = _("The outbox {path} cannot be used: {reason}.").format(
            path=error.filename or directory, reason=reason_of(error)
        )
        hint = _("Check the free space and the permissions there: `ls -ld {path}`.").format(path=directory)
        raise SmtpsetupError("outbox.unavailable", message, hints=(hint,)) from error


@contextmanager
def _opened_to_read() -> Iterator[Outbox]:
    """The outbox or, on a disk that cannot be written to or is full, a copy of it. Raises as `_opened`."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(_opened())
        except SmtpsetupError as error:
            if not (snapshot.is_read_only(directory_of_outbox()) or reserve.is_needed(directory_of_outbox())):
                raise
            try:
                opened = stack.enter_context(snapshot.copied(directory_of_outbox()))
            except (OSError, OutboxDamagedError):
                raise error from None
        yield opened


def damaged(error: OutboxDamagedError) -> SmtpsetupError:
    """What to do about an outbox that is no database any more."""
    return SmtpsetupError(
        "outbox.damaged",
        _("The outbox {path} is damaged.").format(path=error.path),
        causes=(_("A disk that failed or was full, or a power cut on a disk that does not keep its promises."),),
        hints=(_("Save what can be read of it: `smtpsetup outbox repair`. The damaged file is kept."),),
    )


def directory_of_outbox() -> str:
    """The state directory. Raises SmtpsetupError where none is known."""
    directory = paths.state_dir()
    if directory is None:
        raise SmtpsetupError(
            "config.invalid",
            _("It is not known where your outbox is: HOME is not set."),
            hints=(_("Set HOME, or name the directory in SMTPSETUP_STATE_DIR."),),
        )
    return directory


@outbox_command.command(
    "list",
    help=_("Every mail that waits, and when it is tried again."),
    short_help=_("Every mail that waits, and when it is tried again."),
)
@common_options
@click.pass_obj
def list_command(state: State) -> None:
    """Load, render."""
    with _opened_to_read() as opened:
        opened.revive(time.time())
        listed = opened.mails()
    if state.json:
        state.write_json([views.json.outbox_mail(mail) for mail in listed])
        return
    views.outbox.mails(listed)


@outbox_command.command(
    "show",
    help=_("One mail: its state, the last reply, its headers."),
    short_help=_("One mail: its state, the last reply, its headers."),
)
@click.argument("number", type=WholeNumberType(), metavar=_("NUMBER"))
@common_options
@click.pass_obj
def show_command(state: State, number: int) -> None:
    """Load, render."""
    with _opened_to_read() as opened:
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
@common_options
@click.pass_obj
def flush_command(state: State) -> None:
    """Send, render. Mail that still waits is no failure: that is what an outbox is for."""
    termination.raise_when_terminated()
    log = state.config().log
    configs: dict[str, accounts.Config] = {}

    def open_context(name: str, path: str) -> Context:
        """Mail goes out through the configuration that it was put into the outbox with, whatever is named now."""
        config = configs[path] if path in configs else configs.setdefault(path, accounts.load_named(path))
        return context_for(config, config.account(name), may_prompt=state.may_ask, trace=state.trace())

    with _opened(is_durable=False, is_for_sending=True) as opened:
        done = flush(opened, open_context, log=log, on_result=_tell_of_refusal)
        left = opened.mails() if sys.stdout.isatty() and not state.json else []  # cron need not know
    _show_flushed(state, done, left)


def _tell_of_refusal(mail: Mail, result: SendResult) -> None:
    if result.error and result.error.exit_code not in (EX_TEMPFAIL, EX_IOERR):  # a damaged one is told at the end
        with suppress(OSError):  # the mails behind it are sent all the same
            views.outbox.refused(mail, result)


def _show_flushed(state: State, done: Flushed, left: list[Mail]) -> None:
    """Say what became of the mail, and what a person must mend before more can be sent."""
    for_a_person = [
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
    if for_a_person:
        for_a_person[0].result = view
        for error in for_a_person[1:]:
            views.human.error(error)
        raise for_a_person[0]
    if state.json:
        state.write_json(view)
    elif sys.stdout.isatty():
        for error in done.errors.values():
            views.human.note(error.message)
        views.outbox.flushed(done, left)


@outbox_command.command(
    "retry",
    help=_("Try these mails again with the next flush, also those that were refused."),
    short_help=_("Try mails again, also those that were refused."),
)
@click.argument("numbers", type=WholeNumberType(), nargs=-1, metavar=_("[NUMBERS]..."))
@click.option("--all", "take_all", is_flag=True, help=_("Every mail in the outbox."))
@common_options
@click.pass_obj
def retry_command(state: State, numbers: tuple[int, ...], take_all: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Change, render."""
    with _opened() as opened:
        meant = _chosen(opened, numbers, take_all=take_all)
        chosen = [mail for mail in meant if opened.is_sound(mail)]
        for mail in chosen:
            opened.retry(mail.id, time.time())
    if len(chosen) < len(meant):
        broken = ", ".join(str(mail.id) for mail in meant if mail not in chosen)
        raise SmtpsetupError(
            "outbox.damaged",
            _("Mail {number} in the outbox is damaged and is not sent.").format(number=broken),
            hints=(_("Save what can be read of it: `smtpsetup outbox repair`."),),
            result={"retried": [mail.id for mail in chosen]},
        )
    if state.json:
        state.write_json({"retried": [mail.id for mail in chosen]})
        return
    text = ngettext(
        "{n} mail is tried again with the next `smtpsetup outbox flush`.",
        "{n} mails are tried again with the next `smtpsetup outbox flush`.",
        len(chosen),
    )
    views.human.say(text.format(n=len(chosen)))


@outbox_command.command(
    "drop", help=_("Throw these mails away. They are not sent."), short_help=_("Throw mails away unsent.")
)
@click.argument("numbers", type=WholeNumberType(), nargs=-1, metavar=_("[NUMBERS]..."))
@click.option("--all", "take_all", is_flag=True, help=_("Every mail in the outbox."))
@common_options
@click.pass_obj
def drop_command(state: State, numbers: tuple[int, ...], take_all: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Ask, change, render."""
    with _opened() as opened:
        chosen = _chosen(opened, numbers, take_all=take_all)
        question = ngettext("Throw {n} mail away, unsent?", "Throw {n} mails away, unsent?", len(chosen)).format(
            n=len(chosen)
        )
        if state.may_ask and chosen and not confirm(question, default=False):
            raise click.Abort
        dropped = [mail.id for mail in chosen if opened.drop(mail.id)]
    if state.json:
        state.write_json({"dropped": dropped})
        return
    views.human.say(
        ngettext("{n} mail is thrown away.", "{n} mails are thrown away.", len(dropped)).format(n=len(dropped))
    )


def _chosen(opened: Outbox, numbers: tuple[int, ...], *, take_all: bool) -> list[Mail]:
    """The mails that were meant; none of them is being sent at this moment."""
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


@outbox_command.command(
    "repair",
    help=_("Save what can be read of a damaged outbox."),
    short_help=_("Save what can be read of a damaged outbox."),
)
@common_options
@click.pass_obj
def repair_command(state: State) -> None:
    """Check, rebuild, render."""
    directory = directory_of_outbox()
    if not _is_damaged(directory):
        if state.json:
            state.write_json({"saved": 0, "lost": 0, "damaged_file": None, "changed": []})
        else:
            views.human.say(_("The outbox is sound: there is nothing to repair."))
        return
    from smtpsetup.outbox.repair import repair  # only what is damaged comes here

    done = repair(directory)
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
        told = _("Saved but damaged, so not sent by themselves: {numbers}.").format(numbers=numbers)
        text = f"{text} {told}"
    if done.lost != 0 or done.changed:
        hints = (
            _("See which mails are left: `smtpsetup outbox list`. The log of what was sent and kept is {path}.").format(
                path=f"{directory}/mail.log"
            ),
        )
        raise SmtpsetupError("outbox.damaged", text, hints=hints, result=view)
    if state.json:
        state.write_json(view)
    else:
        views.human.say(text)


def _is_damaged(directory: str) -> bool:
    try:
        with Outbox(directory) as opened:
            return bool(opened.fault())
    except OutboxDamagedError:
        return True


@outbox_command.command(
    "schedule",
    help=_(
        "Print what lets the outbox be flushed every minute: a systemd timer or a crontab line; --install sets it up."
    ),
    short_help=_("Have the outbox flushed every minute."),
)
@click.option(
    "--with",
    "scheduler",
    type=click.Choice(["systemd", "cron"]),
    help=_("Which one; without it, what this machine has."),
)
@click.option("--install", is_flag=True, help=_("Set it up instead of printing it."))
@common_options
@click.pass_obj
def schedule_command(state: State, scheduler: str | None, install: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Choose, set up, render."""
    from smtpsetup.setup import schedule  # only here

    plan = schedule.plan(scheduler, config=state.config_option)
    if install:
        schedule.install(plan)
    if state.json:
        state.write_json(
            {
                "scheduler": plan.scheduler,
                "installed": install,
                "files": dict(plan.files),
                "crontab": plan.crontab or None,
            }
        )
        return
    if install:
        views.human.say(_("Done: the outbox is flushed every minute."))
        for warning in schedule.warnings(plan):
            views.human.note(warning)
        return
    for path, content in plan.files:
        click.echo(f"# {path}\n{content}")
    if plan.crontab:
        click.echo(plan.crontab)
    chosen = f" --with {scheduler}" if scheduler else ""
    text = _("Set it up: `smtpsetup outbox schedule{chosen} --install`, or copy it and run: `{command}`.")
    views.human.note(text.format(chosen=chosen, command=plan.by_hand))
